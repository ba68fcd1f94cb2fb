"""A client of the simulated SnelStart that knows nothing but HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from adapters.simulation import Books, generate
from adapters.snelstart.simulator import SimulatorSettings, SnelSimulator, create
from tests.clocks import ManualClock

NIL = "00000000-0000-0000-0000-000000000000"


def small_books(*, customers: int = 12, invoices: int = 60, seed: int = 7) -> Books:
    today = ManualClock().now().date()
    return generate(seed=seed, customers=customers, invoices=invoices, today=today, foreign_currency=False)


class Client:
    """Calls the simulator as an integration would, with a token once it is connected."""

    def __init__(self, simulator: SnelSimulator, clock: ManualClock, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.settings = simulator.settings
        self.books = simulator.books
        self.clock = clock
        self.http = http

    async def token(self, **form: str) -> httpx.Response:
        return await self.http.post("/b2b/token", data=form)

    async def connect(self) -> dict[str, Any]:
        """Exchange the koppelsleutel and use the token from now on."""
        answer = await self.token(grant_type="clientkey", clientkey=self.simulator.koppelsleutel)
        tokens: dict[str, Any] = answer.json()
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        return tokens

    async def get(self, path: str, **options: str) -> httpx.Response:
        """One call; options are query options without their dollar sign, or a whole query in `path`."""
        query = {f"${name}": value for name, value in options.items()}
        address = urlsplit(path)
        return await self.http.get(f"/v2/{address.path}", params=query | dict(parse_qsl(address.query)) or None)

    async def one(self, path: str, **options: str) -> Any:
        answer = await self.get(path, **options)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content, parse_float=Decimal)

    async def rows(self, path: str, **options: str) -> list[dict[str, Any]]:
        """Every row, page after page, until a page comes back empty."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.one(path, **options, top="500", skip=str(len(found)))
            if not page:
                return found
            found += page

    def act(self, name: str, /, **args: Any) -> tuple[str, ...]:
        """Let something be booked, some seconds later."""
        self.clock.advance(7)
        return self.simulator.bookkeeper.perform(name, **args).ids


def named(link: dict[str, Any] | None) -> str | None:
    """The id of a reference, however nothing was written."""
    return None if link is None or link["id"] == NIL else link["id"]


@asynccontextmanager
async def simulated(books: Books | None = None, **switches: Any) -> AsyncIterator[Client]:
    """A connected client of a simulator in this process, with calls to spare."""
    async with unconnected(books, **{"minute_limit": 10**6, "hour_limit": 10**6} | switches) as client:
        await client.connect()
        yield client


@asynccontextmanager
async def unconnected(books: Books | None = None, **switches: Any) -> AsyncIterator[Client]:
    clock = ManualClock()
    simulator = create(books or small_books(), clock, SimulatorSettings(**switches))
    transport = httpx.ASGITransport(app=simulator.app)
    headers = {"Ocp-Apim-Subscription-Key": simulator.settings.subscription_keys[0]}
    async with httpx.AsyncClient(transport=transport, base_url="http://snelstart.test", headers=headers) as http:
        yield Client(simulator, clock, http)
