"""Wrapped data keys, in the database: rows are added and wrapped anew, never deleted."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from connector.store.engine import Store
from connector.store.tables import DataKeyRow
from connector.vault import NOBODY, Wrapped

TABLE: sa.Table = DataKeyRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it

_KEY = (TABLE.c.connection_id, TABLE.c.number)
_LAST = 2**31 - 1


class StoredDataKeys:
    """The data keys of one database (`connector.vault.DataKeys`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self, connection_id: int) -> Wrapped | None:
        return self._one(_select().where(TABLE.c.connection_id == connection_id).order_by(TABLE.c.number.desc()))

    def get(self, connection_id: int, number: int) -> Wrapped | None:
        return self._one(_select().where(_is(connection_id, number)))

    def add(self, wrapped: Wrapped) -> None:
        insert = self._store.insert(TABLE).values(wrapped._asdict())
        with self._store.write() as connection:
            connection.execute(insert.on_conflict_do_nothing())

    def portions(self, size: int) -> Iterator[list[Wrapped]]:
        """All of them, `size` at a time; the canary comes last, so that it changes after everything else has."""
        after = (NOBODY, _LAST)
        while True:
            statement = _select().where(sa.tuple_(*_KEY) > after).order_by(*_KEY).limit(size)
            with self._store.read() as connection:
                found = [Wrapped._make(row) for row in connection.execute(statement)]
            if not found:
                break
            yield found
            after = (found[-1].connection_id, found[-1].number)
        canary = self.newest(NOBODY)
        if canary is not None:
            yield [canary]

    def replace(self, pairs: Sequence[tuple[Wrapped, Wrapped]]) -> int:
        """Old ones by new ones, in one transaction; says how many were still the old ones."""
        count = 0
        with self._store.write() as connection:
            for old, new in pairs:
                same = _is(old.connection_id, old.number) & (TABLE.c.key_ct == old.key_ct)
                count += connection.execute(sa.update(TABLE).where(same).values(key_ct=new.key_ct)).rowcount
        return count

    def _one(self, statement: sa.Select[Any]) -> Wrapped | None:
        with self._store.read() as connection:
            row = connection.execute(statement.limit(1)).one_or_none()
        return None if row is None else Wrapped._make(row)


def _select() -> sa.Select[Any]:
    return sa.select(*(TABLE.c[name] for name in Wrapped._fields))


def _is(connection_id: int, number: int) -> sa.ColumnElement[bool]:
    return (TABLE.c.connection_id == connection_id) & (TABLE.c.number == number)
