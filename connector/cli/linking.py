"""`connect`: a person signs in to the package and grants access."""

import asyncio
import sys
import threading
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer
from starlette.applications import Starlette

from connector.adapter import Identity
from connector.cli.common import DEFAULT_CONFIG, ConfigOption, err, errors_explained, open_runtime, out, plain
from connector.errors import ConfigurationError, ConnectorError, NeedsReconnect
from connector.runtime import Runtime
from connector.store import connections
from connector.web.callback import callback_route, finish
from connector.web.server import serve

WAIT_S = 600.0
POLL_S = 1.0


def connect(
    name: Annotated[str, typer.Argument(help="The connection to link.")],
    config_path: ConfigOption = DEFAULT_CONFIG,
    paste: Annotated[
        bool, typer.Option("--paste", help="Do not listen for the callback; read the redirected address only.")
    ] = False,
) -> None:
    """Print the sign-in link and wait for the answer."""
    with errors_explained():
        runtime = open_runtime(config_path)
        runtime.settings.select([name])
        identity = asyncio.run(_connect(runtime, name, paste=paste))
        whose = plain(f"{identity.name} ({identity.administration})")
        out.print(f"linked {name}: {whose}. Next: `connector sync {name}`")


async def _connect(runtime: Runtime, name: str, *, paste: bool) -> Identity:
    try:
        linked = connections.find(runtime.store, name)
        url = await runtime.authorizer().begin(linked.id, runtime.redirect_uri)
        out.print("Open this link in a browser and grant access; it works for ten minutes:\n")
        out.print(url)
        out.print("\nIf the browser ends on a page that cannot be shown, paste its address here.")
        waiting = [asyncio.create_task(_from_input(runtime))]
        if not paste:
            waiting.append(asyncio.create_task(_from_callback(runtime, name)))
        return await _first(waiting)
    finally:
        await runtime.close()


async def _first(waiting: list[asyncio.Task[Identity]]) -> Identity:
    """The first success; a way that fails leaves the others open."""
    pending = set(waiting)
    failure: ConnectorError = NeedsReconnect(
        "nobody signed in within ten minutes", where="sign-in", fix="run the command again"
    )
    try:
        async with asyncio.timeout(WAIT_S):
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, ConnectorError):
                        raise error
                    failure = error
    except TimeoutError:
        pass
    finally:
        for task in pending:
            task.cancel()
    raise failure


async def _from_callback(runtime: Runtime, name: str) -> Identity:
    """Listen where the callback comes; when a daemon listens there already, wait until it has taken it."""
    arrived: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()

    async def linked(_: str, identity: Identity) -> None:
        if not arrived.done():
            arrived.set_result(identity)

    linked_id = connections.find(runtime.store, name).id
    before = runtime.token_store.get(linked_id)
    host, port = runtime.settings.daemon.address
    try:
        async with serve(Starlette(routes=[callback_route(runtime, linked)]), host, port):
            return await arrived
    except ConfigurationError:
        err.print(f"(another program listens on {host}:{port}; if it is the daemon, it takes the callback)")
    while (token := runtime.token_store.get(linked_id)) is None or (before and token.generation == before.generation):
        await runtime.clock.sleep(POLL_S)
    _, identity = await runtime.signed_in(linked_id)
    return identity


async def _from_input(runtime: Runtime) -> Identity:
    """The redirected address, pasted; a line that is none is asked for again, the end of input is not an answer."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    # A daemon thread: a read from a terminal cannot be cancelled and must not keep the program alive.
    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        query = parse_qs(urlsplit(line.strip()).query)
        if "state" in query and ("code" in query or "error" in query):
            _, identity = await finish(
                runtime, query["state"][0], query.get("code", [None])[0], query.get("error", [None])[0]
            )
            return identity
        if line.strip():
            err.print("That is not the redirected address: it holds `code=` and `state=`. Paste the whole address.")
    raise ConfigurationError(
        "no redirected address came on standard input", where="--paste", fix="paste the address the browser ended on"
    )
