"""`simulate`, `receiver` and `demo`: the whole path without an account."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer
from starlette.types import ASGIApp

from connector import daemon
from connector.cli.common import errors_explained, out
from connector.cli.progress import watch
from connector.clock import SystemClock
from connector.demo import Demo
from connector.errors import ConfigurationError, ExitCode
from connector.receiver import Receiver
from connector.simulation import simulator
from connector.web.server import serve

CustomersOption = Annotated[int, typer.Option("--customers", help="How many customers the books have.", min=1)]
InvoicesOption = Annotated[int, typer.Option("--invoices", help="How many invoices they were sent.", min=1)]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same books.")]
PackageArgument = Annotated[str, typer.Argument(metavar="[PACKAGE]", help="The accounting package.")]
DEMO_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the demonstration's own, of no use elsewhere


def simulate(
    package: PackageArgument = "exactonline",
    port: Annotated[int, typer.Option("--port", help="Where to listen.")] = 8091,
    customers: CustomersOption = 200,
    invoices: InvoicesOption = 1000,
    seed: SeedOption = 1,
) -> None:
    """Serve a simulated administration."""
    with errors_explained():
        simulation = simulator(package)(seed=seed, customers=customers, invoices=invoices, clock=SystemClock())

        def started(url: str) -> None:
            out.print(f"{simulation.title} listens on {url}")
            needed = {"administration": simulation.administration, **simulation.connection(url)}
            out.print(", ".join(f'{key} = "{value}"' for key, value in needed.items()))
            out.print(f'client_id = "{simulation.client_id}", client secret: {simulation.client_secret}')
            if simulation.pasted is not None:
                out.print(f"the client pastes: {simulation.pasted}", soft_wrap=True, markup=False)
            out.print(f"the books as they are: {url}/_sim/truth; let something be booked: POST {url}/_sim/actions")

        asyncio.run(_serve(simulation.app, port, started))


def receiver(
    port: Annotated[int, typer.Option("--port", help="Where to listen.")] = 8090,
    secret: Annotated[
        str, typer.Option("--secret", envvar="BACKEND_WEBHOOK_SECRET", help="The signing secret.")
    ] = DEMO_SECRET,
) -> None:
    """Serve a small dunning backend that mirrors the books."""
    with errors_explained():

        def started(url: str) -> None:
            out.print(f"the receiver takes events on {url}/events; its mirror: {url}/mirror")
            out.print(f"its signing secret is {secret}" if secret == DEMO_SECRET else "its signing secret is yours")

        try:
            mirror = Receiver([secret])
        except ValueError as error:
            raise ConfigurationError(
                f"the signing secret cannot be used: {error}", where="--secret", fix="write whsec_<base64>"
            ) from error
        asyncio.run(_serve(mirror.app, port, started))


def demo(
    package: PackageArgument = "exactonline",
    customers: CustomersOption = 250,
    invoices: InvoicesOption = 1500,
    seed: SeedOption = 1,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the daemon and the bookkeeping going.")] = False,
) -> None:
    """Link, sync and mirror simulated books, and compare."""
    with errors_explained():
        with_watch = Demo(
            package, customers=customers, invoices=invoices, seed=seed, secret=DEMO_SECRET, say=out, watch=watch
        )
        equal = asyncio.run(_until_signal(with_watch, stay=stay))
        raise typer.Exit(ExitCode.DONE if equal else ExitCode.PARTLY_FAILED)


async def _until_signal(demonstration: Demo, *, stay: bool) -> bool:
    stop = asyncio.Event()
    with daemon.stopping_on_signals(stop):
        return await demonstration.run(stop, stay=stay)


async def _serve(app: ASGIApp, port: int, started: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    with daemon.stopping_on_signals(stop):
        async with serve(app, "127.0.0.1", port) as url:
            started(url)
            await stop.wait()
