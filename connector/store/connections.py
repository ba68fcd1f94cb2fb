"""Connections: registration, the lease that makes one writer per administration, the schedule and the outcome."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from msgspec import Struct

from connector.clock import FAR
from connector.domain.events import source_urn
from connector.errors import Busy
from connector.store.engine import Store
from connector.store.tables import ConnectionRow

TABLE: sa.Table = ConnectionRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it


class Lease(Struct, frozen=True, kw_only=True):
    """The right to write for one connection; every transaction checks the epoch (`fence`)."""

    connection_id: int
    owner: str
    epoch: int


class Linked(Struct, frozen=True, kw_only=True):
    """A connection as the database knows it."""

    id: int
    name: str
    package: str
    administration: str
    destination: str
    linked_at: datetime | None
    title: str
    currency: str
    time_zone: str
    sequence: int
    cycle: int
    context: str
    control_total: bytes | None
    initial_done: bool
    next_due_at: datetime | None
    lease_until: datetime | None
    last_started_at: datetime | None
    last_success_at: datetime | None
    outcome: str
    reason: str
    failures: int
    alerted: int
    """See `connector.alerts`: 100 while all is well with the sign-in, 0 when a person is needed."""

    @property
    def source(self) -> str:
        """The `source` of its events."""
        return source_urn(self.name, self.package, self.administration)


_UNTIL = TABLE.c.lease_until.type
_FREE = sa.or_(
    TABLE.c.lease_until.is_(None),
    TABLE.c.lease_until < sa.bindparam("now", type_=_UNTIL),
    TABLE.c.lease_until > sa.bindparam("far", type_=_UNTIL),
)
"""Nobody holds the lease: never taken, ended, or of a clock that was ahead."""
_LINKED = sa.select(*(TABLE.c[name] for name in Linked.__struct_fields__))
_BY_ID = _LINKED.where(TABLE.c.id == sa.bindparam("wanted"))
_BY_NAME = _LINKED.where(TABLE.c.name == sa.bindparam("wanted"))


class LostLease(Busy):
    """Another process took over; what this one has not committed is void."""


def register(store: Store, *, name: str, package: str, administration: str, destination: str, now: datetime) -> Linked:
    """Make the configured connection known (idempotent); a new one is due at once.

    Until it is linked and read, a corrected package or administration replaces what was stored; then they stay.
    """
    values = {"package": package, "administration": administration, "destination": destination}
    with store.read() as connection:
        row = connection.execute(_BY_NAME, {"wanted": name}).mappings().first()
    if row is None:
        _add(store, name, values, now)
        return find(store, name)
    known = Linked(**row)
    if known.linked_at is not None or known.currency:
        values = {"destination": destination}
    if any(row[column] != value for column, value in values.items()):
        with store.write() as connection:
            connection.execute(sa.update(TABLE).where(TABLE.c.id == known.id).values(**values))
    return find(store, name)


def _add(store: Store, name: str, values: dict[str, str], now: datetime) -> None:
    insert = store.insert(TABLE).values(
        name=name,
        **values,
        next_due_at=now,
        title="",
        currency="",
        time_zone="UTC",
        sequence=0,
        cycle=0,
        context="",
        initial_done=False,
        lease_epoch=0,
        outcome="",
        reason="",
        failures=0,
        alerted=100,
    )
    with store.write() as connection:
        connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]))


def find(store: Store, name: str) -> Linked:
    with store.read() as connection:
        row = connection.execute(_BY_NAME, {"wanted": name}).mappings().one()
    return Linked(**row)


def get(connection: sa.Connection, connection_id: int) -> Linked:
    return Linked(**connection.execute(_BY_ID, {"wanted": connection_id}).mappings().one())


def everyone(store: Store) -> list[Linked]:
    with store.read() as connection:
        return [Linked(**row) for row in connection.execute(_LINKED.order_by(TABLE.c.name)).mappings()]


def due(store: Store, names: Sequence[str], now: datetime, limit: int) -> list[str]:
    """Linked connections whose time has come and that nobody is working on, longest waiting first.

    Where the clock was ahead at the last cycle, nobody knows when that was: it has come as well.
    """
    statement = (
        sa.select(TABLE.c.name)
        .where(
            TABLE.c.name.in_(names),
            TABLE.c.linked_at.is_not(None),
            sa.or_(TABLE.c.next_due_at <= now, TABLE.c.last_started_at > now + FAR),
            _FREE,
        )
        .order_by(TABLE.c.next_due_at)
        .limit(limit)
    )
    with store.read() as connection:
        return list(connection.execute(statement, {"now": now, "far": now + FAR}).scalars())


def linked(connection: sa.Connection, connection_id: int, now: datetime) -> None:
    """The client granted access: the connection is due at once."""
    connection.execute(
        sa.update(TABLE)
        .where(TABLE.c.id == connection_id)
        .values(
            linked_at=sa.func.coalesce(TABLE.c.linked_at, sa.bindparam("now", now, TABLE.c.linked_at.type)),
            next_due_at=now,
        )
    )


def keeper(connection: sa.Connection, mine: Linked) -> str | None:
    """The other connection that is linked to the same books, whether it is configured or not."""
    same = (TABLE.c.package == mine.package) & (TABLE.c.administration == mine.administration)
    others = sa.select(TABLE.c.name).where(same, TABLE.c.id != mine.id, TABLE.c.linked_at.is_not(None))
    return connection.execute(others.limit(1)).scalar()


_CLAIM = (
    sa.update(TABLE)
    .where(TABLE.c.id == sa.bindparam("wanted"), _FREE)
    .values(
        lease_epoch=TABLE.c.lease_epoch + 1,
        lease_owner=sa.bindparam("by"),
        lease_until=sa.bindparam("until", type_=_UNTIL),
        cycle=TABLE.c.cycle + 1,
        last_started_at=sa.bindparam("now", type_=_UNTIL),
    )
    .returning(TABLE.c.lease_epoch)
)


def claim(store: Store, connection_id: int, *, owner: str, now: datetime, ttl: timedelta) -> Lease:
    """Take the lease and begin a cycle.

    Raises:
        Busy: another process holds it.
    """
    asked = {"wanted": connection_id, "by": owner, "now": now, "far": now + FAR, "until": now + ttl}
    with store.write() as connection:
        epoch = connection.execute(_CLAIM, asked).scalar()
    if epoch is None:
        raise Busy(
            "another process is syncing this administration",
            where=f"connection {connection_id}",
            fix="wait for it to finish; its lease ends by itself if it died",
        )
    return Lease(connection_id=connection_id, owner=owner, epoch=epoch)


_FENCE = (
    sa.update(TABLE)
    .where(TABLE.c.id == sa.bindparam("leased"), TABLE.c.lease_epoch == sa.bindparam("epoch"))
    .values(lease_until=sa.bindparam("until", type_=_UNTIL))
)
"""Built once, as the others that each cycle needs; every transaction begins with this one."""


def fence(connection: sa.Connection, lease: Lease, *, now: datetime, ttl: timedelta) -> None:
    """Prove inside a transaction that the lease is still ours, and renew it.

    Raises:
        LostLease: another process took over; the transaction must roll back.
    """
    held = connection.execute(_FENCE, {"leased": lease.connection_id, "epoch": lease.epoch, "until": now + ttl})
    if held.rowcount != 1:
        raise LostLease("another process took over this administration", where=f"connection {lease.connection_id}")


def identified(connection: sa.Connection, connection_id: int, *, title: str, currency: str, time_zone: str) -> None:
    connection.execute(
        sa.update(TABLE).where(TABLE.c.id == connection_id).values(title=title, currency=currency, time_zone=time_zone)
    )


def assembled_under(connection: sa.Connection, connection_id: int, context: str) -> None:
    connection.execute(sa.update(TABLE).where(TABLE.c.id == connection_id).values(context=context))


def reconciled(connection: sa.Connection, connection_id: int, control_total: bytes | None) -> None:
    connection.execute(sa.update(TABLE).where(TABLE.c.id == connection_id).values(control_total=control_total))


def initial_load_done(connection: sa.Connection, connection_id: int) -> None:
    connection.execute(sa.update(TABLE).where(TABLE.c.id == connection_id).values(initial_done=True))


def raise_counters(connection: sa.Connection, connection_id: int, by: int) -> None:
    """Event numbers and cycle numbers go on above anything a destination can have seen."""
    connection.execute(
        sa.update(TABLE)
        .where(TABLE.c.id == connection_id)
        .values(sequence=TABLE.c.sequence + by, cycle=TABLE.c.cycle + by)
    )


def alert(connection: sa.Connection, connection_id: int, *, was: int, now: int) -> int | None:
    """Note what its destination is told of the sign-in; the version of that news, or None if somebody else told it."""
    statement = (
        sa.update(TABLE)
        .where(TABLE.c.id == connection_id, TABLE.c.alerted == was)
        .values(alerted=now, cycle=TABLE.c.cycle + 1)
        .returning(TABLE.c.cycle)
    )
    return connection.execute(statement).scalar()


_HELD = (TABLE.c.id == sa.bindparam("leased")) & (TABLE.c.lease_epoch == sa.bindparam("epoch"))
_RELEASED = {"lease_owner": sa.null(), "lease_until": sa.null(), "next_due_at": sa.bindparam("due_at", type_=_UNTIL)}
_ENDED = _RELEASED | {"outcome": sa.bindparam("how"), "reason": sa.bindparam("why")}
_SUCCEEDED = (
    sa.update(TABLE)
    .where(_HELD)
    .values(**_ENDED, failures=sa.literal_column("0"), last_success_at=sa.bindparam("now", type_=_UNTIL))
)
_FAILED = sa.update(TABLE).where(_HELD).values(**_ENDED, failures=TABLE.c.failures + 1)
_RELEASE = sa.update(TABLE).where(_HELD).values(**_RELEASED)


def finish(
    store: Store, lease: Lease, *, now: datetime, next_due_at: datetime, outcome: str, reason: str, succeeded: bool
) -> None:
    """Release the lease and say when the next cycle is due; does nothing when the lease was lost."""
    ended = {"leased": lease.connection_id, "epoch": lease.epoch, "due_at": next_due_at, "how": outcome, "why": reason}
    with store.write() as connection:
        if succeeded:
            connection.execute(_SUCCEEDED, {**ended, "now": now})
        else:
            connection.execute(_FAILED, ended)


def release(store: Store, lease: Lease, *, due_at: datetime) -> None:
    """Give the lease back without an outcome; does nothing when it was lost."""
    with store.write() as connection:
        connection.execute(_RELEASE, {"leased": lease.connection_id, "epoch": lease.epoch, "due_at": due_at})


def postpone(store: Store, name: str, *, until: datetime, outcome: str, reason: str) -> None:
    """A cycle could not even start: try again later, and say why."""
    with store.write() as connection:
        connection.execute(
            sa.update(TABLE).where(TABLE.c.name == name).values(next_due_at=until, outcome=outcome, reason=reason)
        )
