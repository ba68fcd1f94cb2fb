"""Every stored value that a data key protects, with its place: what `connector secrets` goes through."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from connector.store.engine import Store
from connector.store.tables import Base
from connector.vault import Place


class Column(NamedTuple):
    """A column of ciphertext; `field` says from the row what its place is called."""

    table: str
    name: str
    field: Callable[[Any], str]

    @property
    def key(self) -> list[sa.Column[Any]]:
        return list(self.of.primary_key)

    @property
    def of(self) -> sa.Table:
        return Base.metadata.tables[self.table]


COLUMNS = (
    Column("token", "access_ct", lambda _: "access"),
    Column("token", "refresh_ct", lambda _: "refresh"),
    Column("authorization_request", "verifier_ct", lambda _: "verifier"),
    Column("key_news", "key_ct", lambda row: row.reference_hash),
    Column("quarantine", "payload_ct", lambda row: f"{row.kind}/{row.key}"),
)


class Sealed(NamedTuple):
    """One value, encrypted."""

    column: Column
    key: tuple[Any, ...]
    place: Place
    stored: str


def portions(store: Store, column: Column, size: int) -> Iterator[list[Sealed]]:
    """All values of a column in the order of their keys, `size` at a time."""
    value = column.of.c[column.name]
    after: tuple[Any, ...] | None = None
    while True:
        statement = sa.select(column.of).where(value.is_not(None)).order_by(*column.key).limit(size)
        if after is not None:
            statement = statement.where(sa.tuple_(*column.key) > after)
        with store.read() as connection:
            rows = connection.execute(statement).all()
        if not rows:
            return
        found = [_sealed(column, row) for row in rows]
        yield found
        after = found[-1].key


def replace(store: Store, pairs: Sequence[tuple[Sealed, str]]) -> int:
    """Values by new ones, in one transaction; says how many were still the old ones."""
    count = 0
    with store.write() as connection:
        for old, new in pairs:
            table, name = old.column.of, old.column.name
            mine = [part == value for part, value in zip(old.column.key, old.key, strict=True)]
            update = sa.update(table).where(*mine, table.c[name] == old.stored).values({name: new})
            count += connection.execute(update).rowcount
    return count


def _sealed(column: Column, row: Any) -> Sealed:
    key = tuple(getattr(row, part.name) for part in column.key)
    place = Place(column.table, row.connection_id, column.field(row))
    return Sealed(column, key, place, getattr(row, column.name))
