"""SQLite's way of testing: fail the n-th call for n = 1, 2, 3 ... until nothing is left to fail (E5).

A cycle and a delivery are run again and again from the same state, the first load and a later one with changes. Each
time one call further fails, alone or with all that follow it. What was under way may end in any stated way, but never
as a bug; an hour later, after more bookkeeping, one cycle on fresh connections must bring mirror and books together,
with nothing lost, twice or out of order.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NoReturn

import hypothesis
import psycopg
import pytest
import sqlalchemy as sa
import structlog

from connector.delivery import Deliverer, DeliveryReport
from connector.destinations.webhook import Webhook
from connector.errors import ConnectorError
from connector.receiver import Receiver
from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.tables import Base
from tests.clocks import ManualClock
from tests.faults.harness import badly_told, outbox
from tests.memory_engine import Bench
from tests.memory_package import MemoryBooks
from tests.servers import serve
from tests.stories.world import HOUR, SECRET, Door

Call = Literal["statement", "commit", "committed", "severed"]
"""What fails: a statement; a commit before it is done; the answer to a commit that is done; the connection in it."""
MOST = 2_000
"""More calls than the story makes: the loop ends by itself, or something goes in circles."""
LEAST = 15
"""Fewer would mean that nothing is counted."""
STEPS = {"statement": 7, "commit": 2, "committed": 2, "severed": 5}
"""Only every so many calls fail, except nightly; on PostgreSQL fewer still."""
SELDOM = 4
QUICK = hypothesis.settings.get_profile("quick").max_examples
STATEMENTS = ("do_execute", "do_executemany", "do_execute_no_params")


@dataclass
class Fuse:
    """Fails the n-th call of a kind, alone or with all that follow."""

    call: Call
    nth: int
    lasting: bool
    calls: int = 0

    @property
    def blown(self) -> bool:
        return self.calls >= self.nth

    @contextlib.contextmanager
    def put(self, engine: sa.Engine) -> Iterator[None]:
        driver: Any = engine.dialect
        commit = driver.do_commit
        events = STATEMENTS if self.call == "statement" else ()

        def fail(*_: Any) -> None:
            if self._due():
                raise driver.dbapi.OperationalError(f"{self.call} {self.nth} fails")

        def fail_commit(connection: Any) -> None:
            if self.call == "commit":
                fail()
            if self.call == "severed" and self._due():
                sever(connection.driver_connection)
            commit(connection)
            if self.call == "committed":
                fail()

        for event in events:
            sa.event.listen(engine, event, fail)
        driver.do_commit = fail_commit
        yield
        for event in events:
            sa.event.remove(engine, event, fail)
        driver.do_commit = commit
        engine.dispose()

    def _due(self) -> bool:
        self.calls += 1
        return self.calls == self.nth or (self.lasting and self.blown)


def sever(connection: psycopg.Connection) -> None:
    """The server ends the session that is about to commit, and is gone before the answer."""
    with psycopg.connect(connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])


def some_books() -> MemoryBooks:
    books = MemoryBooks()
    for customer in "AB":
        books.customer(customer, f"Customer {customer}")
    for number in range(1, 6):
        books.item(f"i{number}", "AB"[number % 2], "100.00", "0.00" if number == 4 else "100.00")
    return books


def book(books: MemoryBooks) -> None:
    """Paid, partly paid, deleted with and without a word, moved to another customer, new."""
    books.item("i1", "B", "100.00", "0.00")
    books.item("i2", "A", "100.00", "25.50")
    books.delete("i3")
    books.item("i4", "B", "100.00", "0.00")
    books.delete("i5", logged=False)
    books.item("i6", "A", "70.00", "70.00")
    books.customer("B", "Customer B, renamed")


def book_more(books: MemoryBooks) -> None:
    """Nothing for customer B: what was lost of it would stay lost."""
    books.item("i2", "A", "100.00", "0.00")
    books.item("i7", "A", "12.10", "12.10")


class Stage:
    """One database, one backend on a socket, one clock. `keep` what is now, and every `again` goes on from there."""

    def __init__(self, store: Store, door: Door, backend: str) -> None:
        self.store = store
        self.clock = ManualClock()
        self.webhook = Webhook(f"{backend}/events", [Secret(SECRET)], clock=self.clock, allow_private=True)
        self._door = door
        self._kept = self._receiver, self._books = Receiver([SECRET], clock=self.clock), some_books()
        door.app = self._receiver.app
        self._rows = self._everything()

    async def survives(self, fuse: Fuse, *, later: bool) -> None:
        """A cycle and a delivery with the fuse in them, and what must be true of the next ones."""
        self._again()
        if later:
            book(self._books)
        with fuse.put(self.store.engine):
            with contextlib.suppress(ConnectorError):  # the cycle could not even start
                report = await self._bench().cycle()
                assert report.outcome != "bug", report.error
            with contextlib.suppress(ConnectorError):
                await self._deliver()
        self.clock.advance(HOUR)
        book_more(self._books)
        await self.goes_well()
        self.clock.advance(HOUR)

    async def goes_well(self) -> None:
        report = await self._bench().cycle()
        assert (report.outcome, report.error) == ("ok", None)
        assert (await self._deliver()).ended == "drained"
        assert mirrored(self._receiver) == (self._books.items, self._books.customers)
        assert badly_told(self._receiver.history, outbox(self.store)) == []

    def keep(self) -> None:
        self._kept = copy(self._receiver), deepcopy(self._books)
        self._rows = self._everything()

    def _again(self) -> None:
        receiver, books = self._kept
        self._receiver, self._books = copy(receiver), deepcopy(books)
        self._door.app = self._receiver.app
        with self.store.write() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
            for table in Base.metadata.sorted_tables:
                if rows := self._rows[table.name]:
                    connection.execute(table.insert(), rows)

    def _everything(self) -> dict[str, list[dict[str, Any]]]:
        with self.store.read() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in Base.metadata.sorted_tables
            }

    def _bench(self) -> Bench:
        return Bench(self.store, clock=self.clock, books=self._books)

    async def _deliver(self) -> DeliveryReport:
        return await Deliverer(self.store, {"backend": self.webhook}, self.clock).deliver_once("backend")


def copy(receiver: Receiver) -> Receiver:
    """Another one that holds the same."""
    same = Receiver([SECRET], clock=receiver.clock)
    kept = {name: deepcopy(value) for name, value in vars(receiver).items() if name not in {"app", "clock", "keys"}}
    vars(same).update(kept)
    return same


def mirrored(receiver: Receiver) -> tuple[Any, Any]:
    mirror = next(iter(receiver.mirror().values()))
    items = {
        key: (one["customer"], Decimal(one["total"]), Decimal(one["open"])) for key, one in mirror["invoices"].items()
    }
    return items, {key: one["name"] for key, one in mirror["customers"].items()}


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    """On each database in turn, quiet, and without waiting for the disk: nobody cuts the power here."""
    if store.is_sqlite:
        sa.event.listen(store.engine, "connect", lambda driver, _: driver.execute("PRAGMA synchronous=OFF"))
        store.engine.dispose()
    loud = structlog.get_config()
    structlog.configure(processors=[_unsaid])
    door = Door()
    async with serve(door) as backend:
        stage = Stage(store, door, backend)
        yield stage
        await stage.webhook.close()
    structlog.configure(**loud)


def _unsaid(*_: object) -> NoReturn:
    raise structlog.DropEvent


@pytest.mark.parametrize("later", [False, True], ids=["first_load", "later_cycle"])
@pytest.mark.parametrize(
    ("call", "lasting"),
    [("statement", False), ("commit", False), ("commit", True), ("committed", False)],
    ids=["statement", "commit", "every_commit_from", "answer_to_a_commit"],
)
async def test_e5_the_nth_call_of_the_database_fails(stage: Stage, call: Call, *, lasting: bool, later: bool) -> None:
    step = STEPS[call] if stage.store.is_sqlite else STEPS[call] * SELDOM
    await each(stage, call, step, lasting=lasting, later=later)


async def test_e6_the_connection_is_lost_in_the_nth_commit(stage: Stage) -> None:
    if stage.store.is_sqlite:
        pytest.skip("a file is not lost on the way")
    await each(stage, "severed", STEPS["severed"])


async def each(stage: Stage, call: Call, step: int, *, lasting: bool = False, later: bool = False) -> None:
    if hypothesis.settings().max_examples > QUICK:
        step = 1
    if later:
        await stage.goes_well()
        stage.keep()
    for nth in range(1, MOST, step):
        fuse = Fuse(call, nth, lasting)
        await stage.survives(fuse, later=later)
        if not fuse.blown:
            break
    assert LEAST < nth < MOST
