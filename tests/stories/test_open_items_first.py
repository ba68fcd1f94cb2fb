"""At the package's real limits, the open items and their customers are at the destination within two minutes.

Nothing waits: time is simulated, and passes only when everybody waits for it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from connector.cycle import Progress
from connector.outcome import CycleReport
from tests.clocks import ManualClock
from tests.stories.packages import EXACTONLINE, SNELSTART, Simulated
from tests.stories.world import NAME, Town, World

CUSTOMERS, OPEN_ITEMS = 2_500, 3_000
ANSWER_S = 0.4
"""What the package takes for an answer."""


class Limits(NamedTuple):
    """How much a package lets an administration ask."""

    package: Simulated
    calls_a_minute: int
    switches: dict[str, Any]
    counted: str
    """The beginning of the paths that count."""


REAL = (
    Limits(EXACTONLINE, 60, {"minute_limit": 60, "day_limit": 5_000}, "/api/v1/"),
    # The smaller of the two tiers. Where open items cannot be asked for, all invoices are read first, and how long that
    # takes does depend on the history: 500 of them a call.
    Limits(SNELSTART, 100, {"minute_limit": 100, "hour_limit": 1_000, "unfilterable": frozenset()}, "/v2/"),
)


class PatientClock(ManualClock):
    """Time stands still while anything is being delivered, so that work costs none and order none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.still = asyncio.Event()
        self.still.set()

    async def sleep(self, seconds: float) -> None:
        await self.still.wait()
        self.advance(seconds)


@pytest.fixture(params=REAL, ids=lambda limits: limits.package.name)
def limits(request: pytest.FixtureRequest) -> Limits:
    limits: Limits = request.param
    return limits


@pytest.fixture
def world(town: Town, tmp_path: Path, limits: Limits) -> Iterator[World]:
    """Linked just now. Its history is short, because what comes before it does not depend on its length."""
    world = World(
        town,
        f"sqlite:///{tmp_path / 'connector.db'}",
        customers=CUSTOMERS,
        invoices=500,
        clock=PatientClock(),
        package=limits.package,
        calls_a_minute=limits.calls_a_minute,
    )
    books, debtors = world.simulator.books, list(world.simulator.books.relations.customers.values())[:CUSTOMERS]
    for number in range(OPEN_ITEMS):
        books.sales.invoice(debtors[number % CUSTOMERS], Decimal(100 + number))
    for name, value in {**limits.switches, "page_latency": ANSWER_S}.items():
        setattr(world.simulator.settings, name, value)
    yield world
    world.close()


def test_open_items_arrive_within_two_minutes_and_history_within_the_budget(world: World, limits: Limits) -> None:
    linked_at = world.clock.now()
    truth = world.simulator.truth()
    owed = {key: item for key, item in truth["items"].items() if Decimal(item["open"])}
    assert len(owed) >= OPEN_ITEMS

    assert first_load(world).outcome == "ok"

    arrived = arrivals(world)
    items = [arrived[key] for key in owed]
    customers = [arrived[item["customer"]] for item in owed.values()]
    assert max(items + customers) - linked_at <= timedelta(minutes=2)
    assert world.differences() == []
    assert not +world.simulator.violations
    calls = calls_by_minute(world, limits.counted, since=linked_at)
    assert max(calls.values()) <= limits.calls_a_minute


def first_load(world: World) -> CycleReport:
    """A cycle with delivery beside it, as the daemon runs them."""
    return world.town.run(delivered_beside(world))


async def delivered_beside(world: World) -> CycleReport:
    clock = world.clock
    assert isinstance(clock, PatientClock)
    news = asyncio.Event()

    def tell() -> None:
        clock.still.clear()
        news.set()

    async def deliver() -> None:
        while await news.wait():
            news.clear()
            await world.program.deliver()
            if not news.is_set():
                clock.still.set()

    delivering = asyncio.create_task(deliver())
    async with world.runtime.cycle(NAME, progress=Progress(events=tell)) as cycle:
        report = await cycle.run()
    await clock.still.wait()
    delivering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await delivering
    return report


def arrivals(world: World) -> dict[str, datetime]:
    """When each record was first taken in, by its id."""
    first: dict[str, datetime] = {}
    for delivery in world.receiver.history:
        for event in delivery.events:
            first.setdefault(event.subject.partition("/")[2], delivery.at)
    return first


def calls_by_minute(world: World, counted_paths: str, *, since: datetime) -> Counter[str]:
    counted = (
        one for one in world.simulator.requests if one.path.startswith(counted_paths) and one.at >= since.isoformat()
    )
    return Counter(one.at[:16] for one in counted if not one.path.endswith("/Me"))
