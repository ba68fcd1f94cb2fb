"""A dry run: the same cycle on a copy of the connection, and what it would have sent."""

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from connector.outcome import CycleReport
from connector.store.engine import Store, open_store
from connector.store.tables import Base, OutboxRow

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


@dataclass(kw_only=True)
class Rehearsal:
    """What a sync would do."""

    report: CycleReport
    events: dict[str, int] = field(default_factory=dict)
    """Event type -> how many would be sent."""
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
    outbox: sa.Table = OutboxRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
    invoices = Base.metadata.tables["invoice"]
    with scratch.read() as writing, store.read() as reading:
        counted = writing.execute(sa.select(outbox.c.type, sa.func.count()).group_by(outbox.c.type))
        rehearsal.events = {kind: count for kind, count in counted if not kind.startswith("ar.sync.")}
        changed = writing.execute(
            sa.select(outbox.c.external_id, outbox.c.body).where(outbox.c.entity == "invoice").order_by(outbox.c.id)
        ).all()
        differences: dict[str, Difference] = {}
        for external_id, body in changed:
            before = reading.execute(
                sa.select(invoices.c.record, invoices.c.removed).where(
                    invoices.c.connection_id == connection_id, invoices.c.external_id == external_id
                )
            ).first()
            difference = _difference(external_id, before, msgspec.json.decode(body))
            if difference.before != difference.after:
                differences[external_id] = difference
    rehearsal.largest = sorted(differences.values(), key=lambda one: -abs(one.after - one.before))[:LARGEST]


def _difference(external_id: str, before: Any, event: dict[str, Any]) -> Difference:
    record = event["data"]["record"]
    removed = event["data"]["meta"]["op"] == "removed"
    old = Decimal(0) if before is None or before.removed else Decimal(msgspec.json.decode(before.record)["open"])
    return Difference(
        external_id=external_id,
        number=record.get("number"),
        currency=record["currency"],
        before=old,
        after=Decimal(0) if removed else Decimal(record["open"]),
    )
