"""Group A of the fault catalogue: the dispatcher, its slots and strange clocks.

A5 is in `tests/connector/test_dispatch.py`: a hundred requests are one cycle now and one after it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from connector.adapter import CallLimits
from connector.budget import CallBudget
from connector.dispatch import InProcessDispatcher
from connector.errors import SourceDown, Throttled
from connector.outcome import CycleReport
from connector.store import connections
from connector.store.engine import Store, open_store
from tests.clocks import ManualClock
from tests.memory_engine import Bench
from tests.memory_package import MemoryBooks

NAMES = [f"client-{number}" for number in range(10)]
EVERY = timedelta(minutes=15)
HOUR = timedelta(hours=1)
MINUTE_S, HOUR_S = 60.0, 3600.0


class Restless(ManualClock):
    """A wall clock that somebody sets; the monotonic one knows nothing of it."""

    def set_forward(self, by: timedelta) -> None:
        self._now += by


class Fleet:
    """Many connections, whose cycles do what a cycle does to the schedule and end at once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Restless()
        self.cycles: Counter[str] = Counter()
        self.most_at_once = 0
        self.throttled: dict[str, datetime] = {}
        self._at_once = 0
        for name in NAMES:
            linked = connections.register(
                store, name=name, package="p", administration=name, destination="d", now=self.clock.now()
            )
            with store.write() as connection:
                connections.linked(connection, linked.id, self.clock.now())
        self.dispatcher = InProcessDispatcher(store, NAMES, self.cycle, clock=self.clock, concurrency=3)

    async def cycle(self, name: str, stop: asyncio.Event) -> CycleReport:
        del stop
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        now = self.clock.now()
        lease = connections.claim(
            self.store, connections.find(self.store, name).id, owner="fleet", now=now, ttl=timedelta(minutes=2)
        )
        await asyncio.sleep(0)
        self.cycles[name] += 1
        until = self.throttled.get(name)
        connections.finish(
            self.store,
            lease,
            now=now,
            next_due_at=until or now + EVERY,
            outcome="throttled" if until else "ok",
            reason="",
            succeeded=until is None,
        )
        self._at_once -= 1
        return CycleReport(connection=name, started_at=now, outcome="throttled" if until else "ok")

    async def settle(self) -> Counter[str]:
        """Tick until nothing more starts; how often each had its turn."""
        before = self.cycles.copy()
        seen = -1
        while seen != self.cycles.total():
            seen = self.cycles.total()
            await self.dispatcher.tick()
            async with asyncio.timeout(10):
                while self.dispatcher.health()["running"]:  # noqa: ASYNC110 - only the loop has to go round
                    await asyncio.sleep(0)
        return self.cycles - before


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with contextlib.closing(open_store(sqlite_url)) as store:
        yield store


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store)


async def test_a6_a_failure_with_another_request_waiting_leaves_nothing_stuck(fleet: Fleet) -> None:
    await fleet.settle()
    began, fails = asyncio.Event(), asyncio.Event()

    async def failing(name: str, stop: asyncio.Event) -> CycleReport:
        began.set()
        await fails.wait()
        if fleet.cycles["failed"] == 0:
            fleet.cycles["failed"] += 1
            raise SourceDown("gone")
        return await fleet.cycle(name, stop)

    dispatcher = InProcessDispatcher(fleet.store, NAMES, failing, clock=fleet.clock, concurrency=3)
    dispatcher.submit(NAMES[0], reason="first")
    await dispatcher.tick()
    await began.wait()
    dispatcher.submit(NAMES[0], reason="second")
    fails.set()
    before = fleet.cycles[NAMES[0]]
    fleet.dispatcher = dispatcher
    await fleet.settle()
    assert fleet.cycles[NAMES[0]] == before + 1
    fleet.clock.advance(HOUR_S)
    assert (await fleet.settle())[NAMES[0]] == 1


async def test_a10_a_clock_that_jumps_there_and_back_costs_one_cycle_more_and_misses_none(fleet: Fleet) -> None:
    everyone = Counter(NAMES)
    assert await fleet.settle() == everyone
    fleet.clock.set_forward(2 * HOUR)
    assert await fleet.settle() == everyone
    fleet.clock.set_forward(-2 * HOUR)
    assert await fleet.settle() <= everyone
    fleet.clock.advance(EVERY.total_seconds())
    assert await fleet.settle() == everyone


async def test_a10_a_lease_is_not_stolen_by_a_clock_that_is_a_little_ahead(store: Store) -> None:
    """Up to the lease's two minutes; beyond that the fence decides (A9)."""
    bench = Bench(store)
    linked = connections.find(store, "acme")
    connections.claim(store, linked.id, owner="other", now=bench.clock.now(), ttl=timedelta(minutes=2))
    bench.clock.advance(119)
    report = await bench.cycle()
    assert (report.outcome, bench.adapter.read_from) == ("unavailable", [])


async def test_a10_cursors_and_versions_do_not_care_for_the_clock(store: Store) -> None:
    clock = Restless()
    books = MemoryBooks()
    books.customer("A", "Customer A")
    books.item("i1", "A", "100.00", "100.00")
    bench = Bench(store, clock=clock, books=books)
    versions = []
    for jump, open_ in ((2 * HOUR, "75.00"), (-2 * HOUR, "50.00"), (-2 * HOUR, "25.00")):
        clock.set_forward(jump)
        books.item("i1", "A", "100.00", open_)
        report = await bench.cycle()
        assert (report.outcome, report.error) == ("ok", None)
        versions.append(bench.invoices()["i1"][:2])
    assert versions == [(7500, 1), (5000, 2), (2500, 3)]


async def test_a12_a_third_throttled_for_an_hour_does_not_starve_the_others(fleet: Fleet) -> None:
    fleet.throttled = dict.fromkeys(NAMES[:3], fleet.clock.now() + HOUR)
    total: Counter[str] = Counter()
    for _ in range(59):
        total += await fleet.settle()
        fleet.clock.advance(MINUTE_S)
    assert {total[name] for name in NAMES[:3]} == {1}, "nobody asks before the time that was named"
    assert {total[name] for name in NAMES[3:]} == {4}, "every quarter of an hour"


async def test_a12_waiting_for_the_next_minute_does_not_take_a_slot_for_long(store: Store) -> None:
    """A call limit is waited for within a cycle for two minutes at most; then the cycle ends and its slot is free."""
    clock = ManualClock()
    budget = CallBudget(store, clock, app="a", administration="b", limits=CallLimits(per_minute=10, per_day=30))
    began = clock.monotonic()

    async def call() -> None:
        for _ in range(1_000):
            await budget.acquire()

    with pytest.raises(Throttled):
        await call()
    assert clock.monotonic() - began <= 3 * MINUTE_S


async def test_a13_after_eight_hours_of_sleep_everyone_has_one_turn_and_not_at_once(fleet: Fleet) -> None:
    await fleet.settle()
    fleet.clock.advance(8 * HOUR_S)
    assert await fleet.settle() == Counter(NAMES)
    assert fleet.most_at_once <= 3
    assert await fleet.settle() == Counter()
