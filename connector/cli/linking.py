"""`connect`: a person grants access, by a sign-in or a key, here or wherever an invitation finds them."""

import asyncio
import contextlib
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import typer
from starlette.applications import Starlette

from connector import linking
from connector.adapter import Identity, KeyGrant
from connector.authorizer import Answer
from connector.cli.common import DEFAULT_CONFIG, ConfigOption, err, errors_explained, open_runtime, out, plain
from connector.errors import ConfigurationError, NeedsReconnect
from connector.linking import Invited
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import connections, invitations
from connector.store.authorizations import LIFETIME, Outcome
from connector.web.connect import ConnectPages
from connector.web.server import serve

T = TypeVar("T")

POLL_S = 1.0
LAST_LOOK_S = 5.0
"""For the browser to fetch the page that says it went well, before this program ends."""

FAILURES: dict[Outcome, str] = {
    "declined": "access was not granted",
    "refused": "the package refused the sign-in; the log (--verbose) says why",
    "wrong_administration": "the user who signed in may not read this administration",
    "already_linked": "another connection keeps this administration",
    "unreachable": "the package could not be reached",
    "our_fault": "the package does not accept our app; the log (--verbose) says why",
}


def connect(
    name: Annotated[str, typer.Argument(help="The connection to link.")],
    config_path: ConfigOption = DEFAULT_CONFIG,
    paste: Annotated[
        bool,
        typer.Option("--paste", help="For a machine no browser reaches: paste the address on which the browser ended."),
    ] = False,
    invite: Annotated[
        bool, typer.Option("--invite", help="Print a link for the client, which the daemon serves, and return.")
    ] = False,
    days: Annotated[int, typer.Option("--days", min=1, max=90, help="How long the invitation works.")] = 14,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page on this screen.")] = False,
) -> None:
    """Link a client's administration: print the page where access is granted, and wait for the outcome."""
    with errors_explained():
        if paste and invite:
            raise ConfigurationError(
                "--paste and --invite exclude each other",
                where="connect",
                fix="choose who signs in: you, or the client",
            )
        runtime = open_runtime(config_path)
        runtime.settings.select([name])
        if invite:
            asyncio.run(_closing(runtime, _invite(runtime, name, timedelta(days=days))))
            return
        key = runtime.sign_in(name).key
        if key is not None:
            way = _by_key(runtime, name, key)
        else:
            way = _by_terminal(runtime, name) if paste else _by_browser(runtime, name, opening=not no_browser)
        identity = asyncio.run(_closing(runtime, way))
        whose = plain(f"{identity.name} ({identity.administration})")
        out.print(f"linked {name}: {whose}. Next: `connector sync {name}`")


async def _closing(runtime: Runtime, work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    finally:
        await runtime.close()


# --- an invitation for the client ------------------------------------------------------------------------------------


async def _invite(runtime: Runtime, name: str, lifetime: timedelta) -> None:
    if runtime.settings.daemon.public_url is None:
        raise ConfigurationError(
            "an invitation leads to the daemon, and no address is configured at which a client reaches it",
            where=f"{runtime.settings.file}: daemon.public_url",
            fix='set it, as in public_url = "https://connector.example.com", or sign in here without --invite',
        )
    invited = await linking.invite(runtime, name, lifetime)
    out.print(f"Send this link to the client; it works once, until {invited.invitation.expires_at:%Y-%m-%d %H:%M} UTC:")
    out.print(f"\n{invited.url.reveal()}\n")
    out.print("Earlier links for this connection no longer work. The daemon serves the page: `connector run`.")


# --- here, in a browser ----------------------------------------------------------------------------------------------


async def _by_browser(runtime: Runtime, name: str, *, opening: bool) -> Identity:
    invited = await linking.invite(runtime, name, linking.HERE)
    async with _served(runtime) as shown:
        out.print("Open this page in a browser and grant access; it works once, for an hour:\n")
        out.print(invited.url.reveal())
        out.print("\nOn a machine that no browser reaches, use `--paste`.")
        if opening and _has_screen():
            await asyncio.to_thread(webbrowser.open, invited.url.reveal())
        identity = await _outcome(runtime, name, invited)
        if shown is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(shown.wait(), LAST_LOOK_S)
        return identity


@contextlib.asynccontextmanager
async def _served(runtime: Runtime) -> AsyncIterator[asyncio.Event | None]:
    """Serve the page, and say when a browser has seen the success; None when somebody else listens there already."""
    shown = asyncio.Event()

    async def tell() -> None:
        shown.set()

    async def linked(_: str, __: Identity) -> None:
        return None

    pages = ConnectPages(runtime=runtime, linked=linked, lasting=False, shown=tell)
    host, port = runtime.settings.daemon.address
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serve(Starlette(routes=pages.routes()), host, port))
        except ConfigurationError:
            err.print(f"(another program listens on {host}:{port}; if it is the daemon, it serves the page)")
            yield None
        else:
            yield shown


async def _outcome(runtime: Runtime, name: str, invited: Invited) -> Identity:
    """Watch the database, whoever serves the page, until the invitation is spent."""
    invitation, told = invited.invitation, ""
    while runtime.clock.now() < invitation.expires_at:
        found = await asyncio.to_thread(invitations.find, runtime.store, invitation.token_hash)
        if found is None:
            raise NeedsReconnect("a newer link has replaced this one", where=name, fix="use that one, or start again")
        if found.spent_at is not None:
            return await asyncio.to_thread(_stored_identity, runtime, name)
        begun = await asyncio.to_thread(runtime.authorizations.last_with, invitation.token_hash)
        if begun is not None and begun.outcome in FAILURES and begun.state_hash != told:
            told = begun.state_hash
            err.print(f"not linked: {FAILURES[begun.outcome]}. The link still works.")
        await runtime.clock.sleep(POLL_S)
    raise NeedsReconnect("nobody granted access within an hour", where=name, fix="run the command again")


def _stored_identity(runtime: Runtime, name: str) -> Identity:
    linked = connections.find(runtime.store, name)
    return Identity(
        administration=linked.administration, name=linked.title, currency=linked.currency, time_zone=linked.time_zone
    )


def _has_screen() -> bool:
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


# --- a key that the client handed over -------------------------------------------------------------------------------


async def _by_key(runtime: Runtime, name: str, key: KeyGrant) -> Identity:
    """Asked for without an echo, or read from standard input."""
    if sys.stdin.isatty():
        out.print(f"The client finds it here: {key.where}")
        pasted = typer.prompt(f"{key.label} (what you paste is not shown)", hide_input=True)
    else:
        pasted = sys.stdin.read()
    return await linking.accept(runtime, name, pasted)


# --- here, in this terminal ------------------------------------------------------------------------------------------


async def _by_terminal(runtime: Runtime, name: str) -> Identity:
    """This process is the session of the sign-in: nobody else can finish it."""
    session = Secret(secrets.token_urlsafe(32))
    url = await linking.begin(runtime, name, session)
    out.print("Open this link in a browser and grant access; it works for ten minutes:\n")
    out.print(url)
    out.print("\nThe browser ends on a page that may not be shown. Paste its address here:")
    try:
        async with asyncio.timeout(LIFETIME.total_seconds()):
            answer = await _pasted()
    except TimeoutError:
        raise NeedsReconnect(
            "no address was pasted within ten minutes", where=name, fix="run the command again"
        ) from None
    _, identity = await linking.finish(runtime, answer, session.reveal())
    return identity


async def _pasted() -> Answer:
    """The redirected address; a line that is none is asked for again."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    # A daemon thread: a read from a terminal cannot be cancelled and must not keep the program alive.
    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        query = dict(parse_qsl(urlsplit(line.strip()).query))
        if "state" in query and ("code" in query or "error" in query):
            return Answer.of(query)
        if line.strip():
            err.print("That is not the redirected address: it holds `code=` and `state=`. Paste the whole address.")
    raise ConfigurationError(
        "no redirected address came on standard input", where="--paste", fix="paste the address the browser ended on"
    )
