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
from connector.store.among import among
from connector.store.tables import UNDELIVERED, ConnectionRow, DestinationRow, OutboxRow

OUTBOX: sa.Table = OutboxRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
CONNECTION: sa.Table = ConnectionRow.__table__  # type: ignore[attr-defined]
DESTINATION: sa.Table = DestinationRow.__table__  # type: ignore[attr-defined]

HELD = ("waiting", "dead")
INTRODUCING = ("administration", "customer")
"""Entities that others refer to: their first version keeps its place before whatever refers to it."""


def in_states(table: sa.FromClause, states: Iterable[str]) -> sa.ColumnElement[bool]:
    """Written out as literals: a partial index serves only a condition the planner can read."""
    return table.c.state.in_([sa.literal_column(f"'{state}'") for state in states])


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
_CLAIMED = sa.select(DESTINATION.c.claimed_up_to).where(DESTINATION.c.name == sa.bindparam("to")).scalar_subquery()
_UNSENT = sa.and_(
    OUTBOX.c.connection_id == sa.bindparam("of"),
    OUTBOX.c.destination == sa.bindparam("to"),
    in_states(OUTBOX, UNDELIVERED),
    OUTBOX.c.state == "pending",
    OUTBOX.c.id + sa.literal_column("0") > sa.func.coalesce(_CLAIMED, 0),
)
"""The sum hides the id: SQLite would go through all that is unsent instead of looking up what changed."""
_SUPERSEDED_BARRIERS = (
    sa.update(OUTBOX).where(_UNSENT, OUTBOX.c.barrier, among(OUTBOX.c.type, "types")).values(state="superseded")
)
_SUPERSEDED = (
    sa.update(OUTBOX)
    .where(
        _UNSENT,
        OUTBOX.c.entity == sa.bindparam("of_entity"),
        among(OUTBOX.c.external_id, "ids"),
        OUTBOX.c.type.not_like("%.removed.%"),
        sa.or_(OUTBOX.c.entity.not_in(INTRODUCING), OUTBOX.c.entity_version > 1),
    )
    .values(state="superseded")
)
_DELIVERED = (
    sa.update(OUTBOX)
    .where(among(OUTBOX.c.id, "chosen"))
    .values(
        state="delivered",
        delivered_at=sa.bindparam("at", type_=OUTBOX.c.delivered_at.type),
        due_at=sa.null(),
        reason="",
    )
)

_COLUMNS = (
    "connection_id",
    "destination",
    "sequence",
    "event_id",
    "type",
    "entity",
    "external_id",
    "entity_version",
    "ordering_key",
    "barrier",
    "body",
    "created_at",
    "state",
    "refused",
    "postponed",
    "reason",
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
        _COLUMNS,
        [
            _values(event, connection_id, destination, source, sequence, now)
            for sequence, event in enumerate(events, start=last - len(events) + 1)
        ],
    )
    return len(events)


def _values(  # noqa: PLR0917 - one call, in a loop
    event: NewEvent, connection_id: int, destination: str, source: str, sequence: int, now: datetime
) -> bulk.Row:
    event_id, body = cloud_event(
        source=source,
        sequence=sequence,
        event_type=event.type,
        subject=f"{event.entity}/{event.external_id}",
        partition=event.ordering_key,
        time=now,
        data=event.data,
    )
    return (
        connection_id,
        destination,
        sequence,
        event_id,
        event.type,
        event.entity,
        event.external_id,
        event.entity_version,
        event.ordering_key,
        event.barrier,
        body,
        now,
        "pending",
        0,
        0,
        "",
    )


def _supersede(connection: sa.Connection, connection_id: int, destination: str, events: Sequence[NewEvent]) -> None:
    """A version 1 has no older version, so a first load costs nothing here."""
    mine = {"of": connection_id, "to": destination}
    if types := {event.type for event in events if event.barrier}:
        connection.execute(_SUPERSEDED_BARRIERS, mine | {"types": list(types)})
    changed: dict[str, list[str]] = {}
    for event in events:
        if event.entity_version > 1 and not event.barrier:
            changed.setdefault(event.entity, []).append(event.external_id)
    for entity, ids in changed.items():
        connection.execute(_SUPERSEDED, mine | {"of_entity": entity, "ids": ids})


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
        rows = bulk.select(connection, _eligible(), to=destination, after=after, now=now, chunk=chunk)
        for *event, barrier, behind in rows:
            yield Claimed(*event), barrier, behind
        if len(rows) < chunk:
            return
        after = rows[-1][0]


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
    if delivered := [mark.id for mark in marks if mark.state == "delivered"]:
        connection.execute(_DELIVERED, {"chosen": delivered, "at": now})
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
