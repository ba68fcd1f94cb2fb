"""A dry run: everything as in a sync, nothing of it stored or sent."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from connector.cycle import Cycle
from connector.outcome import CycleReport
from connector.rehearsal import LARGEST, Rehearsal, rehearse
from connector.store import connections
from connector.store.engine import Store
from connector.store.tables import Base
from tests.clocks import ManualClock
from tests.memory_package import ADMINISTRATION, MemoryAdapter, MemoryBooks, memory_package
from tests.vaults import VAULT

CLOCK = ManualClock()


@pytest.fixture
def books(store: Store) -> MemoryBooks:
    connections.register(
        store, name="acme", package="memory", administration=ADMINISTRATION, destination="backend", now=CLOCK.now()
    )
    books = MemoryBooks()
    books.customer("c1", "Bakker")
    for number in range(1, 21):
        books.item(f"i{number}", "c1", f"{number}.00", f"{number}.00")
    return books


async def sync(store: Store, books: MemoryBooks) -> CycleReport:
    adapter = MemoryAdapter(books)
    mapping: Any = SimpleNamespace(digest="mapping-1")
    cycle = Cycle(
        store=store,
        vault=VAULT,
        clock=CLOCK,
        package=memory_package(adapter),
        adapter=adapter,
        mapping=mapping,
        connection=connections.find(store, "acme"),
        owner="me",
        every=timedelta(minutes=15),
    )
    return await cycle.run()


async def dry(store: Store, books: MemoryBooks) -> Rehearsal:
    return await rehearse(store, connections.find(store, "acme").id, lambda scratch: sync(scratch, books))


def contents(store: Store) -> dict[str, list[Any]]:
    with store.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table)))) for table in Base.metadata.sorted_tables
        }


async def test_it_says_what_a_sync_would_send_and_leaves_everything_as_it_was(store: Store, books: MemoryBooks) -> None:
    before = contents(store)
    rehearsed = await dry(store, books)
    assert contents(store) == before
    assert rehearsed.report.outcome == "ok"
    assert rehearsed.events == {"ar.customer.upserted.v1": 1, "ar.invoice.upserted.v1": 20}
    assert [one.external_id for one in rehearsed.largest] == [f"i{number}" for number in range(20, 20 - LARGEST, -1)]
    assert (rehearsed.largest[0].before, rehearsed.largest[0].after) == (Decimal(0), Decimal("20.00"))


async def test_after_a_sync_only_the_differences_are_left(store: Store, books: MemoryBooks) -> None:
    await sync(store, books)
    assert (await dry(store, books)).events == {}
    books.item("i3", "c1", "3.00", "1.00")
    books.delete("i20")
    rehearsed = await dry(store, books)
    assert rehearsed.events == {"ar.invoice.removed.v1": 1, "ar.invoice.upserted.v1": 1}
    assert {one.external_id: one.after - one.before for one in rehearsed.largest} == {
        "i3": Decimal("-2.00"),
        "i20": Decimal("-20.00"),
    }


async def test_a_lease_that_another_process_holds_is_no_obstacle(store: Store, books: MemoryBooks) -> None:
    linked = connections.find(store, "acme")
    connections.claim(store, linked.id, owner="daemon", now=CLOCK.now(), ttl=timedelta(minutes=2))
    assert (await dry(store, books)).report.outcome == "ok"
