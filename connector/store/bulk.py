"""Many rows in one statement, at the price of the driver.

SQLAlchemy writes the SQL, once; the driver then takes and gives plain tuples. Binding parameters one row at a time
through SQLAlchemy, and having it make its own row objects, would cost more than storing and finding them.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Row = tuple[Any, ...]
Convert = Callable[[Any], Any]


class _Insert(NamedTuple):
    sql: str
    defaults: Row
    """What SQLAlchemy fills in for columns that the rows do not have."""
    convert: tuple[tuple[int, Convert], ...]
    """Which of a row's values need something on their way to the driver: dates and times, of which there are few."""


class _Select(NamedTuple):
    sql: str
    parameters: tuple[tuple[str, Convert | None], ...]
    constants: dict[str, Any]


def insert(connection: sa.Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert rows that are new. They hold the values of these columns, named in the order of the table."""
    if rows:
        _store(connection, _insert(connection.dialect, table, columns, ()), rows)


def upsert(connection: sa.Connection, table: sa.Table, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert rows, or replace the values of these columns where their primary key exists."""
    if rows:
        keys = tuple(column.name for column in table.primary_key)
        _store(connection, _insert(connection.dialect, table, columns, keys), rows)


def select(connection: sa.Connection, statement: sa.Select[Any], **values: Any) -> list[Row]:
    """What a statement with named parameters finds, as the driver gives it: from SQLite no booleans, dates or times."""
    asked = _select(connection.dialect, statement)
    values = asked.constants | values
    bound = tuple(convert(values[name]) if convert else values[name] for name, convert in asked.parameters)
    with contextlib.closing(connection.exec_driver_sql(asked.sql, bound)) as result:
        return list(result.cursor.fetchall())


def _store(connection: sa.Connection, prepared: _Insert, rows: Sequence[Row]) -> None:
    if prepared.defaults:
        rows = [row + prepared.defaults for row in rows]
    for at, convert in prepared.convert:
        rows = [row if row[at] is None else (*row[:at], convert(row[at]), *row[at + 1 :]) for row in rows]
    connection.exec_driver_sql(prepared.sql, list(rows))


@lru_cache(maxsize=128)
def _insert(dialect: sa.Dialect, table: sa.Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> _Insert:
    module = sqlite if dialect.name == "sqlite" else postgresql
    statement: sqlite.Insert | postgresql.Insert = module.insert(table).values(
        {name: sa.bindparam(name, type_=table.c[name].type) for name in columns}
    )
    if keys:
        update = {name: statement.excluded[name] for name in columns if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=update)
    compiled = statement.compile(dialect=dialect)
    names = tuple(compiled.positiontup or ())
    if names[: len(columns)] != columns:
        raise TypeError(f"the columns of {table} are not named in its order: {', '.join(columns)}")
    convert = tuple(
        (at, lru_cache(maxsize=1024)(process))
        for at, name in enumerate(names)
        if isinstance(table.c[name].type, sa.Date | sa.DateTime | sa.TypeDecorator)
        and (process := _process(table.c[name].type, dialect)) is not None
    )
    return _Insert(str(compiled), tuple(_default(table.c[name]) for name in names[len(columns) :]), convert)


@lru_cache(maxsize=128)
def _select(dialect: sa.Dialect, statement: sa.Select[Any]) -> _Select:
    compiled = statement.compile(dialect=dialect)
    parameters = [(name, _process(compiled.binds[name].type, dialect)) for name in compiled.positiontup or ()]
    return _Select(str(compiled), tuple(parameters), dict(compiled.params))


def _process(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _default(column: sa.Column[Any]) -> Any:
    if not isinstance(column.default, sa.ColumnDefault):
        raise TypeError(f"{column} has no value and no default")
    return column.default.arg
