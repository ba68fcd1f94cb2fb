"""Many rows in one statement, at the price of the driver.

SQLAlchemy writes the SQL, once per table; the rows then go to the driver's own `executemany`, because binding
parameters one row at a time through SQLAlchemy costs more than storing them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Values = Mapping[str, Any]


class _Prepared(NamedTuple):
    sql: str
    columns: tuple[str, ...]
    defaults: dict[str, Any]
    """What SQLAlchemy fills in for columns that the rows do not name."""
    convert: tuple[tuple[int, Callable[[Any], Any]], ...]
    """What a value of a column goes through on its way to the driver: dates and times, of which there are few."""


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Values]) -> None:
    """Insert rows that are new. Each names the same columns."""
    if rows:
        _execute(connection, _prepare(connection.dialect, table, tuple(rows[0]), ()), rows)


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Values]) -> None:
    """Insert rows, or replace the columns they name where their primary key exists. Each names the same columns."""
    if rows:
        keys = tuple(column.name for column in table.primary_key)
        _execute(connection, _prepare(connection.dialect, table, tuple(rows[0]), keys), rows)


def _execute(connection: sa.Connection, prepared: _Prepared, rows: Iterable[Values]) -> None:
    named = ({**prepared.defaults, **row} for row in rows) if prepared.defaults else rows
    values = map(itemgetter(*prepared.columns), named)
    connection.exec_driver_sql(prepared.sql, [_converted(row, prepared.convert) for row in values])


def _converted(row: tuple[Any, ...], convert: Sequence[tuple[int, Callable[[Any], Any]]]) -> tuple[Any, ...]:
    if not convert:
        return row
    changed = list(row)
    for position, process in convert:
        changed[position] = process(changed[position])
    return tuple(changed)


@lru_cache(maxsize=128)
def _prepare(dialect: sa.Dialect, table: sa.Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> _Prepared:
    module = sqlite if dialect.name == "sqlite" else postgresql
    statement: sqlite.Insert | postgresql.Insert = module.insert(table).values(
        {name: sa.bindparam(name, type_=table.c[name].type) for name in columns}
    )
    if keys:
        update = {name: statement.excluded[name] for name in columns if name not in keys}
        statement = statement.on_conflict_do_update(index_elements=keys, set_=update)
    compiled = statement.compile(dialect=dialect)
    order = tuple(compiled.positiontup or ())
    convert = tuple(
        (position, lru_cache(maxsize=1024)(process))
        for position, name in enumerate(order)
        if isinstance(table.c[name].type, sa.Date | sa.DateTime | sa.TypeDecorator)
        and (process := table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) is not None
    )
    defaults = {name: _default(table.c[name]) for name in order if name not in columns}
    return _Prepared(str(compiled), order, defaults, convert)


def _default(column: sa.Column[Any]) -> Any:
    if not isinstance(column.default, sa.ColumnDefault):
        raise TypeError(f"{column} has no value and no default")
    return column.default.arg
