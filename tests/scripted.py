"""A package that gives scripted answers on a real socket, and a client to it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connector.http import Circuit, Client
from connector.secrets import Secret
from tests.clocks import ManualClock
from tests.servers import serve

Answer = Response | Callable[[Request], Awaitable[Response]]
JSON = {"content-type": "application/json"}


@dataclass
class Calls:
    """A budget that only writes down."""

    acquired: int = 0
    told_of: list[int] = field(default_factory=list)
    until: datetime | None = None

    async def acquire(self) -> None:
        self.acquired += 1

    async def told(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        self.told_of.append(status)
        return self.until


@dataclass
class Tokens:
    """Gives token 1, and the next one each time the present one was refused."""

    number: int = 1

    async def __call__(self, refused: str | None) -> Secret:
        if refused == f"token-number-{self.number}":
            self.number += 1
        return Secret(f"token-number-{self.number}")


@dataclass
class Bench:
    """A package that gives the scripted answers in turn, the last one for ever."""

    client: Client
    budget: Calls
    clock: ManualClock
    circuit: Circuit
    url: str
    requests: list[Request]

    @property
    def authorizations(self) -> list[str]:
        return [request.headers["authorization"] for request in self.requests]


@asynccontextmanager
async def package(*answers: Answer, **options: Any) -> AsyncIterator[Bench]:
    requests: list[Request] = []

    async def answer(request: Request) -> Response:
        requests.append(request)
        scripted = answers[min(len(requests), len(answers)) - 1]
        return scripted if isinstance(scripted, Response) else await scripted(request)

    async with serve(Starlette(routes=[Route("/{path:path}", answer)])) as url, to(url, **options) as bench:
        bench.requests = requests
        yield bench


@asynccontextmanager
async def to(url: str, **options: Any) -> AsyncIterator[Bench]:
    budget, clock = Calls(), ManualClock()
    circuit = Circuit(clock)
    options = {"authorize": Tokens(), **options}
    client = Client("acme", origins=[url], budget=budget, circuit=circuit, clock=clock, **options)
    async with client:
        yield Bench(client, budget, clock, circuit, url, [])


def ok(body: str | bytes = "[]", **headers: str) -> Response:
    return Response(body, headers={**JSON, **headers})


def status(code: int, body: str = "", **headers: str) -> Response:
    return Response(body, status_code=code, headers=headers)
