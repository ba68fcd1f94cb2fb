"""The way out: HTTP with nothing left open, a deadline over all of a call, and bodies cut at a limit."""

import asyncio
import functools
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import unquote

import httpx

from connector.errors import SourceDown, Stopped

T = TypeVar("T")

MAX_BODY: Final = 32 * 1024 * 1024
WAIT: Final = "the program tries again by itself"

_CERTIFICATE: Final = "check the clock of this machine and the configured address"
_CHUNK: Final = 64 * 1024


class TooLarge(Stopped):
    """The answer's decoded body is larger than the cap."""


class Transient(SourceDown):
    """Passes by itself: worth a second try within the same call."""


_CONNECT_S: Final = 10.0
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "connector"}


def transport() -> httpx.AsyncHTTPTransport:
    """The one place where a way to a package is opened: TLS always verified, no proxy variables.

    The transport and not a client: nothing has to be switched off then, as it knows no redirects, cookies or
    credentials of its own, and a call costs half.
    """
    limits = httpx.Limits(max_connections=8, max_keepalive_connections=4)
    return httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False, limits=limits)


def request(
    method: str, url: httpx.URL | str, *, headers: Mapping[str, str], content: bytes | None = None, read_s: float = 20.0
) -> httpx.Request:
    """What a transport sends, with the time that each of its steps may take."""
    timeout = httpx.Timeout(read_s, connect=_CONNECT_S).as_dict()
    return httpx.Request(method, url, headers={**_HEADERS, **headers}, content=content, extensions={"timeout": timeout})


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """(scheme, host, port), the port made explicit."""
    return url.scheme, url.host.lower(), url.port or {"http": 80, "https": 443}.get(url.scheme)


def path_within(url: httpx.URL, prefixes: Sequence[str]) -> bool:
    """Whether the path begins with one of the prefixes and cannot climb out of it, however often it is unquoted."""
    path = url.path
    while path != (plain := unquote(path)):
        path = plain
    climbs = "\\" in path or any(part in {".", ".."} for part in path.split("/"))
    return not climbs and url.path.startswith(tuple(prefixes))


def describe(error: httpx.TransportError) -> str:
    """What went wrong on the way, in words, without the URL."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is not valid: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "the server's name cannot be resolved"
        cause = cause.__cause__ or cause.__context__
    names = {
        httpx.ConnectTimeout: "no connection within the time allowed",
        httpx.ConnectError: "the connection was refused",
        httpx.ReadTimeout: "the server stopped sending",
        httpx.RemoteProtocolError: "the answer broke off",
        httpx.ReadError: "the connection was reset",
    }
    return names.get(type(error), f"the request failed ({type(error).__name__})")


class Deadline:
    """Seconds of network time for one call, over all its tries; waiting for the budget does not count."""

    def __init__(self, seconds: float, where: str) -> None:
        self._left = seconds
        self.where = where

    async def run(self, work: Awaitable[T]) -> T:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._left):
                return await work
        except TimeoutError as error:
            raise SourceDown("no complete answer within the time allowed", where=self.where, fix=WAIT) from error
        except httpx.TransportError as error:
            what = describe(error)
            certificate = "certificate" in what
            kind = SourceDown if certificate else Transient
            raise kind(what, where=self.where, fix=_CERTIFICATE if certificate else WAIT) from error
        finally:
            self._left -= loop.time() - started


async def decoded(answer: httpx.Response, limit: int, where: str) -> AsyncIterator[bytes]:
    """The body, unzipped in small steps so that a bomb is cut at the limit and a truncated stream is noticed."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise SourceDown(f"the answer is encoded as {encoding}, which was not asked for", where=where, fix=WAIT)
    unzip = zlib.decompressobj(31) if encoding == "gzip" else None
    total = received = 0
    async for raw in answer.aiter_raw():
        received += len(raw)
        rest = raw
        while rest:
            piece, rest = _unzipped(unzip, rest, where) if unzip else (rest, b"")
            total += len(piece)
            if total > limit:
                raise TooLarge(
                    f"the answer is larger than {limit // 1024} kB",
                    where=where,
                    fix="ask for smaller pages, or report it: no known answer is that large",
                )
            yield piece
    if unzip and received and not unzip.eof:
        raise Transient("the answer broke off", where=where, fix=WAIT)


def _unzipped(unzip: "zlib._Decompress", data: bytes, where: str) -> tuple[bytes, bytes]:
    try:
        piece = unzip.decompress(data, _CHUNK)
    except zlib.error as error:
        raise Transient("the answer is damaged", where=where, fix=WAIT) from error
    if unzip.unused_data:
        raise Transient("the answer has data after its end", where=where, fix=WAIT)
    return piece, unzip.unconsumed_tail
