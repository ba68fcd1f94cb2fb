"""Which cycle starts when, ticked by hand; the truth is in the database."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from connector.dispatch import NOT_STARTED_PAUSE, SILENT_S, InProcessDispatcher
from connector.errors import ConfigurationError
from connector.outcome import CycleReport
from connector.store import connections
from connector.store.engine import Store, open_store
from tests.clocks import ManualClock

NAMES = ("ada", "bea", "cor", "dirk", "eva")
MINUTE = timedelta(minutes=1)


@dataclass
class Bench:
    """Linked connections whose cycles end when the test says so."""

    store: Store
    clock: ManualClock = field(default_factory=ManualClock)
    started: list[str] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ends = {name: asyncio.Event() for name in NAMES}
        self.most = 0
        self._at_once = 0
        for waited, name in enumerate(reversed(NAMES)):  # eva has waited least
            linked = connections.register(
                self.store, name=name, package="p", administration=name, destination="d", now=self.clock.now()
            )
            with self.store.write() as connection:
                connections.linked(connection, linked.id, self.clock.now() - waited * MINUTE)

    def dispatcher(self, concurrency: int = 2) -> InProcessDispatcher:
        return InProcessDispatcher(self.store, NAMES, self._run, clock=self.clock, concurrency=concurrency)

    async def _run(self, name: str, stop: asyncio.Event) -> CycleReport:
        self.started.append(name)
        self._at_once += 1
        self.most = max(self.most, self._at_once)
        try:
            if name in self.failing:
                raise self.failing[name]
            await self.ends[name].wait()
        finally:
            self._at_once -= 1
        self.rest(name)
        return CycleReport(connection=name, started_at=self.clock.now())

    def rest(self, *names: str) -> None:
        """What a cycle does at its end: the next one is due later."""
        later = self.clock.now() + 15 * MINUTE
        with self.store.write() as connection:
            connection.execute(
                sa.update(connections.TABLE).where(connections.TABLE.c.name.in_(names)).values(next_due_at=later)
            )

    async def ended(self, dispatcher: InProcessDispatcher, name: str) -> None:
        self.ends[name].set()
        await until(lambda: name not in dispatcher.health()["running"])
        self.ends[name].clear()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nothing to wait for but the loop going round
            await asyncio.sleep(0)


@pytest.fixture
async def bench(sqlite_url: str) -> Any:
    store = open_store(sqlite_url)
    yield Bench(store)
    store.close()


async def tick(dispatcher: InProcessDispatcher) -> None:
    await dispatcher.tick()
    await asyncio.sleep(0)  # what was started begins


async def test_longest_waiting_first_and_never_more_than_fit(bench: Bench) -> None:
    dispatcher = bench.dispatcher(concurrency=2)
    await tick(dispatcher)
    await tick(dispatcher)
    assert bench.started == ["ada", "bea"]
    for name in NAMES:
        bench.ends[name].set()
    while len(bench.started) < len(NAMES):
        await until(lambda: len(dispatcher.health()["running"]) < 2)
        await tick(dispatcher)
    await until(lambda: not dispatcher.health()["running"])
    assert bench.started == list(NAMES)
    assert bench.most == 2
    await tick(dispatcher)
    assert len(bench.started) == len(NAMES), "none is due again"


async def test_a_hundred_requests_are_one_cycle_now_and_one_after_it(bench: Bench) -> None:
    bench.rest(*NAMES)
    dispatcher = bench.dispatcher()
    for _ in range(100):
        dispatcher.submit("ada", reason="webhook")
    await tick(dispatcher)
    await tick(dispatcher)
    assert bench.started == ["ada"]
    for _ in range(100):
        dispatcher.submit("ada", reason="webhook")
        await tick(dispatcher)
    assert bench.started == ["ada"]
    await bench.ended(dispatcher, "ada")
    await tick(dispatcher)
    assert bench.started == ["ada", "ada"]
    await bench.ended(dispatcher, "ada")
    await tick(dispatcher)
    assert bench.started == ["ada", "ada"]
    assert bench.most == 1


async def test_who_is_asked_for_goes_before_who_is_due(bench: Bench) -> None:
    dispatcher = bench.dispatcher(concurrency=1)
    dispatcher.submit("eva", reason="linked")
    await tick(dispatcher)
    assert bench.started == ["eva"]


async def test_one_that_runs_is_not_started_again_though_it_is_still_due(bench: Bench) -> None:
    dispatcher = bench.dispatcher(concurrency=3)
    for _ in range(5):
        await tick(dispatcher)
    assert bench.started == ["ada", "bea", "cor"]


@pytest.mark.parametrize(
    ("error", "outcome"), [(ConfigurationError("no secret"), "stopped"), (ZeroDivisionError("oops"), "bug")]
)
async def test_one_that_cannot_start_is_postponed_and_says_why(bench: Bench, error: Exception, outcome: str) -> None:
    bench.failing["ada"] = error
    dispatcher = bench.dispatcher(concurrency=1)
    await tick(dispatcher)
    await until(lambda: not dispatcher.health()["running"])
    left = connections.find(bench.store, "ada")
    assert (left.outcome, left.reason) == (outcome, str(error))
    assert left.next_due_at == bench.clock.now() + NOT_STARTED_PAUSE
    await tick(dispatcher)
    assert bench.started == ["ada", "bea"], "the others go on"
    assert dispatcher.health()["outcomes"] == {"ada": outcome}


async def test_a_database_that_cannot_be_asked_is_said_once(bench: Bench) -> None:
    dispatcher = bench.dispatcher()
    with bench.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE connection RENAME TO elsewhere")
    with capture_logs() as logs:
        for _ in range(5):
            await tick(dispatcher)
        with bench.store.write() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO connection")
        await tick(dispatcher)
    assert [line["event"] for line in logs] == ["dispatch.failed", "dispatch.recovered"]
    assert bench.started == ["ada", "bea"]


async def test_asked_to_stop_it_starts_nothing_and_waits_for_what_runs(bench: Bench) -> None:
    dispatcher, stop = bench.dispatcher(), asyncio.Event()
    running = asyncio.create_task(dispatcher.run(stop))
    dispatcher.submit("ada", reason="linked")
    await asyncio.sleep(0)
    await tick(dispatcher)
    assert bench.started == ["ada", "bea"]
    stop.set()
    await tick(dispatcher)
    assert not running.done()
    bench.ends["ada"].set()
    bench.ends["bea"].set()
    await running
    assert bench.started == ["ada", "bea"]


async def test_cancelled_it_cancels_what_runs_and_waits_for_that(bench: Bench) -> None:
    dispatcher, stop = bench.dispatcher(), asyncio.Event()
    running = asyncio.create_task(dispatcher.run(stop))
    await asyncio.sleep(0)
    await tick(dispatcher)
    stop.set()
    await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([running])
    assert running.cancelled()
    assert dispatcher.health()["running"] == []


class Slow(Store):
    """A database that is asked and does not answer yet."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.engine)
        self.asked, self.answer = threading.Event(), threading.Event()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        self.asked.set()
        self.answer.wait(10)
        with super().read() as connection:
            yield connection


async def test_asked_to_stop_in_the_middle_of_a_tick_it_lets_that_end(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    slow = bench.store = Slow(bench.store)
    dispatcher, stop = bench.dispatcher(), asyncio.Event()
    running = asyncio.create_task(dispatcher.run(stop))
    await asyncio.to_thread(slow.asked.wait, 10)
    stop.set()
    await asyncio.sleep(0)
    slow.answer.set()
    async with asyncio.timeout(10):
        await running
    assert bench.started == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_without_a_tick_it_is_not_live(bench: Bench) -> None:
    dispatcher = bench.dispatcher()
    await tick(dispatcher)
    bench.clock.advance(SILENT_S - 1)
    assert dispatcher.health()["live"]
    bench.clock.advance(1)
    assert not dispatcher.health()["live"]
    await tick(dispatcher)
    assert dispatcher.health()["live"]
