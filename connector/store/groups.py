"""Record groups: which were touched since they were assembled, and what each adds to the totals."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from connector.store import bulk
from connector.store.engine import Store
from connector.store.tables import GroupRow

TABLE: sa.Table = GroupRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
COLUMNS = tuple(TABLE.c.keys())


def touch(connection: sa.Connection, connection_id: int, groups: Iterable[str]) -> None:
    """Mark groups to be assembled; the mark is as durable as the rows that caused it."""
    marks = [(connection_id, group, True) for group in sorted(groups)]
    bulk.upsert(connection, TABLE, ("connection_id", "group_key", "touched"), marks)


def touch_all(connection: sa.Connection, connection_id: int) -> None:
    connection.execute(sa.update(TABLE).where(TABLE.c.connection_id == connection_id).values(touched=True))


_TOUCHED = (
    sa.select(TABLE.c.group_key)
    .where(TABLE.c.connection_id == sa.bindparam("of"), TABLE.c.touched)
    .order_by(TABLE.c.group_key)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def touched(store: Store, connection_id: int, limit: int) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(_TOUCHED, {"of": connection_id, "most": limit}).scalars())


_COUNT_TOUCHED = (
    sa.select(sa.func.count()).select_from(TABLE).where(TABLE.c.connection_id == sa.bindparam("of"), TABLE.c.touched)
)


def count_touched(connection: sa.Connection, connection_id: int) -> int:
    return int(connection.execute(_COUNT_TOUCHED, {"of": connection_id}).scalar_one())


def assembled(connection: sa.Connection, connection_id: int, totals: Mapping[str, tuple[int, int]]) -> None:
    """`totals`: group -> (open, left out) in minor units of the base currency; clears the touched mark."""
    rows = [(connection_id, group, False, open_, left_out) for group, (open_, left_out) in totals.items()]
    bulk.upsert(connection, TABLE, COLUMNS, rows)


_TOTALS = sa.select(
    sa.func.coalesce(sa.func.sum(TABLE.c.base_open), 0), sa.func.coalesce(sa.func.sum(TABLE.c.left_out), 0)
).where(TABLE.c.connection_id == sa.bindparam("of"))


def totals(store: Store, connection_id: int) -> tuple[int, int]:
    """(open, left out) over all groups, in minor units of the base currency."""
    with store.read() as connection:
        open_, left_out = connection.execute(_TOTALS, {"of": connection_id}).one()
    return int(open_), int(left_out)


def after(store: Store, connection_id: int, key: str, limit: int) -> Sequence[str]:
    """The next groups in the order of their keys."""
    statement = (
        sa.select(TABLE.c.group_key)
        .where(TABLE.c.connection_id == connection_id, TABLE.c.group_key > key)
        .order_by(TABLE.c.group_key)
        .limit(limit)
    )
    with store.read() as connection:
        return list(connection.execute(statement).scalars())
