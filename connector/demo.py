"""The demonstration: a simulated administration is linked, synced and mirrored, then books go on and it follows."""

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette

from connector import config, daemon, linking, mirror
from connector.adapter import Identity, packages
from connector.clock import SystemClock
from connector.cycle import Progress
from connector.delivery import Deliverer
from connector.domain.records import ENTITIES
from connector.errors import ConnectorError, SourceDown
from connector.master_keys import generate_key_file
from connector.outcome import CycleReport
from connector.receiver import Receiver, Seen
from connector.runtime import Runtime
from connector.simulation import Impossible, Simulation, simulator
from connector.store import connections, records
from connector.web.connect import ConnectPages
from connector.web.server import serve

NAME = "demo"
DESTINATION = "backend"
STORY = (
    "pay",
    "pay_partly",
    "unmatch",
    "credit_note",
    "write_off",
    "invoice",
    "delete_entry",
    "change_address",
)
"""What the bookkeeper does in the short demonstration, in order."""
BETWEEN_BOOKINGS_S = 5.0
SHOWN = 4

CONFIG = """
[store]
url = "sqlite:///demo.db"
[secrets]
key_file = "demo.key"
[daemon]
listen = "127.0.0.1:{port}"
[apps.{package}]
client_id = "{client_id}"
client_secret_env = "DEMO_CLIENT_SECRET"
{app}
[destinations.{destination}]
type = "webhook"
url = "{receiver}/events"
secret_env = "DEMO_WEBHOOK_SECRET"
allow_private = true
[[connections]]
name = "{name}"
package = "{package}"
administration = "{administration}"
destination = "{destination}"
{connection}
every = "1m"
"""


@dataclass
class Stage:
    """What is on stage while the demonstration runs."""

    simulation: Simulation
    receiver: Receiver
    runtime: Runtime
    deliverer: Deliverer

    def differences(self) -> list[str]:
        return mirror.differences(self.mirror(), self.simulation.truth())

    def mirror(self) -> dict[str, Any]:
        """What the receiver holds of the one administration there is."""
        shown: dict[str, Any] = self.receiver.mirror()[connections.find(self.runtime.store, NAME).source]
        return shown

    def arrived(self) -> list[Seen]:
        """The record events that the receiver took in, in order."""
        return [
            event
            for delivery in self.receiver.history
            for event in delivery.events
            if event.verdict == "accepted" and event.subject.partition("/")[0] in ENTITIES
        ]


class Demo:
    """Runs the whole path in this process, over real sockets on loopback."""

    def __init__(
        self,
        package: str,
        *,
        customers: int,
        invoices: int,
        seed: int,
        secret: str,
        say: Console,
        watch: Callable[[str], AbstractContextManager[Progress]],
    ) -> None:
        self._package = package
        self._size = {"customers": customers, "invoices": invoices, "seed": seed}
        self._secret = secret
        self._say = say
        self._watch = watch
        self._clock = SystemClock()

    async def run(self, stop: asyncio.Event, *, stay: bool) -> bool:
        """Whether the mirror equalled the books at the end."""
        started = self._clock.monotonic()
        async with self._stage() as stage:
            await self._link(stage)
            await self._first_sync(stage)
            if stay:
                await self._stay(stage, stop)
            else:
                await self._story(stage, stop)
            return self._verdict(stage, self._clock.monotonic() - started)

    @asynccontextmanager
    async def _stage(self) -> AsyncIterator[Stage]:
        simulation = simulator(self._package)(clock=self._clock, **self._size)
        receiver = Receiver([self._secret], clock=self._clock)
        with tempfile.TemporaryDirectory(prefix="connector-demo-") as folder:
            async with serve(simulation.app) as package_url, serve(receiver.app) as receiver_url:
                self._say.print(f"{simulation.title}: {package_url}   receiver: {receiver_url}")
                settings = self._configure(Path(folder), simulation, package_url, receiver_url)
                runtime = Runtime.open(settings, packages(), self._clock)
                destinations = runtime.destinations()
                try:
                    yield Stage(simulation, receiver, runtime, runtime.deliverer(destinations))
                finally:
                    for destination in destinations.values():
                        await destination.close()
                    await runtime.close()

    def _configure(self, folder: Path, simulation: Simulation, package_url: str, receiver_url: str) -> config.Settings:
        generate_key_file(folder / "demo.key")
        file = folder / "config.toml"
        file.write_text(
            CONFIG.format(
                port=_free_port(),
                package=self._package,
                client_id=simulation.client_id,
                app=_toml(simulation.settings),
                destination=DESTINATION,
                receiver=receiver_url,
                name=NAME,
                administration=simulation.administration,
                connection=_toml(simulation.connection(package_url)),
            )
        )
        environ = {"DEMO_CLIENT_SECRET": simulation.client_secret, "DEMO_WEBHOOK_SECRET": self._secret}
        return config.load(file, {name: package.options for name, package in packages().items()}, environ)

    async def _link(self, stage: Stage) -> None:
        """As the client would: by the package's sign-in page, or by pasting a key."""
        if stage.simulation.pasted is None:
            identity, way = await self._sign_in(stage), "by the authorization code flow"
        else:
            identity, way = await linking.accept(stage.runtime, NAME, stage.simulation.pasted), "by its key"
        self._say.print(f"linked {identity.name}, administration {identity.administration}, {way}")

    async def _sign_in(self, stage: Stage) -> Identity:
        """Open an invitation as the client's browser would, press its button, and consent at once."""
        arrived: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()

        async def linked(_: str, identity: Identity) -> None:
            arrived.set_result(identity)

        host, port = stage.runtime.settings.daemon.address
        pages = ConnectPages(runtime=stage.runtime, linked=linked, lasting=False)
        async with serve(Starlette(routes=pages.routes()), host, port):
            invited = await linking.invite(stage.runtime, NAME, linking.HERE)
            async with httpx.AsyncClient(trust_env=False) as browser:
                to_package = await browser.post(invited.url.reveal())
                consent = to_package.headers.get("location", "") + "&approve=1"
                answer = await browser.get(consent, follow_redirects=True)
            if not arrived.done():
                raise SourceDown(f"the sign-in ended with HTTP {answer.status_code}", where=str(answer.url))
            return arrived.result()

    async def _first_sync(self, stage: Stage) -> None:
        started = self._clock.monotonic()
        done = asyncio.Event()
        delivering = asyncio.create_task(stage.deliverer.run(done))
        report = await self._cycle(stage)
        done.set()
        await delivering
        await stage.deliverer.deliver_once(DESTINATION)
        seconds = self._clock.monotonic() - started
        rows = sum(feed.rows for feed in report.feeds)
        pages = sum(feed.pages for feed in report.feeds)
        made = records.figures(stage.runtime.store, connections.find(stage.runtime.store, NAME).id)
        self._say.print(
            f"first sync in {seconds:.1f} s: read {rows} rows on {pages} pages, normalized them to {made.customers} "
            f"customers, {made.invoices} invoices and {made.payments} payments, delivered {len(stage.arrived())} events"
        )
        self._compare(stage)

    async def _sweep(self, stage: Stage) -> None:
        """Two complete reads: what neither holds, and the package does not know any more, is gone."""
        for _ in range(2):
            await self._cycle(stage, full=True)
        await stage.deliverer.deliver_once(DESTINATION)

    async def _cycle(self, stage: Stage, *, full: bool = False) -> CycleReport:
        with self._watch(NAME) as progress:
            progress.events = lambda: stage.deliverer.wake(DESTINATION)
            async with stage.runtime.cycle(NAME, progress=progress, full=full) as cycle:
                report = await cycle.run()
        if isinstance(report.error, ConnectorError):
            raise report.error
        if report.error is not None:
            raise RuntimeError("the cycle failed") from report.error
        return report

    async def _story(self, stage: Stage, stop: asyncio.Event) -> None:
        for action in STORY:
            if stop.is_set():
                return
            before = stage.mirror(), len(stage.arrived())
            try:
                booked = stage.simulation.perform(action)
            except Impossible as error:
                self._say.print(f"\n[bold]not booked:[/] {action}, {error}", markup=True)
                continue
            self._say.print(f"\n[bold]booked:[/] {booked}", markup=True)
            started = self._clock.monotonic()
            await self._cycle(stage)
            await stage.deliverer.deliver_once(DESTINATION)
            if action in stage.simulation.found_by_sweeps:
                self._say.print("  the package tells nobody; the daemon finds it by complete reads, as made now")
                await self._sweep(stage)
            self._arrived(stage, *before, self._clock.monotonic() - started)

    async def _stay(self, stage: Stage, stop: asyncio.Event) -> None:
        self._say.print("\nthe daemon goes on, and so do the books; Ctrl-C ends it", markup=False)

        async def book() -> None:
            while not stop.is_set():
                self._say.print(f"booked: {stage.simulation.perform_any()}", markup=False)
                await self._clock.sleep(BETWEEN_BOOKINGS_S)

        booking = asyncio.create_task(book())
        await daemon.run(stage.runtime, stop, lambda url: self._say.print(f"daemon: {url}/healthz"))
        booking.cancel()
        stop.clear()
        await self._cycle(stage)
        if stage.simulation.found_by_sweeps:
            await self._sweep(stage)
        await stage.deliverer.deliver_once(DESTINATION)

    def _arrived(self, stage: Stage, before: dict[str, Any], count: int, seconds: float) -> None:
        told = stage.arrived()[count:]
        after = stage.mirror()
        for event in told[:SHOWN]:
            self._say.print(f"  arrived: {_sentence(event, before, after)}", markup=False)
        if len(told) > SHOWN:
            self._say.print(f"  and {len(told) - SHOWN} more", markup=False)
        differences = stage.differences()
        state = "the mirror equals the books" if not differences else f"{len(differences)} differences"
        self._say.print(f"  {state}, {seconds:.1f} s after the booking", markup=False)

    def _compare(self, stage: Stage) -> None:
        table = Table(title="open items", title_justify="left", box=None, pad_edge=False)
        for column in ("", "customers", "items", "amount"):
            table.add_column(column, justify="left" if not column else "right")
        for name, figures in (
            ("books", mirror.figures(stage.simulation.truth())),
            ("mirror", mirror.figures(stage.mirror())),
        ):
            amounts = ", ".join(f"{_money(amount)} {currency}" for currency, amount in figures.open.items())
            table.add_row(name, str(figures.customers), str(figures.items), amounts)
        self._say.print(table)

    def _verdict(self, stage: Stage, seconds: float) -> bool:
        self._say.print()
        self._compare(stage)
        differences = stage.differences()
        for difference in differences[:20]:
            self._say.print(f"  difference: {difference}", markup=False)
        equal = not differences
        words = "the mirror equals the books, to the cent" if equal else f"{len(differences)} differences"
        self._say.print(f"{words} ({seconds:.0f} s)", markup=False)
        return equal


def _sentence(event: Seen, before: dict[str, Any], after: dict[str, Any]) -> str:
    entity, _, external_id = event.subject.partition("/")
    was, now = (books.get(f"{entity}s", {}).get(external_id) for books in (before, after))
    record = now or was or {}
    name = f"{entity} {record.get('number') or record.get('name') or external_id}"
    if now is None:
        return f"{name} is gone"
    field = {"invoice": "open", "payment": "unallocated"}.get(entity)
    if field is None:
        return f"{name} {'is new' if was is None else 'has changed'}: {record.get('name', '')}"
    amount = f"{field} {was[field]} -> {now[field]}" if was else f"is new, {field} {now[field]}"
    return f"{name} {amount} of {now.get('total') or now.get('amount')} {now['currency']}"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _toml(settings: Mapping[str, Any]) -> str:
    """Texts and whole numbers look the same there as in JSON."""
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
