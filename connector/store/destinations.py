"""Destinations: whether one is paused, how it fails, who delivers to it now, and the log of attempts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, structs

from connector.clock import FAR
from connector.errors import Busy
from connector.store import bulk
from connector.store.connections import LostLease
from connector.store.engine import Store
from connector.store.tables import AttemptRow, DestinationRow

TABLE: sa.Table = DestinationRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
ATTEMPT: sa.Table = AttemptRow.__table__  # type: ignore[attr-defined]


class Lease(Struct, frozen=True, kw_only=True):
    """The right to deliver to one destination; every transaction checks the epoch (`fence`)."""

    destination: str
    owner: str
    epoch: int


class Health(Struct, frozen=True, kw_only=True):
    """How a destination fares. Nothing is sent while it is paused or before `due_at`."""

    paused: bool = False
    reason: str = ""
    failures: int = 0
    """In a row, of the destination as a whole."""
    failing_since: datetime | None = None
    due_at: datetime | None = None

    def ready(self, now: datetime) -> bool:
        """Also while it seems to fail since a moment to come: the clock was wrong, and so is the wait."""
        due = self.due_at is None or self.due_at <= now
        return not self.paused and (due or (self.failing_since is not None and self.failing_since > now + FAR))


class Attempt(Struct, frozen=True, kw_only=True):
    """One request to a destination and how it ended."""

    destination: str
    delivery_id: str
    started_at: datetime
    duration_ms: int
    events: int
    first_event: int
    last_event: int
    status: int | None
    outcome: str
    reason: str = ""


_HEALTH = sa.select(*(TABLE.c[field] for field in Health.__struct_fields__)).where(TABLE.c.name == sa.bindparam("of"))


def health(connection: sa.Connection, name: str) -> Health:
    """A destination nobody has delivered to yet is healthy."""
    row = connection.execute(_HEALTH, {"of": name}).mappings().first()
    return Health(**row) if row else Health()


def pause(store: Store, name: str, reason: str) -> None:
    """Send nothing until `resume`; a request that is under way comes to its end."""
    _put(store, name, {"paused": True, "reason": reason})


def resume(store: Store, name: str) -> None:
    """Forget the failures and try at once."""
    _put(store, name, structs.asdict(Health()))


def retry_now(store: Store, name: str) -> None:
    """Do not wait for the schedule; what went wrong is remembered, and a pause stays."""
    with store.write() as connection:
        connection.execute(sa.update(TABLE).where(TABLE.c.name == name).values(due_at=None))


_CLAIM = (
    sa.update(TABLE)
    .where(
        TABLE.c.name == sa.bindparam("of"),
        sa.or_(
            TABLE.c.lease_until.is_(None),
            TABLE.c.lease_until < sa.bindparam("now", type_=TABLE.c.lease_until.type),
            TABLE.c.lease_until > sa.bindparam("far", type_=TABLE.c.lease_until.type),
        ),
    )
    .values(
        lease_epoch=TABLE.c.lease_epoch + 1,
        lease_owner=sa.bindparam("by"),
        lease_until=sa.bindparam("until", type_=TABLE.c.lease_until.type),
    )
    .returning(TABLE.c.lease_epoch)
)


def claim(store: Store, name: str, *, owner: str, now: datetime, ttl: timedelta) -> Lease:
    """Take the lease.

    Raises:
        Busy: another process delivers to this destination.
    """
    asked = {"of": name, "by": owner, "now": now, "far": now + FAR, "until": now + ttl}
    with store.write() as connection:
        epoch = connection.execute(_CLAIM, asked).scalar()
        if epoch is None and _add(store, connection, name):
            epoch = connection.execute(_CLAIM, asked).scalar()
    if epoch is None:
        raise Busy(
            "another process delivers to this destination",
            where=f"destination {name}",
            fix="wait for it to finish; its lease ends by itself if it died",
        )
    return Lease(destination=name, owner=owner, epoch=epoch)


_FENCE = (
    sa.update(TABLE)
    .where(TABLE.c.name == sa.bindparam("leased"), TABLE.c.lease_epoch == sa.bindparam("epoch"))
    .values(lease_until=sa.bindparam("until", type_=TABLE.c.lease_until.type))
)


def fence(connection: sa.Connection, lease: Lease, *, now: datetime, ttl: timedelta) -> None:
    """Prove inside a transaction that the lease is still ours, and renew it.

    Raises:
        LostLease: another process took over; the transaction must roll back.
    """
    held = connection.execute(_FENCE, {"leased": lease.destination, "epoch": lease.epoch, "until": now + ttl})
    if held.rowcount != 1:
        raise LostLease("another process took over this destination", where=f"destination {lease.destination}")


_RELEASE = (
    sa.update(TABLE)
    .where(TABLE.c.name == sa.bindparam("leased"), TABLE.c.lease_epoch == sa.bindparam("epoch"))
    .values(lease_owner=sa.null(), lease_until=sa.null())
)


def release(store: Store, lease: Lease) -> None:
    """Let others deliver; does nothing when the lease was lost."""
    with store.write() as connection:
        connection.execute(_RELEASE, {"leased": lease.destination, "epoch": lease.epoch})


def fared(connection: sa.Connection, name: str, before: Health, after: Health) -> None:
    """Write what an attempt changed; a pause that a person ordered meanwhile stays."""
    changed = {field: new for field, new in structs.asdict(after).items() if new != getattr(before, field)}
    if changed:
        connection.execute(sa.update(TABLE).where(TABLE.c.name == name).values(**changed))


def record(connection: sa.Connection, attempt: Attempt) -> None:
    bulk.insert(connection, ATTEMPT, Attempt.__struct_fields__, [structs.astuple(attempt)])


def attempts(store: Store, name: str, limit: int = 50) -> Sequence[Attempt]:
    """The newest first."""
    columns = (ATTEMPT.c[field] for field in Attempt.__struct_fields__)
    statement = sa.select(*columns).where(ATTEMPT.c.destination == name).order_by(ATTEMPT.c.id.desc()).limit(limit)
    with store.read() as connection:
        return [Attempt(**row) for row in connection.execute(statement).mappings()]


def _put(store: Store, name: str, values: dict[str, Any]) -> None:
    with store.write() as connection:
        _add(store, connection, name)
        connection.execute(sa.update(TABLE).where(TABLE.c.name == name).values(**values))


def _add(store: Store, connection: sa.Connection, name: str) -> bool:
    """Whether it was not there yet."""
    insert = store.insert(TABLE).values(name=name, paused=False, reason="", failures=0, claimed_up_to=0, lease_epoch=0)
    return connection.execute(insert.on_conflict_do_nothing().returning(TABLE.c.name)).scalar() is not None
