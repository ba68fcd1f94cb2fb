"""Wrapped data keys, in the database: rows are added and wrapped anew, never deleted."""

import sqlalchemy as sa

from connector.store.engine import Store
from connector.store.tables import DataKeyRow
from connector.vault import Wrapped

TABLE: sa.Table = DataKeyRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it

_KEY = (TABLE.c.connection_id, TABLE.c.number)


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

    def portion(self, after: tuple[int, int], limit: int) -> list[Wrapped]:
        """The next ones in the order of connection and number."""
        statement = _select().where(sa.tuple_(*_KEY) > after).order_by(*_KEY).limit(limit)
        with self._store.read() as connection:
            return [Wrapped(*row) for row in connection.execute(statement)]

    def replace(self, pairs: list[tuple[Wrapped, Wrapped]]) -> int:
        """Old ones by new ones, in one transaction; says how many were still the old ones."""
        count = 0
        with self._store.write() as connection:
            for old, new in pairs:
                same = _is(old.connection_id, old.number) & (TABLE.c.key_ct == old.key_ct)
                count += connection.execute(sa.update(TABLE).where(same).values(key_ct=new.key_ct)).rowcount
        return count

    def _one(self, statement: sa.Select[tuple[int, int, str]]) -> Wrapped | None:
        with self._store.read() as connection:
            row = connection.execute(statement.limit(1)).one_or_none()
        return None if row is None else Wrapped(*row)


def _select() -> sa.Select[tuple[int, int, str]]:
    return sa.select(*(TABLE.c[name] for name in Wrapped._fields))


def _is(connection_id: int, number: int) -> sa.ColumnElement[bool]:
    return (TABLE.c.connection_id == connection_id) & (TABLE.c.number == number)
