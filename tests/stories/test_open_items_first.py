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

import pytest

from connector.cycle import Progress
from connector.outcome import CycleReport
from tests.clocks import ManualClock
from tests.stories.world import DESTINATION, NAME, Town, World

CUSTOMERS, OPEN_ITEMS = 2_500, 3_000
CALLS_A_MINUTE, CALLS_A_DAY = 60, 5_000
ANSWER_S = 0.4
"""What the package takes for an answer."""


class PatientClock(ManualClock):
    """Time stands still while anything is being delivered, so that work costs none and order none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.still = asyncio.Event()
        self.still.set()

    async def sleep(self, seconds: float) -> None:
        await self.still.wait()
        self.advance(seconds)


@pytest.fixture
def world(town: Town, tmp_path: Path) -> Iterator[World]:
    """Linked just now. Its history is short, because what comes before it does not depend on its length."""
    world = World(
        town, f"sqlite:///{tmp_path / 'connector.db'}", customers=CUSTOMERS, invoices=500, clock=PatientClock()
    )
    books, debtors = world.simulator.books, list(world.simulator.books.relations.customers.values())[:CUSTOMERS]
    for number in range(OPEN_ITEMS):
        books.sales.invoice(debtors[number % CUSTOMERS], Decimal(100 + number))
    settings = world.simulator.settings
    settings.minute_limit, settings.day_limit, settings.page_latency = CALLS_A_MINUTE, CALLS_A_DAY, ANSWER_S
    yield world
    world.close()


def test_open_items_arrive_within_two_minutes_and_history_within_the_budget(world: World) -> None:
    linked_at = world.clock.now()
    truth = world.simulator.books.truth()
    owed = {key: item for key, item in truth["items"].items() if Decimal(item["open"])}
    assert len(owed) >= OPEN_ITEMS

    assert first_load(world).outcome == "ok"

    arrived = arrivals(world)
    items = [arrived[key] for key in owed]
    customers = [arrived[item["customer"]] for item in owed.values()]
    assert max(items + customers) - linked_at <= timedelta(minutes=2)
    assert world.differences() == []
    assert not +world.simulator.violations
    assert max(calls_by_minute(world, since=linked_at).values()) <= CALLS_A_MINUTE


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
            await world._deliverer.deliver_once(DESTINATION)
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


def calls_by_minute(world: World, *, since: datetime) -> Counter[str]:
    counted = (
        one for one in world.simulator.requests if one.path.startswith("/api/v1/") and one.at >= since.isoformat()
    )
    return Counter(one.at[:16] for one in counted if not one.path.endswith("/Me"))
