"""The normalized records: what is stored for some groups, and writing what changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from connector.domain.money import from_minor, to_minor
from connector.domain.records import Administration, Customer, Entity, Invoice, Payment, Record
from connector.domain.signals import Receipts
from connector.store import bulk
from connector.store.among import among
from connector.store.engine import Store
from connector.store.tables import AdministrationRow, CustomerRow, InvoiceRow, PaymentRow, SettlementRow

TABLES: dict[Entity, sa.Table] = {
    "administration": AdministrationRow.__table__,  # type: ignore[attr-defined]  # SQLModel sets it
    "customer": CustomerRow.__table__,  # type: ignore[attr-defined]
    "invoice": InvoiceRow.__table__,  # type: ignore[attr-defined]
    "payment": PaymentRow.__table__,  # type: ignore[attr-defined]
}
SETTLEMENTS: sa.Table = SettlementRow.__table__  # type: ignore[attr-defined]
COLUMNS: dict[Entity, tuple[str, ...]] = {entity: tuple(table.c.keys()) for entity, table in TABLES.items()}

_GONE = sa.delete(SETTLEMENTS).where(
    SETTLEMENTS.c.connection_id == sa.bindparam("of"), among(SETTLEMENTS.c.invoice, "wanted")
)


class Stored(msgspec.Struct, frozen=True):
    """What the store holds of one record."""

    external_id: str
    group_key: str
    version: int
    removed: bool
    record: bytes


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A record's next version; `record` None means that it is gone."""

    entity: Entity
    external_id: str
    group_key: str
    version: int
    record: Record
    body: bytes
    removed: bool = False


def of_groups(
    connection: sa.Connection, connection_id: int, entity: Entity, groups: Sequence[str]
) -> dict[str, Stored]:
    """By external id."""
    return _stored(connection, connection_id, entity, "group_key", groups)


def by_id(connection: sa.Connection, connection_id: int, entity: Entity, ids: Sequence[str]) -> dict[str, Stored]:
    return _stored(connection, connection_id, entity, "external_id", ids)


def write(connection: sa.Connection, connection_id: int, changes: Sequence[Change], now: datetime) -> None:
    """Store new versions in bulk; the settlements of an invoice are replaced with it."""
    by_entity: dict[Entity, list[bulk.Row]] = {}
    for change in changes:
        by_entity.setdefault(change.entity, []).append(_values(connection_id, change, now))
    for entity, values in by_entity.items():
        bulk.upsert(connection, TABLES[entity], COLUMNS[entity], values)
    _write_settlements(connection, connection_id, [change for change in changes if change.entity == "invoice"])


def move(connection: sa.Connection, connection_id: int, entity: Entity, groups: Mapping[str, str]) -> None:
    """The same records now belong to other groups (external id -> group); that makes no new version."""
    if groups:
        table = TABLES[entity]
        connection.execute(
            sa.update(table)
            .where(table.c.connection_id == connection_id, table.c.external_id == sa.bindparam("id"))
            .values(group_key=sa.bindparam("group")),
            [{"id": external_id, "group": group} for external_id, group in groups.items()],
        )


def after(store: Store, connection_id: int, entity: Entity, key: str, limit: int) -> list[Stored]:
    """The next records in the order of their external ids, removed ones included."""
    table = TABLES[entity]
    statement = (
        sa.select(*(table.c[name] for name in Stored.__struct_fields__))
        .where(table.c.connection_id == connection_id, table.c.external_id > key)
        .order_by(table.c.external_id)
        .limit(limit)
    )
    with store.read() as connection:
        return [Stored(*row) for row in connection.execute(statement)]


def raise_versions(connection: sa.Connection, connection_id: int, by: int) -> None:
    for table in TABLES.values():
        connection.execute(
            sa.update(table).where(table.c.connection_id == connection_id).values(version=table.c.version + by)
        )


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds of one connection, for people; amounts are per currency."""

    customers: int
    invoices: int
    open_invoices: int
    payments: int
    open: dict[str, Decimal]
    unallocated: dict[str, Decimal]


def figures(store: Store, connection_id: int) -> Figures:
    invoice, payment = TABLES["invoice"], TABLES["payment"]
    with store.read() as connection:
        return Figures(
            customers=_count(connection, connection_id, TABLES["customer"]),
            invoices=_count(connection, connection_id, invoice),
            open_invoices=_count(connection, connection_id, invoice, invoice.c.open_minor != 0),
            payments=_count(connection, connection_id, payment),
            open=_sums(connection, connection_id, invoice, invoice.c.open_minor),
            unallocated=_sums(connection, connection_id, payment, payment.c.unallocated_minor),
        )


_PAYMENT = TABLES["payment"].c
_UNALLOCATED = sa.select(
    sa.func.count(),
    sa.func.coalesce(sa.func.sum(_PAYMENT.base_unallocated_minor), 0),
    sa.func.min(_PAYMENT.booking_date),
).where(
    _PAYMENT.connection_id == sa.bindparam("of"),
    ~_PAYMENT.removed,
    _PAYMENT.base_unallocated_minor > sa.literal_column("0"),
)


def unallocated(store: Store, connection_id: int, currency: str) -> Receipts:
    """Money on customers' accounts that no invoice has taken yet, in base currency."""
    with store.read() as connection:
        count, total, oldest = connection.execute(_UNALLOCATED, {"of": connection_id}).one()
    return Receipts(count=count, amount=from_minor(int(total), currency), oldest=oldest)


def _count(connection: sa.Connection, connection_id: int, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(table)
        .where(table.c.connection_id == connection_id, ~table.c.removed, *where)
    ).scalar_one()


def _sums(connection: sa.Connection, connection_id: int, table: sa.Table, column: sa.Column[int]) -> dict[str, Decimal]:
    rows = connection.execute(
        sa.select(table.c.currency, sa.func.sum(column))
        .where(table.c.connection_id == connection_id, ~table.c.removed)
        .group_by(table.c.currency)
        .order_by(table.c.currency)
    )
    return {currency: from_minor(int(total), currency) for currency, total in rows}


def _stored(
    connection: sa.Connection, connection_id: int, entity: Entity, column: str, keys: Sequence[str]
) -> dict[str, Stored]:
    if not keys:
        return {}
    found = bulk.select(connection, _select(entity, column), of=connection_id, wanted=keys)
    return {key: Stored(key, group, version, bool(removed), record) for key, group, version, removed, record in found}


@cache
def _select(entity: Entity, column: str) -> sa.Select[Any]:
    """Built once, because each batch of groups asks for each entity."""
    table = TABLES[entity]
    return sa.select(*(table.c[name] for name in Stored.__struct_fields__)).where(
        table.c.connection_id == sa.bindparam("of"), among(table.c[column], "wanted")
    )


def _values(connection_id: int, change: Change, now: datetime) -> bulk.Row:
    """What its table holds of a record, in the order of the columns."""
    record = change.record
    return (
        connection_id,
        change.external_id,
        change.group_key,
        change.version,
        change.removed,
        record.number,
        now,
        change.body,
        *_particular(record),
    )


def _particular(record: Record) -> bulk.Row:
    match record:
        case Administration():
            return record.name, record.currency
        case Customer():
            return record.name, record.party_type, record.email
        case Invoice():
            return (
                record.customer,
                record.kind,
                record.currency,
                to_minor(record.total, record.currency),
                to_minor(record.open, record.currency),
                record.base_currency,
                to_minor(record.base_total, record.base_currency),
                to_minor(record.base_open, record.base_currency),
                record.payment_status,
                record.issue_date,
                record.due_date,
            )
        case Payment():
            return (
                record.customer,
                record.kind,
                record.currency,
                to_minor(record.amount, record.currency),
                to_minor(record.unallocated, record.currency),
                record.base_currency,
                to_minor(record.base_amount, record.base_currency),
                to_minor(record.base_unallocated, record.base_currency),
                record.booking_date,
            )
        case _:
            raise TypeError(f"{type(record).__name__} has no table")


def _write_settlements(connection: sa.Connection, connection_id: int, changes: Sequence[Change]) -> None:
    if replaced := [change.external_id for change in changes if change.version > 1]:
        connection.execute(_GONE, {"of": connection_id, "wanted": replaced})
    settlements = [
        (
            connection_id,
            change.external_id,
            position,
            settlement.kind,
            to_minor(settlement.amount, change.record.currency),
            to_minor(settlement.base_amount, change.record.base_currency),
            settlement.settled_on,
            settlement.source,
            settlement.derived,
        )
        for change in changes
        if isinstance(change.record, Invoice) and not change.removed
        for position, settlement in enumerate(change.record.settlements)
    ]
    bulk.insert(connection, SETTLEMENTS, tuple(SETTLEMENTS.c.keys()), settlements)
