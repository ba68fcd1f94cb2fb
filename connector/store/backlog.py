"""The outbox as a person sees it: what waits, what is dead, and sending again."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from msgspec import Struct

from connector.store.engine import Store
from connector.store.outbox import OUTBOX, in_states
from connector.store.tables import UNDELIVERED, AttemptRow

ATTEMPTS: sa.Table = AttemptRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
PORTION = 5000


class Selection(Struct, frozen=True, kw_only=True):
    """Which events are meant: those to which everything that is given applies."""

    event_ids: Sequence[str] = ()
    connection_id: int | None = None
    destination: str | None = None
    entity: str | None = None
    external_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Written at or after `since` and before `until`."""
    dead_only: bool = False

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        equal = ("connection_id", "destination", "entity", "external_id")
        found = [OUTBOX.c[name] == value for name in equal for value in [getattr(self, name)] if value is not None]
        if self.event_ids:
            found.append(OUTBOX.c.event_id.in_(self.event_ids))
        if self.since is not None:
            found.append(OUTBOX.c.created_at >= self.since)
        if self.until is not None:
            found.append(OUTBOX.c.created_at < self.until)
        return found


class Listed(Struct, frozen=True, kw_only=True):
    """One event without its body."""

    event_id: str
    connection_id: int
    destination: str
    sequence: int
    type: str
    entity: str
    external_id: str
    entity_version: int
    ordering_key: str
    created_at: datetime
    state: str
    refused: int
    postponed: int
    due_at: datetime | None
    delivered_at: datetime | None
    reason: str


class Count(Struct, frozen=True, kw_only=True):
    """How many events of one connection are in one state for one destination, and the oldest of them."""

    destination: str
    connection_id: int
    state: str
    events: int
    oldest: datetime


def pending(store: Store, selection: Selection | None = None, limit: int = 100) -> list[Listed]:
    """What is to be sent, now or at its time, in order."""
    return _listed(store, selection or Selection(), ("pending", "waiting"), limit)


def dead(store: Store, selection: Selection | None = None, limit: int = 100) -> list[Listed]:
    """What needs a person, in order; later events of its ordering key wait for it."""
    return _listed(store, selection or Selection(), ("dead",), limit)


def counts(store: Store) -> list[Count]:
    """What is not delivered; a destination without a backlog is not mentioned."""
    keys = (OUTBOX.c.destination, OUTBOX.c.connection_id, OUTBOX.c.state)
    statement = (
        sa.select(*keys, sa.func.count().label("events"), sa.func.min(OUTBOX.c.created_at).label("oldest"))
        .where(in_states(OUTBOX, UNDELIVERED))
        .group_by(*keys)
        .order_by(*keys)
    )
    with store.read() as connection:
        return [Count(**row) for row in connection.execute(statement).mappings()]


def replay(store: Store, selection: Selection) -> int:
    """Send again what was delivered, waits or is dead: same ids, same bytes, in the same order. Returns how many.

    A receiver knows what it has by id and version, so repeating a delivered event changes nothing there.
    """
    states = ("dead",) if selection.dead_only else ("delivered", "waiting", "dead")
    statement = (
        sa.update(OUTBOX)
        .where(*selection.conditions(), in_states(OUTBOX, states))
        .values(state="pending", due_at=None, refused=0, postponed=0, reason="")
    )
    with store.write() as connection:
        return connection.execute(statement).rowcount


def skip(store: Store, selection: Selection, reason: str = "skipped") -> int:
    """Give dead events up for good, so that what waits behind them goes on. Returns how many."""
    statement = (
        sa.update(OUTBOX)
        .where(*selection.conditions(), in_states(OUTBOX, ("dead",)))
        .values(state="superseded", reason=reason)
    )
    with store.write() as connection:
        return connection.execute(statement).rowcount


def prune(store: Store, before: datetime) -> int:
    """Forget what was delivered or superseded, and the attempts, before a moment; returns how many events.

    What is not delivered is never forgotten. In portions, so that nobody waits long for the database.
    """
    done = sa.and_(~in_states(OUTBOX, UNDELIVERED), OUTBOX.c.created_at < before)
    total = 0
    while True:
        with store.write() as connection:
            oldest = sa.select(OUTBOX.c.id).where(done).order_by(OUTBOX.c.id).limit(PORTION)
            count = connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.id.in_(oldest))).rowcount
            if count < PORTION:
                connection.execute(sa.delete(ATTEMPTS).where(ATTEMPTS.c.started_at < before))
        total += count
        if count < PORTION:
            return total


def _listed(store: Store, selection: Selection, states: Sequence[str], limit: int) -> list[Listed]:
    statement = (
        sa.select(*(OUTBOX.c[field] for field in Listed.__struct_fields__))
        .where(*selection.conditions(), in_states(OUTBOX, UNDELIVERED), OUTBOX.c.state.in_(states))
        .order_by(OUTBOX.c.id)
        .limit(limit)
    )
    with store.read() as connection:
        return [Listed(**row) for row in connection.execute(statement).mappings()]
