"""How far the first load of a connection has come, for whoever waits for it."""

from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

from connector.domain.records import Entity
from connector.store.engine import Store
from connector.store.outbox import OUTBOX, in_states
from connector.store.records import TABLES
from connector.store.tables import UNDELIVERED, ConnectionRow

CONNECTION: sa.Table = ConnectionRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
ENTITIES: tuple[Entity, ...] = ("customer", "invoice", "payment")

Phase = Literal["waiting", "reading", "sending", "done", "paused", "stopped"]
_PASSES = ("throttled", "unavailable", "interrupted")
_NEEDS_SOMEBODY = ("stopped", "needs_reconnect", "bug")


class Part(Struct, frozen=True, kw_only=True):
    """The records of one kind: how many were read, and how many of them the destination has in their newest state."""

    entity: Entity
    read: int
    arrived: int


class Arrival(Struct, frozen=True, kw_only=True):
    """What was read and what has arrived.

    phase: waiting (nothing was begun yet) | reading | sending | done | paused (goes on by itself) |
    stopped (needs somebody).
    """

    phase: Phase
    parts: tuple[Part, ...]

    @property
    def read(self) -> int:
        return sum(part.read for part in self.parts)

    @property
    def arrived(self) -> int:
        return sum(part.arrived for part in self.parts)


def look(store: Store, connection_id: int, since: datetime) -> Arrival:
    """`since` is when it was linked: what became of earlier cycles does not count."""
    with store.read() as connection:
        row = connection.execute(sa.select(CONNECTION).where(CONNECTION.c.id == connection_id)).one()
        queued = connection.execute(
            sa.select(OUTBOX.c.entity, sa.func.count(OUTBOX.c.external_id.distinct()).label("waiting"))
            .where(OUTBOX.c.connection_id == connection_id, in_states(OUTBOX, UNDELIVERED))
            .group_by(OUTBOX.c.entity)
        )
        waiting: dict[str, int] = {row.entity: row.waiting for row in queued}
        parts = tuple(_part(connection, connection_id, entity, waiting.get(entity, 0)) for entity in ENTITIES)
    return Arrival(phase=_phase(row, parts, since), parts=parts)


def _part(connection: sa.Connection, connection_id: int, entity: Entity, waiting: int) -> Part:
    table = TABLES[entity]
    mine = sa.select(sa.func.count()).where(table.c.connection_id == connection_id, ~table.c.removed)
    read = connection.execute(mine).scalar_one()
    return Part(entity=entity, read=read, arrived=max(read - waiting, 0))


def _phase(row: sa.Row[tuple[Any, ...]], parts: tuple[Part, ...], since: datetime) -> Phase:
    if row.last_started_at is None or row.last_started_at <= since:
        return "waiting"
    if row.lease_until is None and row.outcome in _PASSES:
        return "paused"
    if row.lease_until is None and row.outcome in _NEEDS_SOMEBODY:
        return "stopped"
    if not row.initial_done:
        return "reading"
    return "done" if all(part.arrived == part.read for part in parts) else "sending"
