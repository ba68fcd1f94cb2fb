"""What every request has to pass, and every answer carries, before the application sees anything.

A web page somewhere else must not reach this listener through a browser: neither under a name of its own that points
here (DNS rebinding), nor by a form or script that posts across sites.
"""

import asyncio
import re
from datetime import datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connector.config import Daemon
from connector.errors import ConfigurationError
from connector.store import api_keys
from connector.store.engine import Store

BODY_LIMIT: Final = 1_000_000
BODY_S: Final = 20.0
"""How long a request may take to send its body."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Unless an answer says otherwise."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::\d{1,5})?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


class Guard:
    """Checks host, origin and size of each request, and adds the security headers to each answer."""

    def __init__(self, app: ASGIApp, daemon: Daemon) -> None:
        self._app = app
        host, _ = daemon.address
        public = urlsplit(daemon.url)
        self._hosts = {host, public.hostname, *_LOOPBACK}
        self._any_address = host in _EVERYWHERE
        self._origin = f"{public.scheme}://{public.netloc}".lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        body = self._refusal(scope["method"], Headers(scope=scope)) or await _body(receive)
        if isinstance(body, Response):
            await body(scope, receive, finish)
            return
        await self._app(scope, _replayed(body, receive), finish)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0].lower()):
            return _refused(400, "this host name is not served here; [daemon] public_url says which one is")
        if method not in _SAFE and not self._from_us(headers):
            return _refused(403, "a request from a page of another site is not accepted")
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > BODY_LIMIT:
            return _too_large()
        return None

    def _is_ours(self, host: str) -> bool:
        form = _HOST.fullmatch(host)
        if form is None:
            return False
        name = form[1].strip("[]")
        return name in self._hosts or (self._any_address and _is_address(name))

    def _from_us(self, headers: Headers) -> bool:
        """Browsers say from where; what says nothing is no browser, and has no cookies of anybody.

        A page that sends no referrer, as ours, has its origin hidden as "null"; the site is still said.
        """
        origins, sites = headers.getlist("origin"), headers.getlist("sec-fetch-site")
        hidden = ["null"] if sites == ["same-origin"] else []
        return set(sites) <= {"same-origin", "none"} and all(
            one in hidden or self._is_our_origin(one, headers) for one in origins
        )

    def _is_our_origin(self, origin: str, headers: Headers) -> bool:
        return origin.lower() == self._origin or urlsplit(origin).netloc.lower() == headers["host"].lower()


def refuse_exposure(daemon: Daemon, store: Store, now: datetime) -> None:
    """Beyond this machine we listen only where a TLS proxy is said to be in front, and somebody can authenticate.

    Raises:
        ConfigurationError: one of the two is missing.
    """
    host, _ = daemon.address
    if host == "localhost" or (_is_address(host) and ip_address(host).is_loopback):
        return
    where = f'[daemon] listen = "{daemon.listen}"'
    if not (daemon.public_url or "").startswith("https://"):
        raise ConfigurationError(
            "the daemon would be reachable from other machines without TLS",
            where=where,
            fix='listen on 127.0.0.1, or put a TLS proxy in front and name it: public_url = "https://…"',
        )
    if not api_keys.any_usable(store, now):
        raise ConfigurationError(
            "the daemon would be reachable from other machines, and there is no API key",
            where=where,
            fix="run `connector apikey create NAME`, or listen on 127.0.0.1",
        )


async def _body(receive: Receive) -> bytes | Response:
    """The whole of it, so that nothing behind us has to count."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return _refused(400, "the request ended too early")
                size += len(message.get("body", b""))
                if size > BODY_LIMIT:
                    return _too_large()
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        return _refused(408, "the request took too long")


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay


def _refused(status: int, why: str) -> Response:
    return PlainTextResponse(f"refused: {why}\n", status)


def _too_large() -> Response:
    return PlainTextResponse(f"refused: the body is larger than {BODY_LIMIT} bytes\n", 413, {"Connection": "close"})


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
