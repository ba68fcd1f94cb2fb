"""The outbox: events written together with the change they tell, claimed in an order that nothing overtakes.

The events of one connection and ordering key form a *lane*; the order within it is that of the ids.

* Within a lane nothing is claimed behind an event that waits or is dead.
* Of one entity at most one version is under way, also when its versions lie in different lanes.
* A barrier is claimed only when every earlier event of its connection is delivered or superseded, save for other
  barriers of the same closing, which it may accompany. Meanwhile it holds only later barriers: what a person must know
  does not wait behind it.

One process at a time delivers to a destination (`connector.store.destinations`), so a claim needs no owner.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

from connector.domain.events import cloud_event
from connector.store import bulk
from connector.store.tables import UNDELIVERED, ConnectionRow, DestinationRow, OutboxRow

OUTBOX: sa.Table = OutboxRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
CONNECTION: sa.Table = ConnectionRow.__table__  # type: ignore[attr-defined]
DESTINATION: sa.Table = DestinationRow.__table__  # type: ignore[attr-defined]

CHUNK = 900
HELD = ("waiting", "dead")
INTRODUCING = ("administration", "customer")
"""Entities that others refer to: their first version keeps its place before whatever refers to it."""

_NUMBERED = (
    sa.update(CONNECTION)
    .where(CONNECTION.c.id == sa.bindparam("of"))
    .values(sequence=CONNECTION.c.sequence + sa.bindparam("more"))
    .returning(CONNECTION.c.sequence)
)
_CLAIM = (
    sa.update(DESTINATION)
    .where(DESTINATION.c.name == sa.bindparam("to"), DESTINATION.c.claimed_up_to < sa.bindparam("last"))
    .values(claimed_up_to=sa.bindparam("last"))
)
_CHOSEN = OUTBOX.c.id.in_(sa.bindparam("chosen", expanding=True))
_DELIVERED = (
    sa.update(OUTBOX)
    .where(_CHOSEN)
    .values(
        state="delivered",
        delivered_at=sa.bindparam("at", type_=OUTBOX.c.delivered_at.type),
        due_at=sa.null(),
        reason="",
    )
)

State = Literal["pending", "waiting", "delivered", "dead"]


class NewEvent(Struct, frozen=True, kw_only=True):
    """One change to be told. `data` is the encoded payload, embedded as it stands."""

    type: str
    entity: str
    external_id: str
    entity_version: int
    ordering_key: str
    """`<administration>/<customer>`, or `<administration>` for what concerns all of it; also the partition key."""
    barrier: bool = False
    data: bytes


class Claimed(Struct, frozen=True):
    """An event that is about to be sent."""

    id: int
    connection_id: int
    sequence: int
    event_id: str
    type: str
    entity: str
    external_id: str
    ordering_key: str
    refused: int
    postponed: int
    body: bytes

    @property
    def lane(self) -> tuple[int, str]:
        return self.connection_id, self.ordering_key


class Mark(Struct, frozen=True, kw_only=True):
    """What became of one claimed event."""

    id: int
    state: State
    due_at: datetime | None = None
    refused: int = 0
    postponed: int = 0
    reason: str = ""


def append(
    connection: sa.Connection,
    *,
    connection_id: int,
    destination: str,
    source: str,
    events: Sequence[NewEvent],
    now: datetime,
) -> int:
    """Write events in their order, in the caller's transaction, and return how many.

    Older versions that were never sent are superseded, except a removal (what comes after it is a new life) and the
    first version of an entity that others refer to.
    """
    if not events:
        return 0
    _supersede(connection, connection_id, destination, events)
    last = connection.execute(_NUMBERED, {"of": connection_id, "more": len(events)}).scalar_one()
    bulk.insert(
        connection,
        OUTBOX,
        [
            _values(event, connection_id, destination, source, sequence, now)
            for sequence, event in enumerate(events, start=last - len(events) + 1)
        ],
    )
    return len(events)


def _values(  # noqa: PLR0917 - one call, in a loop
    event: NewEvent, connection_id: int, destination: str, source: str, sequence: int, now: datetime
) -> dict[str, Any]:
    event_id, body = cloud_event(
        source=source,
        sequence=sequence,
        event_type=event.type,
        subject=f"{event.entity}/{event.external_id}",
        partition=event.ordering_key,
        time=now,
        data=event.data,
    )
    return {
        "connection_id": connection_id,
        "destination": destination,
        "sequence": sequence,
        "event_id": event_id,
        "type": event.type,
        "entity": event.entity,
        "external_id": event.external_id,
        "entity_version": event.entity_version,
        "ordering_key": event.ordering_key,
        "barrier": event.barrier,
        "created_at": now,
        "body": body,
        "state": "pending",
        "refused": 0,
        "postponed": 0,
        "reason": "",
    }


def _supersede(connection: sa.Connection, connection_id: int, destination: str, events: Sequence[NewEvent]) -> None:
    """A version 1 has no older version, so a first load costs nothing here."""
    claimed = sa.select(DESTINATION.c.claimed_up_to).where(DESTINATION.c.name == destination).scalar_subquery()
    unsent = [
        OUTBOX.c.connection_id == connection_id,
        OUTBOX.c.destination == destination,
        in_states(OUTBOX, UNDELIVERED),
        OUTBOX.c.state == "pending",
        OUTBOX.c.id > sa.func.coalesce(claimed, 0),
    ]
    superseded = sa.update(OUTBOX).values(state="superseded")
    if types := {event.type for event in events if event.barrier}:
        connection.execute(superseded.where(*unsent, OUTBOX.c.barrier, OUTBOX.c.type.in_(types)))
    changed: dict[str, list[str]] = {}
    for event in events:
        if event.entity_version > 1 and not event.barrier:
            changed.setdefault(event.entity, []).append(event.external_id)
    for entity, ids in changed.items():
        older = [*unsent, OUTBOX.c.entity == entity, OUTBOX.c.type.not_like("%.removed.%")]
        if entity in INTRODUCING:
            older.append(OUTBOX.c.entity_version > 1)
        for chunk in _chunks(ids):
            connection.execute(superseded.where(*older, OUTBOX.c.external_id.in_(chunk)))


def claim(
    connection: sa.Connection, destination: str, limit_events: int, limit_bytes: int, now: datetime
) -> list[Claimed]:
    """The next events to send in one batch, in order; from now on they never change any more.

    At least one event is claimed if any may go, however large it is. An event that was refused before travels alone.
    """
    claimed = list(_choose(connection, destination, limit_events, limit_bytes, now))
    if claimed:
        connection.execute(_CLAIM, {"to": destination, "last": claimed[-1].id})
    return claimed


def any_due(connection: sa.Connection, destination: str, now: datetime) -> bool:
    """Whether a claim would find something."""
    return next(_choose(connection, destination, 1, 0, now), None) is not None


def _choose(
    connection: sa.Connection, destination: str, limit_events: int, limit_bytes: int, now: datetime
) -> Iterator[Claimed]:
    passed: set[tuple[int, str]] = set()
    """Lanes of which an event was left out: nothing behind it may go."""
    barred: set[int] = set()
    """Connections of which a barrier was left out: no later one may go."""
    count = size = 0
    for event, barrier, behind in _candidates(connection, destination, limit_events, now):
        if barrier and (behind or event.connection_id in barred):
            barred.add(event.connection_id)
            continue
        if event.lane in passed:
            continue
        if behind or (event.refused and count):
            passed.add(event.lane)
            continue
        if count and size + len(event.body) > limit_bytes:
            return
        yield event
        count += 1
        size += len(event.body)
        if event.refused or count == limit_events:
            return


def _candidates(
    connection: sa.Connection, destination: str, chunk: int, now: datetime
) -> Iterator[tuple[Claimed, bool, bool]]:
    """What may be sent now as far as its own lane is concerned; the last flag says that another lane holds it back."""
    after = 0
    while True:
        asked = {"to": destination, "after": after, "now": now, "chunk": chunk}
        rows = connection.execute(_eligible(), asked).all()
        for *event, barrier, behind in rows:
            yield Claimed(*event), barrier, behind
        if len(rows) < chunk:
            return
        after = rows[-1].id


@cache
def _eligible() -> sa.Select[Any]:
    """Built once: it is asked for each batch, and building it costs more than asking."""
    held = OUTBOX.alias("held")
    older = OUTBOX.alias("older")
    sibling = OUTBOX.alias("sibling")
    destination = sa.bindparam("to", type_=OUTBOX.c.destination.type)
    now = sa.bindparam("now", type_=OUTBOX.c.due_at.type)
    lane_is_held = sa.exists().where(
        held.c.connection_id == OUTBOX.c.connection_id,
        held.c.ordering_key == OUTBOX.c.ordering_key,
        held.c.id < OUTBOX.c.id,
        in_states(held, HELD),
        held.c.destination == destination,
        sa.or_(held.c.state == "dead", held.c.due_at > now),
    )
    older_of_connection = sa.exists().where(
        older.c.connection_id == OUTBOX.c.connection_id,
        older.c.id < OUTBOX.c.id,
        in_states(older, UNDELIVERED),
        older.c.destination == destination,
        ~older.c.barrier,
    )
    older_of_entity = sa.exists().where(
        sibling.c.connection_id == OUTBOX.c.connection_id,
        sibling.c.entity == OUTBOX.c.entity,
        sibling.c.external_id == OUTBOX.c.external_id,
        sibling.c.id < OUTBOX.c.id,
        in_states(sibling, UNDELIVERED),
        sibling.c.destination == destination,
    )
    behind = sa.or_(older_of_entity, sa.and_(OUTBOX.c.barrier, older_of_connection))
    return (
        sa.select(*(OUTBOX.c[name] for name in Claimed.__struct_fields__), OUTBOX.c.barrier, behind)
        .where(
            OUTBOX.c.destination == destination,
            OUTBOX.c.id > sa.bindparam("after", type_=OUTBOX.c.id.type),
            in_states(OUTBOX, UNDELIVERED),
            sa.or_(OUTBOX.c.state == "pending", sa.and_(OUTBOX.c.state == "waiting", OUTBOX.c.due_at <= now)),
            ~lane_is_held,
        )
        .order_by(OUTBOX.c.id)
        .limit(sa.bindparam("chunk", type_=sa.Integer))
    )


def mark(connection: sa.Connection, marks: Sequence[Mark], now: datetime) -> None:
    """Write down what became of claimed events."""
    for chunk in _chunks([mark.id for mark in marks if mark.state == "delivered"]):
        connection.execute(_DELIVERED, {"chosen": chunk, "at": now})
    if others := [mark for mark in marks if mark.state != "delivered"]:
        connection.execute(
            sa.update(OUTBOX).where(OUTBOX.c.id == sa.bindparam("key")),
            [
                {
                    "key": mark.id,
                    "state": mark.state,
                    "due_at": mark.due_at,
                    "refused": mark.refused,
                    "postponed": mark.postponed,
                    "reason": mark.reason,
                }
                for mark in others
            ],
        )


def in_states(table: sa.FromClause, states: Iterable[str]) -> sa.ColumnElement[bool]:
    """Written out as literals: a partial index serves only a condition the planner can read."""
    return table.c.state.in_([sa.literal_column(f"'{state}'") for state in states])


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
