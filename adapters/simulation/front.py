"""The door of a simulator: every request is recorded, may run into a fault, and is counted."""

from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.simulation.faults import Answer, Fault, Faults
from connector.clock import Clock

_CONTROL = "/_sim"
_BLOCK = b" " * 65_536
_REMEMBERED = 20_000


@dataclass(slots=True)
class Recorded:
    """One request and how it was answered; no status means that the connection broke."""

    number: int
    at: str
    method: str
    path: str
    query: str
    status: int | None = None
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Front:
    """Wraps the application. `answered` is told the path and status of every answer, faults included."""

    def __init__(self, app: ASGIApp, faults: Faults, clock: Clock, answered: Callable[[str, int], None]) -> None:
        self._app = app
        self._faults = faults
        self._clock = clock
        self._answered = answered
        self.requests: deque[Recorded] = deque(maxlen=_REMEMBERED)
        self._number = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_CONTROL):
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        target = f"{scope['path']}?{query}" if query else scope["path"]
        self._number += 1
        now = self._clock.now().isoformat()
        record = Recorded(self._number, now, scope["method"], scope["path"], query)
        self.requests.append(record)
        fault = self._faults.take(target)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                self._answered(scope["path"], message["status"])
            await send(message)

        if fault is None:
            await self._app(scope, receive, noting)
            return
        record.fault = fault.kind
        await self._fail(fault, scope, receive, noting)

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "drop":
            _break(receive)
            return
        answer = self._faults.instead(fault)
        if answer is None:
            self._faults.prepare(fault)
            answer = self._faults.spoil(fault, await self._ask(scope, receive), _url(scope))
        if fault.kind == "huge":
            await _pour(send, answer, int(fault.params.get("size", 64 * 1024 * 1024)))
            return
        if fault.kind == "reset":
            half = len(answer.body) // 2
            await _start(send, answer, length=len(answer.body))
            await send({"type": "http.response.body", "body": answer.body[:half], "more_body": True})
            _break(receive)
            return
        if fault.kind == "slow":
            await self._drip(send, answer, float(fault.params.get("seconds", 30)))
            return
        await _start(send, answer, length=len(answer.body))
        await send({"type": "http.response.body", "body": answer.body})

    async def _drip(self, send: Send, answer: Answer, seconds: float) -> None:
        await _start(send, answer, length=len(answer.body))
        step = max(1, len(answer.body) // 20)
        pieces = [answer.body[place : place + step] for place in range(0, len(answer.body), step)]
        for piece in pieces:
            await self._clock.sleep(seconds / len(pieces))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _ask(self, scope: Scope, receive: Receive) -> Answer:
        """The application's whole answer, kept back."""
        status, headers, body = 500, dict[str, str](), bytearray()

        async def keep(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers.update((name.decode(), value.decode()) for name, value in message["headers"])
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        headers.pop("content-length", None)
        return Answer(status, headers, bytes(body))


async def _start(send: Send, answer: Answer, *, length: int | None) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _pour(send: Send, answer: Answer, size: int) -> None:
    """A body without a stated length that goes on and on, and would be JSON at its end."""
    await _start(send, answer, length=None)
    for _ in range(0, size, len(_BLOCK)):
        await send({"type": "http.response.body", "body": _BLOCK, "more_body": True})
    await send({"type": "http.response.body", "body": answer.body})


def _break(receive: Receive) -> None:
    """Cut the connection: uvicorn's transport when there is one, else an error as a client would see it."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise httpx.RemoteProtocolError("the simulated server cut the connection")
    transport.abort()


def _url(scope: Scope) -> str:
    host = dict(scope["headers"]).get(b"host", b"localhost").decode()
    query = scope["query_string"].decode("latin-1")
    return f"{scope['scheme']}://{host}{scope['path']}{'?' + query if query else ''}"
