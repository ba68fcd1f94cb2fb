"""Sending everything again: for a destination that lost its data, and after our own restore."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa

from connector.resend import AFTER_RESTORE, Resend
from connector.store import connections
from connector.store.engine import Store
from connector.store.tables import OutboxRow
from tests.memory_engine import Bench

TTL = timedelta(minutes=2)


@pytest.fixture
def bench(store: Store) -> Iterator[Bench]:
    bench = Bench(store)
    bench.books.customer("c1", "Bakker")
    for number in range(4):
        bench.books.item(f"i{number}", "c1", "100.00", "100.00")
    return bench


def resend(bench: Bench, *, raise_by: int = 0) -> int:
    now = bench.clock.now()
    lease = connections.claim(bench.store, 1, owner="me", now=now, ttl=TTL)
    linked = connections.find(bench.store, "acme")
    count = Resend(
        store=bench.store, clock=bench.clock, lease=lease, lease_ttl=TTL, connection=linked, run_id="again"
    ).run(raise_by=raise_by)
    connections.finish(bench.store, lease, now=now, next_due_at=now, outcome="ok", reason="", succeeded=True)
    return count


def bodies(bench: Bench) -> list[dict[str, object]]:
    table = OutboxRow.__table__
    with bench.store.read() as connection:
        return [
            msgspec.json.decode(body)
            for body in connection.execute(sa.select(table.c.body).order_by(table.c.id)).scalars()
        ]


async def test_everything_is_written_again_with_the_same_versions_and_bytes(bench: Bench) -> None:
    await bench.cycle()
    bench.books.delete("i3")
    await bench.cycle()
    before = {event["subject"]: event["data"] for event in bodies(bench) if event["data"]["meta"]["op"] != "signalled"}
    seen = len(bodies(bench))
    assert resend(bench) == 5
    again = {event["subject"]: event["data"] for event in bodies(bench)[seen:]}
    assert again.keys() == before.keys()
    for subject, data in again.items():
        assert data["record"] == before[subject]["record"]
        assert data["meta"]["entity_version"] == before[subject]["meta"]["entity_version"]
        assert data["meta"]["op"] == before[subject]["meta"]["op"]
        assert data["meta"]["origin"] == "resync"


async def test_after_a_restore_every_version_and_number_is_above_what_was_ever_sent(bench: Bench) -> None:
    await bench.cycle()
    first = bodies(bench)
    assert resend(bench, raise_by=AFTER_RESTORE) == 5
    second = bodies(bench)[len(first) :]
    assert min(event["data"]["meta"]["entity_version"] for event in second) > AFTER_RESTORE
    assert min(event["sequence"] for event in second) > max(event["sequence"] for event in first)
    bench.books.item("i1", "c1", "100.00", "40.00")
    await bench.cycle()
    assert bench.invoices()["i1"] == (4000, AFTER_RESTORE + 2, False)
