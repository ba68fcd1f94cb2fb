"""The tables. Bulk statements use `Table.__table__`; nothing here is loaded record by record.

Amounts are integer minor units of the currency beside them. Instants are UTC without a zone in the column and aware
in Python (`UtcDateTime`). `*_ct` columns hold ciphertext (`connector.vault`).
"""

from datetime import UTC, date, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Dialect, Index, Integer, LargeBinary, MetaData, TypeDecorator, text
from sqlmodel import Field, SQLModel

BigInt = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python, naive UTC in the database; a naive value is refused."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else value.replace(tzinfo=UTC)


def _partial(name: str, *columns: str, where: str, on_sqlite: str | None = None) -> Index:
    """An index on some rows only. SQLite uses it where a query repeats the condition, so flags are written `= 1`."""
    return Index(name, *columns, sqlite_where=text(on_sqlite or where), postgresql_where=text(where))


class Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class DataKeyRow(Base, table=True):
    """A key under which values of one connection are encrypted, itself under a master key; connection 0: the canary."""

    __tablename__ = "data_key"
    connection_id: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    key_ct: str


class ApiKeyRow(Base, table=True):
    """Who may use the daemon's API: of the key itself only a hash. scope: read | operate | admin."""

    __tablename__ = "api_key"
    prefix: str = Field(primary_key=True)
    name: str = Field(unique=True)
    hash: str
    scope: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ConnectionRow(Base, table=True):
    """One client's link to one administration: identity, lease, schedule and outcome."""

    __tablename__ = "connection"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    package: str
    administration: str
    destination: str
    linked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    title: str = ""
    currency: str = ""
    time_zone: str = "UTC"
    sequence: int = Field(default=0, sa_type=BigInt)
    cycle: int = Field(default=0, sa_type=BigInt)
    context: str = ""
    """Digest of reference rows, mapping and assembler version under which the records were assembled."""
    control_total: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The last total that the ledger confirmed, as JSON; None after one that it did not."""
    initial_done: bool = False
    next_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    lease_owner: str | None = None
    lease_epoch: int = Field(default=0, sa_type=BigInt)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_success_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: str = ""
    reason: str = ""
    failures: int = 0
    alerted: int = 100
    """How much of the sign-in's life was left, in percent, when that was last told: 100 is fine, 0 needs a person."""


class FeedRow(Base, table=True):
    """Where one feed stands. `since` and `swept`: in which cycle its present and its last complete read started."""

    __tablename__ = "feed"
    connection_id: int = Field(primary_key=True, foreign_key="connection.id")
    name: str = Field(primary_key=True)
    cursor: str | None = None
    scope: str = ""
    since: int | None = Field(default=None, sa_type=BigInt)
    swept: int | None = Field(default=None, sa_type=BigInt)
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    rows: int = Field(default=0, sa_type=BigInt)
    status: str = ""
    reason: str = ""


class RowRow(Base, table=True):
    """One raw item. `seen` is the last cycle in which a page held it."""

    __tablename__ = "row"
    connection_id: int = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    group_key: str | None = None
    parent: str | None = None
    version: int = Field(default=0, sa_type=BigInt)
    open: bool = False
    day: date | None = None
    seen: int = Field(default=0, sa_type=BigInt)
    data: bytes = Field(sa_type=LargeBinary)

    __table_args__: ClassVar[tuple[Any, ...]] = (
        Index("row_group", "connection_id", "group_key"),
        _partial("row_open", "connection_id", "kind", "seen", where="open", on_sqlite="open = 1"),
        _partial("row_day", "connection_id", "kind", "group_key", "day", where="day IS NOT NULL"),
        _partial("row_parent", "connection_id", "parent", where="parent IS NOT NULL"),
    )


class GroupRow(Base, table=True):
    """One record group: whether its rows changed since it was assembled, and what it adds to the totals."""

    __tablename__ = "record_group"
    connection_id: int = Field(primary_key=True)
    group_key: str = Field(primary_key=True)
    touched: bool = True
    base_open: int = Field(default=0, sa_type=BigInt)
    left_out: int = Field(default=0, sa_type=BigInt)

    __table_args__: ClassVar[tuple[Any, ...]] = (
        _partial("record_group_touched", "connection_id", "group_key", where="touched", on_sqlite="touched = 1"),
    )


class RecordBase(Base):
    """What each record table has: identity, version and the whole record as it was sent."""

    connection_id: int = Field(primary_key=True)
    external_id: str = Field(primary_key=True)
    group_key: str
    version: int = Field(default=1, sa_type=BigInt)
    removed: bool = False
    number: str | None = None
    changed_at: datetime = Field(sa_type=UtcDateTime)
    record: bytes = Field(sa_type=LargeBinary)


class AdministrationRow(RecordBase, table=True):
    __tablename__ = "administration"
    name: str
    currency: str


class CustomerRow(RecordBase, table=True):
    __tablename__ = "customer"
    __table_args__: ClassVar[tuple[Any, ...]] = (Index("customer_group", "connection_id", "group_key"),)
    name: str
    party_type: str
    email: str | None = None


class InvoiceRow(RecordBase, table=True):
    __tablename__ = "invoice"
    __table_args__: ClassVar[tuple[Any, ...]] = (Index("invoice_group", "connection_id", "group_key"),)
    customer: str
    kind: str
    currency: str
    total_minor: int = Field(sa_type=BigInt)
    open_minor: int = Field(sa_type=BigInt)
    base_currency: str
    base_total_minor: int = Field(sa_type=BigInt)
    base_open_minor: int = Field(sa_type=BigInt)
    payment_status: str
    issue_date: date | None = None
    due_date: date | None = None


class SettlementRow(Base, table=True):
    """The settlements of an invoice, in its order."""

    __tablename__ = "settlement"
    connection_id: int = Field(primary_key=True)
    invoice: str = Field(primary_key=True)
    position: int = Field(primary_key=True)
    kind: str
    amount_minor: int = Field(sa_type=BigInt)
    base_amount_minor: int = Field(sa_type=BigInt)
    settled_on: date | None = None
    source: str | None = None
    derived: bool = False


class PaymentRow(RecordBase, table=True):
    __tablename__ = "payment"
    __table_args__: ClassVar[tuple[Any, ...]] = (
        Index("payment_group", "connection_id", "group_key"),
        _partial("payment_unallocated", "connection_id", where="base_unallocated_minor > 0"),
    )
    customer: str
    kind: str
    currency: str
    amount_minor: int = Field(sa_type=BigInt)
    unallocated_minor: int = Field(sa_type=BigInt)
    base_currency: str
    base_amount_minor: int = Field(sa_type=BigInt)
    base_unallocated_minor: int = Field(sa_type=BigInt)
    booking_date: date | None = None


UNDELIVERED = ("pending", "waiting", "dead")
_UNDELIVERED = "state IN ('pending', 'waiting', 'dead')"
_HELD = "state IN ('waiting', 'dead')"


class OutboxRow(Base, table=True):
    """One event for one destination.

    state: pending (never sent or to be sent now) | waiting (to be sent again at `due_at`) | delivered | superseded |
    dead (needs a person; later events of its ordering key wait). `body` is the exact CloudEvent, written once.
    A `barrier` event waits until every earlier event of its connection is delivered or superseded.
    """

    __tablename__ = "outbox"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInt)
    connection_id: int
    destination: str
    sequence: int = Field(sa_type=BigInt)
    event_id: str
    type: str
    entity: str
    external_id: str
    entity_version: int = Field(sa_type=BigInt)
    ordering_key: str
    barrier: bool = False
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    state: str = "pending"
    refused: int = 0
    """How often the destination refused it when it travelled alone."""
    postponed: int = 0
    """How often the destination asked for it to be sent later."""
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reason: str = ""

    __table_args__: ClassVar[tuple[Any, ...]] = (
        _partial("outbox_queue", "destination", "id", where=_UNDELIVERED),
        _partial("outbox_connection", "connection_id", "destination", "id", where=_UNDELIVERED),
        _partial("outbox_entity", "connection_id", "entity", "external_id", "id", where=_UNDELIVERED),
        _partial(
            "outbox_barrier",
            "connection_id",
            "destination",
            "type",
            where=f"barrier AND {_UNDELIVERED}",
            on_sqlite=f"barrier = 1 AND {_UNDELIVERED}",
        ),
        _partial("outbox_held", "connection_id", "ordering_key", "id", where=_HELD),
    )


class AttemptRow(Base, table=True):
    """One POST to a destination and how it ended."""

    __tablename__ = "attempt"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInt)
    destination: str = Field(index=True)
    delivery_id: str
    started_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: int
    events: int
    first_event: int = Field(sa_type=BigInt)
    last_event: int = Field(sa_type=BigInt)
    status: int | None = None
    outcome: str
    reason: str = ""


class DestinationRow(Base, table=True):
    """The state of one destination: whether it is paused and why, and who delivers to it now.

    What was claimed up to some event may have been sent: up to there nothing is superseded any more.
    """

    __tablename__ = "destination"
    name: str = Field(primary_key=True)
    paused: bool = False
    reason: str = ""
    failures: int = 0
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    claimed_up_to: int = Field(default=0, sa_type=BigInt)
    lease_owner: str | None = None
    lease_epoch: int = Field(default=0, sa_type=BigInt)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class BudgetRow(Base, table=True):
    """Calls made by one app on one administration, in the package's own windows."""

    __tablename__ = "call_budget"
    app: str = Field(primary_key=True)
    administration: str = Field(primary_key=True)
    minute: datetime = Field(sa_type=UtcDateTime)
    minute_used: int = 0
    minute_limit: int | None = None
    day: date
    day_used: int = 0
    day_limit: int | None = None
    day_ends_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    refusals: int = 0
    paused_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class QuarantineRow(Base, table=True):
    """One item that could not be used; the payload is encrypted."""

    __tablename__ = "quarantine"
    connection_id: int = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    group_key: str = ""
    reason: str
    adapter_version: str
    payload_ct: str
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)
