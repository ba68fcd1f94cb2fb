"""A client of the simulated Exact Online that knows nothing but HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from adapters.exactonline.simulator import ExactSimulator, SimulatorSettings, create
from adapters.simulation import Books, generate
from tests.clocks import ManualClock

CALLBACK = "http://127.0.0.1:8000/callback"


def small_books(*, customers: int = 12, invoices: int = 60) -> Books:
    return generate(seed=7, customers=customers, invoices=invoices, today=ManualClock().now().date())


class Client:
    """Calls the simulator as an app would, with a token once it is connected."""

    def __init__(self, simulator: ExactSimulator, clock: ManualClock, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.books = simulator.books
        self.clock = clock
        self.http = http

    async def authorize(self, **more: str) -> httpx.Response:
        query = {
            "client_id": self.simulator.settings.client_id,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "state": "xyz",
            "approve": "1",
            **more,
        }
        return await self.http.get("/api/oauth2/auth", params=query)

    async def code(self) -> str:
        location = (await self.authorize()).headers["location"]
        return parse_qs(urlsplit(location).query)["code"][0]

    async def token(self, **form: str) -> httpx.Response:
        settings = self.simulator.settings
        known = {"client_id": settings.client_id, "client_secret": settings.client_secret}
        return await self.http.post("/api/oauth2/token", data={**known, **form})

    async def exchange(self, code: str) -> httpx.Response:
        return await self.token(grant_type="authorization_code", code=code, redirect_uri=CALLBACK)

    async def refresh(self, refresh_token: str) -> httpx.Response:
        return await self.token(grant_type="refresh_token", refresh_token=refresh_token)

    async def connect(self) -> dict[str, Any]:
        """Go through consent and use the token from now on."""
        tokens: dict[str, Any] = (await self.exchange(await self.code())).json()
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        return tokens

    async def get(self, path: str, **options: str) -> httpx.Response:
        """One call; options are query options without their dollar sign."""
        url = path if path.startswith("http") else f"/api/v1/{self.simulator.division}/{path}"
        query = {f"${name}": value for name, value in options.items()}
        return await self.http.get(url, params=query or None)

    async def rows(self, path: str, **options: str) -> list[dict[str, Any]]:
        """Every row, page after page."""
        found: list[dict[str, Any]] = []
        answer = await self.get(path, **options)
        while True:
            assert answer.status_code == 200, answer.text
            inner = answer.json()["d"]
            if isinstance(inner, list):
                return found + inner
            found += inner["results"]
            if "__next" not in inner:
                return found
            answer = await self.get(inner["__next"])

    async def truth(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get("/_sim/truth")).json()
        return found


@asynccontextmanager
async def simulated(books: Books | None = None, **switches: Any) -> AsyncIterator[Client]:
    """A connected client of a simulator in this process."""
    async with unconnected(books, **switches) as client:
        await client.connect()
        yield client


@asynccontextmanager
async def unconnected(books: Books | None = None, **switches: Any) -> AsyncIterator[Client]:
    clock = ManualClock()
    simulator = create(books or small_books(), clock, SimulatorSettings(**switches))
    transport = httpx.ASGITransport(app=simulator.app)
    headers = {"Accept": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://exact.test", headers=headers) as http:
        yield Client(simulator, clock, http)
