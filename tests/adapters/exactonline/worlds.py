"""A simulated Exact Online on a socket, with generated books in it, for the tests of the adapter."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from adapters.exactonline.adapter import PACKAGE, ExactOnline, Options
from adapters.exactonline.simulator import ExactSimulator, SimulatorSettings, create
from adapters.simulation import BookkeepingError, generate
from connector.adapter import AdapterContext
from connector.http import Circuit, Client
from connector.mapping import compile_mapping
from connector.secrets import Secret
from tests.clocks import ManualClock
from tests.conformance.adapters import World
from tests.servers import serve

CALLBACK = "https://connector.invalid/callback"
TODAY = date(2026, 11, 20)


class Unlimited:
    """A budget that never runs out and remembers the headers it was shown."""

    def __init__(self) -> None:
        self.calls = 0

    async def acquire(self) -> None:
        self.calls += 1

    async def told(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        return None


class ExactWorld(World):
    """Adds what only the tests of this package need."""

    simulator: ExactSimulator
    http: Client
    base_url: str


def settings(**changes: Any) -> SimulatorSettings:
    plain = {"minute_limit": 10**6, "day_limit": 10**6, "auto_approve": True, "redirect_uris": (CALLBACK,)}
    return SimulatorSettings(**(plain | changes))


async def sign_in(base_url: str, setup: SimulatorSettings) -> Secret:
    """Walk through the consent page and exchange the code."""
    asked = {"client_id": setup.client_id, "redirect_uri": CALLBACK, "response_type": "code", "state": "s"}
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as browser:
        answer = await browser.get("/api/oauth2/auth", params=asked)
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "client_id": setup.client_id,
            "client_secret": setup.client_secret,
        }
        token = await browser.post("/api/oauth2/token", data=form)
        return Secret(token.json()["access_token"])


@contextlib.asynccontextmanager
async def exact_world(
    setup: SimulatorSettings | None = None, *, seed: int = 7, customers: int = 12, invoices: int = 60
) -> AsyncIterator[ExactWorld]:
    setup = setup or settings()
    clock = ManualClock(datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    books = generate(seed=seed, customers=customers, invoices=invoices, today=TODAY)
    simulator = create(books, clock, setup)
    package_mapping = compile_mapping(resources.files("mappings") / "exactonline.toml", sources=PACKAGE.sources)
    async with serve(simulator.app) as base_url:
        budget = Unlimited()
        token = await sign_in(base_url, setup)

        async def authorize(refused: str | None) -> Secret:
            nonlocal token
            if refused is not None:
                token = await sign_in(base_url, setup)
            return token

        circuit = Circuit(clock)
        async with Client(
            "test", origins=[base_url], budget=budget, circuit=circuit, clock=clock, authorize=authorize
        ) as http:
            administration = str(simulator.division)

            async def adapter() -> ExactOnline:
                return ExactOnline(
                    AdapterContext(
                        administration=administration,
                        options=Options(base_url=base_url),
                        http=http,
                        clock=clock,
                    )
                )

            def act() -> str | None:
                clock.advance(7)
                try:
                    return simulator.bookkeeper.random_action().sentence
                except BookkeepingError:
                    return None

            world = ExactWorld(
                package=PACKAGE,
                mapping=package_mapping,
                administration=administration,
                adapter=adapter,
                truth=books.truth,
                act=act,
                clock=clock,
            )
            world.simulator, world.http, world.base_url = simulator, http, base_url
            yield world
