"""SQLite's way of testing: fail the n-th call for n = 1, 2, 3 ... until nothing is left to fail (E5).

One story is told again and again: a first load, a delivery, some bookkeeping, a second cycle, a delivery. Each time
one call further fails, alone or with all that follow it. What was under way may end in any stated way, but never as a
bug; then a fresh process an hour later must bring mirror and books together, with nothing lost, twice or out of order.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from connector.delivery import Deliverer, DeliveryReport
from connector.destinations.webhook import Webhook
from connector.errors import ConnectorError
from connector.receiver import Receiver
from connector.secrets import Secret
from connector.store.engine import Store, open_store
from connector.store.tables import Base
from tests.clocks import ManualClock
from tests.faults.harness import badly_told, outbox
from tests.memory_engine import Bench
from tests.memory_package import MemoryBooks
from tests.servers import serve
from tests.stories.world import HOUR, SECRET, Door

Call = Literal["statement", "commit", "committed"]
"""What fails: a statement; a commit before it is done; the answer to a commit that is done."""
MOST = 2_000
"""More calls than the story makes: the loop ends by itself, or something goes in circles."""
LEAST = 20
"""And fewer would mean that nothing is counted."""
EVERY = {"statement": 19, "commit": 5, "committed": 5}
"""On PostgreSQL every so many calls only."""


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

    def put(self, engine: sa.Engine) -> None:
        driver: Any = engine.dialect
        commit = driver.do_commit

        def fail(*_: Any) -> None:
            self.calls += 1
            if self.calls == self.nth or (self.lasting and self.blown):
                raise driver.dbapi.OperationalError(f"{self.call} {self.nth} fails")

        def fail_commit(connection: Any) -> None:
            if self.call == "commit":
                fail()
            commit(connection)
            if self.call == "committed":
                fail()

        if self.call == "statement":
            for event in ("do_execute", "do_executemany", "do_execute_no_params"):
                sa.event.listen(engine, event, fail)
        driver.do_commit = fail_commit


def some_books() -> MemoryBooks:
    books = MemoryBooks()
    for customer in "AB":
        books.customer(customer, f"Customer {customer}")
    for number in range(1, 6):
        books.item(f"i{number}", "AB"[number % 2], "100.00", "100.00" if number < 4 else "0.00")
    return books


def go_on(books: MemoryBooks) -> None:
    """Paid, partly paid, deleted with and without a word, moved and new."""
    books.item("i1", "B", "100.00", "0.00")
    books.item("i2", "A", "100.00", "25.50")
    books.delete("i3")
    books.delete("i5", logged=False)
    books.item("i4", "B", "100.00", "0.00")
    books.item("i6", "A", "70.00", "70.00")
    books.customer("B", "Customer B, renamed")


@dataclass
class Stage:
    """Where the stories take place: one backend on a socket, one clock."""

    door: Door
    webhook: Webhook
    clock: ManualClock

    async def survives(self, url: str, fuse: Fuse) -> None:
        """Tell the story with the fuse in it; raises when something is not as it must be."""
        receiver = Receiver([SECRET], clock=self.clock)
        self.door.app = receiver.app
        store = open_store(url, migrate=False)
        bench = Bench(store, clock=self.clock, books=some_books())
        fuse.put(store.engine)
        for _ in range(2):
            with contextlib.suppress(ConnectorError):  # the cycle could not even start
                report = await bench.cycle()
                assert report.outcome != "bug", report.error
            with contextlib.suppress(ConnectorError):
                await self._deliver(store)
            go_on(bench.books)
            self.clock.advance(HOUR)
        store.close()

        store = open_store(url, migrate=False)
        bench = Bench(store, clock=self.clock, books=bench.books)
        for _ in range(2):
            report = await bench.cycle()
            assert (report.outcome, report.error) == ("ok", None)
            assert (await self._deliver(store)).ended == "drained"
            self.clock.advance(HOUR)
        assert mirrored(receiver) == true(bench.books)
        assert badly_told(receiver.history, outbox(store)) == []
        store.close()

    async def _deliver(self, store: Store) -> DeliveryReport:
        return await Deliverer(store, {"backend": self.webhook}, self.clock).deliver_once("backend")


def mirrored(receiver: Receiver) -> tuple[Any, Any]:
    mirror = next(iter(receiver.mirror().values()))
    items = {
        key: (one["customer"], Decimal(one["total"]), Decimal(one["open"])) for key, one in mirror["invoices"].items()
    }
    return items, {key: one["name"] for key, one in mirror["customers"].items()}


def true(books: MemoryBooks) -> tuple[Any, Any]:
    return books.items, books.customers


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    door, clock = Door(), ManualClock()
    async with serve(door) as backend:
        webhook = Webhook(f"{backend}/events", [Secret(SECRET)], clock=clock, allow_private=True)
        yield Stage(door, webhook, clock)
        await webhook.close()


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from_then_on"])
@pytest.mark.parametrize("call", ["statement", "commit", "committed"])
async def test_e5_the_nth_call_of_the_database_fails(
    stage: Stage, tmp_path: Path, call: Call, *, lasting: bool
) -> None:
    empty = tmp_path / "empty.db"
    open_store(f"sqlite:///{empty}").close()
    for nth in range(1, MOST):
        fuse = Fuse(call, nth, lasting)
        file = Path(shutil.copy(empty, tmp_path / f"{nth}.db"))
        await stage.survives(f"sqlite:///{file}", fuse)
        file.unlink()
        if not fuse.blown:
            break
    assert LEAST < nth < MOST


@pytest.mark.parametrize("call", ["statement", "commit", "committed"])
async def test_e5_every_so_manieth_call_of_postgres_fails(stage: Stage, postgres_url: str, call: Call) -> None:
    open_store(postgres_url).close()
    for nth in range(1, MOST, EVERY[call]):
        fuse = Fuse(call, nth, lasting=False)
        empty(postgres_url)
        await stage.survives(postgres_url, fuse)
        if not fuse.blown:
            break
    assert LEAST < nth < MOST


def empty(url: str) -> None:
    store = open_store(url, migrate=False)
    with store.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    store.close()
