"""A TCP proxy that spoils connections on request, on real sockets: the toxics of the fault catalogue.

A toxic takes hold of the requests that contain `match`, from byte `after` of the answer on (headers count), and lets
go with the next request of that connection.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

Kind = Literal["latency", "slicer", "timeout", "reset_peer", "limit_data", "slow_close"]

_PIECE: Final = 65_536
_NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Closing such a socket resets the connection instead of ending it."""


@dataclass(kw_only=True)
class Toxic:
    """One way to spoil an answer.

    `latency` waits before the answer, `slicer` sends it in pieces with a pause between them, `timeout` falls silent
    and stays connected, `reset_peer` resets, `limit_data` ends the connection as if all were said, `slow_close` says
    all and takes its time to end.
    """

    kind: Kind
    match: bytes = b""
    after: int = 0
    seconds: float = 0.0
    size: int = 1
    times: int | None = 1
    """How many requests it spoils; None: every one."""
    hits: int = 0


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: "Proxy", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._toxic: Toxic | None = None
        self._passed = 0

    async def carry(self) -> None:
        there, back = await asyncio.open_connection(*self._proxy.upstream)
        answers = asyncio.create_task(self._answers(there))
        try:
            while request := await self._reader.read(_PIECE):
                self._toxic, self._passed = self._proxy.take(request), 0
                if self._toxic is not None and self._toxic.kind == "slow_close":
                    request = request.replace(b"keep-alive", b"close")
                back.write(request)
                await back.drain()
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            for writer in (back, self._writer):
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def _answers(self, upstream: asyncio.StreamReader) -> None:
        while piece := await upstream.read(_PIECE):
            toxic = self._toxic
            unharmed = len(piece) if toxic is None else max(0, toxic.after - self._passed)
            if toxic is not None and toxic.kind == "latency" and not self._passed:
                await asyncio.sleep(toxic.seconds)
            self._passed += len(piece)
            self._writer.write(piece[:unharmed])
            await self._writer.drain()
            if toxic is not None and (rest := piece[unharmed:]):
                await self._spoil(toxic, rest)
        if self._toxic is not None and self._toxic.kind == "slow_close":
            await asyncio.sleep(self._toxic.seconds)
        self._writer.close()

    async def _spoil(self, toxic: Toxic, rest: bytes) -> None:
        match toxic.kind:
            case "slicer":
                for at in range(0, len(rest), toxic.size):
                    self._writer.write(rest[at : at + toxic.size])
                    await self._writer.drain()
                    await asyncio.sleep(toxic.seconds)
            case "timeout":
                await asyncio.Event().wait()  # until the client gives up
            case "reset_peer":
                self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                self._writer.transport.abort()
            case "limit_data":
                self._writer.close()
            case _:
                self._writer.write(rest)
                await self._writer.drain()


@dataclass
class Proxy:
    """Stands before one server; add to `toxics` what shall go wrong, first match first."""

    upstream: tuple[str, int]
    url: str = ""
    toxics: list[Toxic] = field(default_factory=list)
    _lines: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    def add(self, toxic: Toxic) -> Toxic:
        self.toxics.append(toxic)
        return toxic

    def take(self, request: bytes) -> Toxic | None:
        for toxic in self.toxics:
            if toxic.match in request and (toxic.times is None or toxic.hits < toxic.times):
                toxic.hits += 1
                return toxic
        return None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines[line] = writer
        with contextlib.suppress(ConnectionError):
            await _Line(self, reader, writer).carry()
        del self._lines[line]

    async def hang_up(self) -> None:
        for writer in self._lines.values():
            writer.transport.abort()
        await asyncio.gather(*self._lines, return_exceptions=True)


@contextlib.asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy before the server at a URL."""
    server = urlsplit(url)
    assert server.hostname is not None
    assert server.port is not None
    standing = Proxy((server.hostname, server.port))
    listener = await asyncio.start_server(standing.connected, "127.0.0.1", 0)
    standing.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield standing
        listener.close()
        await standing.hang_up()


@contextlib.contextmanager
def unanswered() -> Iterator[str]:
    """The URL of a machine that does not answer: its queue of waiting connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
