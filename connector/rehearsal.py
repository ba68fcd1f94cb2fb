"""A dry run: the same cycle on a copy of the connection, and what it would have sent."""

import heapq
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec
import sqlalchemy as sa

from connector.domain.records import ENTITIES
from connector.outcome import CycleReport
from connector.store import records
from connector.store.engine import Store, open_store
from connector.store.outbox import OUTBOX
from connector.store.records import Stored
from connector.store.tables import Base

COPIED = (
    "connection",
    "feed",
    "row",
    "record_group",
    "administration",
    "customer",
    "invoice",
    "settlement",
    "payment",
    "quarantine",
)
CHUNK = 1000
LARGEST = 10


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An invoice whose open amount would change at the destination."""

    external_id: str
    number: str | None
    currency: str
    before: Decimal
    after: Decimal

    @property
    def size(self) -> Decimal:
        return abs(self.after - self.before)


@dataclass(kw_only=True)
class Rehearsal:
    """What a sync would do."""

    report: CycleReport
    events: dict[str, int] = field(default_factory=dict)
    """Type of record event -> how many would be sent."""
    largest: list[Difference] = field(default_factory=list)
    """The largest changes of an open amount."""


async def rehearse(store: Store, connection_id: int, run: Callable[[Store], Awaitable[CycleReport]]) -> Rehearsal:
    """Run a cycle on a scratch copy; the database itself stays as it is, except for tokens and the call budget."""
    with tempfile.TemporaryDirectory(prefix="connector-") as folder:
        scratch = open_store(f"sqlite:///{Path(folder) / 'rehearsal.db'}")
        try:
            copy(store, scratch, connection_id)
            rehearsal = Rehearsal(report=await run(scratch))
            _summarise(store, scratch, connection_id, rehearsal)
            return rehearsal
        finally:
            scratch.close()


def copy(source: Store, target: Store, connection_id: int) -> None:
    """Copy one connection with its rows and records; its lease is not copied."""
    with source.read() as reading, target.write() as writing:
        for name in COPIED:
            table = Base.metadata.tables[name]
            column = table.c.id if name == "connection" else table.c.connection_id
            for rows in reading.execute(sa.select(table).where(column == connection_id)).mappings().partitions(CHUNK):
                writing.execute(sa.insert(table), [dict(row) for row in rows])
        connections = Base.metadata.tables["connection"]
        writing.execute(sa.update(connections).values(lease_owner=None, lease_until=None))


def _summarise(store: Store, scratch: Store, connection_id: int, rehearsal: Rehearsal) -> None:
    """Of several versions of a record the last one counts: the others would never have left the outbox."""
    last = sa.select(sa.func.max(OUTBOX.c.id)).where(OUTBOX.c.entity.in_(ENTITIES))
    last = last.group_by(OUTBOX.c.entity, OUTBOX.c.external_id)
    counted = (
        sa.select(OUTBOX.c.type, sa.func.count().label("events")).where(OUTBOX.c.id.in_(last)).group_by(OUTBOX.c.type)
    )
    bodies = sa.select(OUTBOX.c.external_id, OUTBOX.c.body).where(OUTBOX.c.entity == "invoice", OUTBOX.c.id.in_(last))
    with scratch.read() as written, store.read() as reading:
        rehearsal.events = {row.type: row.events for row in written.execute(counted)}
        for rows in written.execute(bodies).partitions(CHUNK):
            before = records.by_id(reading, connection_id, "invoice", [row.external_id for row in rows])
            found = [_difference(row.external_id, before.get(row.external_id), row.body) for row in rows]
            rehearsal.largest = heapq.nlargest(LARGEST, [*rehearsal.largest, *found], key=lambda one: one.size)
    rehearsal.largest = [one for one in rehearsal.largest if one.size]


def _difference(external_id: str, before: Stored | None, body: bytes) -> Difference:
    data = msgspec.json.decode(body)["data"]
    record, removed = data["record"], data["meta"]["op"] == "removed"
    known = before is not None and not before.removed
    return Difference(
        external_id=external_id,
        number=record.get("number"),
        currency=record["currency"],
        before=Decimal(msgspec.json.decode(before.record)["open"]) if before and known else Decimal(0),
        after=Decimal(0) if removed else Decimal(record["open"]),
    )
