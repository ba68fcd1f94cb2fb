"""The outbox is bounded: what was delivered is forgotten in time, what was not never is."""

from datetime import timedelta

import sqlalchemy as sa

from connector.store import backlog
from connector.store.engine import Store
from connector.store.tables import AttemptRow, OutboxRow
from tests.memory_engine import Bench


async def test_only_what_was_delivered_long_ago_is_forgotten(store: Store) -> None:
    bench = Bench(store)
    bench.books.customer("c1", "Bakker")
    bench.books.item("i1", "c1", "100.00", "100.00")
    await bench.cycle()
    events, attempts = OutboxRow.__table__, AttemptRow.__table__
    with store.write() as connection:
        connection.execute(sa.update(events).where(events.c.entity == "invoice").values(state="delivered"))
        connection.execute(sa.update(events).where(events.c.entity == "customer").values(state="dead"))
        connection.execute(
            sa.insert(attempts).values(
                destination="backend",
                delivery_id="d",
                started_at=bench.clock.now(),
                duration_ms=1,
                events=1,
                first_event=1,
                last_event=1,
                outcome="answered",
                reason="",
            )
        )
    assert backlog.prune(store, bench.clock.now()) == 0
    assert backlog.prune(store, bench.clock.now() + timedelta(seconds=1)) == 1
    with store.read() as connection:
        left = connection.execute(sa.select(events.c.entity).order_by(events.c.id)).scalars().all()
        assert "invoice" not in left
        assert "customer" in left
        assert connection.execute(sa.select(sa.func.count()).select_from(attempts)).scalar_one() == 0
