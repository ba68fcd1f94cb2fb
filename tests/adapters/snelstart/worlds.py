"""A simulated SnelStart on a socket, with generated books in it, for the tests of the adapter."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import Any

import httpx

from adapters.simulation import BookkeepingError, generate
from adapters.snelstart.adapter import PACKAGE, Options, SnelStart, oauth
from adapters.snelstart.simulator import SimulatorSettings, SnelSimulator, create
from connector.adapter import AdapterContext, Feed, Page
from connector.domain.records import Invoice
from connector.http import Circuit, Client
from connector.mapping import compile_mapping
from connector.secrets import Secret
from tests.clocks import ManualClock
from tests.conformance.adapters import Mirror, Recalled, Truth, World
from tests.servers import serve

TODAY = date(2026, 11, 20)
NO_OPEN_FILTER = frozenset({"verkoopfacturen/OpenstaandSaldo"})

_AN_HOUR = (timedelta(minutes=61), timedelta(minutes=61))
"""An item is gone after two sweeps of all invoices, which are hourly where open ones cannot be asked for."""
_A_DAY = (timedelta(minutes=61), timedelta(hours=25), timedelta(hours=25))
"""Else those of all invoices are daily."""


class Unlimited:
    """A budget that never runs out and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def acquire(self) -> None:
        self.calls += 1

    async def told(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        return None


class SnelWorld(World):
    """Adds what only the tests of this package need."""

    simulator: SnelSimulator
    http: Client
    base_url: str
    budget: Unlimited

    def book(self, name: str, **args: Any) -> tuple[str, ...]:
        """Let something be booked, some seconds later."""
        self.clock.advance(7)
        return self.simulator.bookkeeper.perform(name, **args).ids

    def asked(self, part: str) -> list[str]:
        """The requests so far whose address holds this."""
        return [str(request) for request in self.simulator.requests if part in str(request)]


def settings(**changes: Any) -> SimulatorSettings:
    """Calls to spare; open items can be asked for, unless told otherwise."""
    plain: dict[str, Any] = {"minute_limit": 10**6, "hour_limit": 10**6, "unfilterable": frozenset()}
    return SimulatorSettings(**(plain | changes))


def told_apart(truth: Truth) -> Truth:
    """Without blocked customers that never got an invoice: they look the same as deleted ones (sheet 5.1)."""
    owing = {item["customer"] for item in truth["items"].values()}
    customers = {key: one for key, one in truth["customers"].items() if key in owing or not one["blocked"]}
    return {**truth, "customers": customers}


@contextlib.asynccontextmanager
async def snel_world(
    setup: SimulatorSettings | None = None, *, seed: int = 7, customers: int = 12, invoices: int = 60, **options: Any
) -> AsyncIterator[SnelWorld]:
    clock = ManualClock(datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    books = generate(seed=seed, customers=customers, invoices=invoices, today=TODAY, foreign_currency=False)
    simulator = create(books, clock, setup or settings())
    mapping = compile_mapping(resources.files("mappings") / "snelstart.toml", sources=PACKAGE.sources)
    async with serve(simulator.app) as origin, httpx.AsyncClient(trust_env=False) as plain:
        chosen = Options(base_url=f"{origin}/v2", auth_url=origin, **options)
        budget = Unlimited()
        token: Secret | None = None

        async def authorize(refused: str | None) -> Secret:
            nonlocal token
            if token is None or refused is not None:
                grant = oauth(chosen)
                assert grant.key is not None
                answer = await plain.post(grant.token_url, data=dict(grant.key.form(simulator.koppelsleutel)))
                token = Secret(answer.json()["access_token"])
            return token

        async with Client(
            "test",
            origins=PACKAGE.origins(chosen),
            budget=budget,
            circuit=Circuit(clock),
            clock=clock,
            authorize=authorize,
            headers={"Ocp-Apim-Subscription-Key": Secret(simulator.settings.subscription_keys[0])},
            refusal=PACKAGE.refusal,
        ) as http:

            async def adapter() -> SnelStart:
                context = AdapterContext(
                    administration=simulator.administration, options=chosen, http=http, clock=clock
                )
                return SnelStart(context)

            def act() -> str | None:
                clock.advance(7)
                try:
                    return simulator.bookkeeper.random_action().sentence
                except BookkeepingError:
                    return None

            world = SnelWorld(
                package=PACKAGE,
                mapping=mapping,
                administration=simulator.administration,
                adapter=adapter,
                truth=lambda: told_apart(simulator.truth()),
                act=act,
                clock=clock,
                waits=_AN_HOUR if simulator.settings.unfilterable else _A_DAY,
            )
            world.simulator, world.http, world.base_url, world.budget = simulator, http, origin, budget
            yield world


async def later(world: SnelWorld, mirror: Mirror, pause: timedelta = timedelta(hours=1)) -> int:
    """Another cycle; how many calls it took."""
    world.clock.advance(pause.total_seconds() + 60)
    before = world.budget.calls
    await mirror.cycle()
    return world.budget.calls - before


def invoice(mirror: Mirror, key: str) -> Invoice | None:
    return next((one for one in mirror.assemble().invoices if one.external_id == key), None)


async def pages(world: SnelWorld, mirror: Mirror, name: str, cursor: str | None = None) -> list[Page]:
    adapter = await world.adapter()
    assert isinstance(adapter, SnelStart)
    adapter.remember(Recalled(mirror))
    feed = Feed(name=name, kind="changes", fills="")
    return [page async for page in adapter.read(feed, cursor, mirror.references())]
