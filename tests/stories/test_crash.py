"""Real processes that are killed or frozen in the middle of their work, and what the next one makes of it.

A gate holds the answer to a chosen request, so that the process is known to be right there: nothing waits on a timer.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connector.clock import SystemClock
from connector.errors import ExitCode
from connector.store import feeds
from connector.store.tables import Base
from tests.stories.order import broken
from tests.stories.packages import EXACTONLINE, SNELSTART, Simulated
from tests.stories.world import Door, Town, World

PATIENCE_S = 60.0
TABLES = Base.metadata.tables


class FirstLoad(NamedTuple):
    """What a test has to know of a package's first load to end a process in the middle of it."""

    package: Simulated
    customers: int
    invoices: int
    """Enough for two pages of what `path` lists."""
    path: str
    feed: str
    """The one that reads it."""
    second_page: int
    """Which request to `path` asks for it."""
    again: int
    """Which of them comes again at first: where nothing keeps pages in place, it begins anew."""


FIRST_LOADS = (
    FirstLoad(EXACTONLINE, 20, 250, "/sync/Financial/TransactionLines", "lines", second_page=2, again=2),
    FirstLoad(SNELSTART, 20, 520, "/verkoopfacturen", "invoices", second_page=3, again=2),
)
ONLY_EXACTONLINE = FIRST_LOADS[:1]


class Gate:
    """Holds back the answer to the n-th request of a path."""

    def __init__(self, door: Door, path: str, nth: int) -> None:
        assert door.app is not None
        self._app: ASGIApp = door.app
        self._path = path
        self._left = nth
        self._reached, self._open = asyncio.Event(), asyncio.Event()
        door.app = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._left -= scope["path"].endswith(self._path)
        holding = self._left == 0
        self._left -= holding

        async def hold(message: Message) -> None:
            if holding and message["type"] == "http.response.start":
                self._reached.set()
                await self._open.wait()
            await send(message)

        with contextlib.suppress(ConnectionError):
            await self._app(scope, receive, hold)

    async def reached(self, process: asyncio.subprocess.Process) -> None:
        """Wait until the process asked for that; one that ended instead has something to say."""
        waits = [asyncio.ensure_future(wait) for wait in (self._reached.wait(), process.wait())]
        await asyncio.wait(waits, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not self._reached.is_set():
            process.kill()
            pytest.fail(f"the request was never made: {(await process.communicate())[0].decode()}")

    def open(self) -> None:
        self._open.set()


class Program:
    """Starts the program on a world's configuration; whatever still runs at the end is killed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._command = [str(Path(sys.executable).with_name("connector"))]
        self._options = ["--config", str(world.settings.file)]
        self._environ = os.environ | world.environ
        self._started: list[asyncio.subprocess.Process] = []

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *command,
            *self._options,
            env=self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._started.append(process)
        return process

    async def sync(self) -> tuple[int | None, str]:
        """A whole `connector sync`: its exit code and what it printed."""
        return await ended(await self.start("sync"))

    def let_leases_lapse(self) -> None:
        """As if the time since had been long enough."""
        past = datetime(2020, 1, 1, tzinfo=UTC)
        with self.world.store.write() as connection:
            for name in ("connection", "destination"):
                connection.execute(sa.update(TABLES[name]).values(lease_until=past))

    async def end(self) -> None:
        for process in self._started:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@contextlib.asynccontextmanager
async def programs(world: World) -> AsyncIterator[Program]:
    program = Program(world)
    try:
        yield program
    finally:
        await program.end()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.communicate()
    assert process.returncode == -signal.SIGKILL


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nobody tells us what another process has come to
            await asyncio.sleep(0.02)


def stored(world: World) -> dict[str, list[tuple[object, ...]]]:
    """Everything a cycle writes, except who holds the lease."""
    names = ("row", "feed", "record_group", "invoice", "payment", "customer", "outbox")
    with world.store.read() as connection:
        return {
            name: [
                tuple(row) for row in connection.execute(sa.select(TABLES[name]).order_by(*TABLES[name].primary_key))
            ]
            for name in names
        }


def assert_equal_and_in_order(world: World) -> None:
    assert world.differences() == []
    assert broken(world.receiver.history) == []


@pytest.fixture(params=FIRST_LOADS, ids=lambda load: load.package.name)
def load(request: pytest.FixtureRequest) -> FirstLoad:
    load: FirstLoad = request.param
    return load


@pytest.fixture
def world(town: Town, store_url: str, load: FirstLoad) -> Iterator[World]:
    world = World(
        town,
        store_url,
        seed=5,
        customers=load.customers,
        invoices=load.invoices,
        clock=SystemClock(),
        package=load.package,
    )
    yield world
    world.close()


def asked(world: World, path: str, since: int = 0) -> list[str]:
    """The queries of the requests for a path, without those before."""
    return [one.query for one in list(world.simulator.requests)[since:] if one.path.endswith(path)]


def test_killed_in_a_first_load_it_goes_on_at_the_same_page(world: World, load: FirstLoad) -> None:
    async def story() -> None:
        gate = Gate(world.town.package, load.path, load.second_page)
        async with programs(world) as program:
            first = await program.start("sync")
            await gate.reached(first)
            before = len(world.simulator.requests)

            code, words = await program.sync()
            assert (code, "another process is syncing" in words) == (ExitCode.UNAVAILABLE, True), words
            assert len(world.simulator.requests) == before, "the second process asked while the first was at work"

            await kill(first)
            gate.open()
            with world.store.read() as connection:
                cut_off = feeds.states(connection, 1)[load.feed]
            assert cut_off.rows, "its first page is stored"
            assert cut_off.completed_at is None
            program.let_leases_lapse()
            code, words = await program.sync()
            assert code == ExitCode.DONE, words
            again = asked(world, load.path)[load.again - 1]
            assert asked(world, load.path, before)[0] == again, "the page that was cut off, or the first of its feed"
        assert_equal_and_in_order(world)

    world.town.run(story())


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_killed_in_a_delivery_it_sends_the_same_again(world: World) -> None:
    async def story() -> None:
        gate = Gate(world.town.backend, "/events", nth=3)
        async with programs(world) as program:
            first = await program.start("run")
            await gate.reached(first)
            await kill(first)
            gate.open()
            cut_off = world.receiver.history[-1]
            program.let_leases_lapse()
            second = await program.start("run")
            await until(lambda: len(world.receiver.history) > 3 and not world.differences())
            second.send_signal(signal.SIGTERM)
            code, words = await ended(second)
            assert code == ExitCode.DONE, words

        again = world.receiver.history[3]
        taken = {event.id: event.digest for event in cut_off.events if event.verdict == "accepted"}
        assert taken
        assert {event.id: event.digest for event in again.events if event.verdict == "duplicate"} == taken
        accepted = [event.id for delivery in world.receiver.history for event in delivery.events
                    if event.verdict == "accepted"]  # fmt: skip
        assert len(accepted) == len(set(accepted))
        assert_equal_and_in_order(world)

    world.town.run(story())


@pytest.mark.parametrize("load", ONLY_EXACTONLINE, indirect=True, ids=["exactonline"])
def test_frozen_and_thawed_after_another_finished_it_commits_nothing(world: World, load: FirstLoad) -> None:
    async def story() -> None:
        gate = Gate(world.town.package, load.path, load.second_page)
        async with programs(world) as program:
            first = await program.start("sync", "--no-deliver")
            # It waits for that answer and does nothing else: frozen inside a write it would keep SQLite locked.
            await gate.reached(first)
            first.send_signal(signal.SIGSTOP)
            program.let_leases_lapse()
            code, words = await program.sync()
            assert code == ExitCode.DONE, words
            after_second = stored(world)

            gate.open()
            first.send_signal(signal.SIGCONT)
            code, words = await ended(first)
            assert (code, "took over" in words) == (ExitCode.UNAVAILABLE, True), words
            assert stored(world) == after_second
        assert_equal_and_in_order(world)

    world.town.run(story())
