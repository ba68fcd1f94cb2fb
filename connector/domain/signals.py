"""What the program says about an administration as a whole: the `record` of the events that are not records.

Each is the whole present state, so that only the newest of a type needs to arrive. Amounts are in the
administration's currency unless another one is named beside them.
"""

from datetime import date
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from connector.domain import events
from connector.domain.events import Instant
from connector.domain.records import Currency

FeedStatus = Literal["ok", "partial", "stale", "failed", "auth_error", "rate_limited", "held"]


class BankJournal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far one bank journal is booked. A dormant one does not hold back `dunning_safe_as_of`."""

    journal: str
    name: str | None = None
    booked_until: date | None = None
    dormant: bool = False


class Receipts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money that came in and that nobody has put against an invoice yet."""

    count: int
    amount: Decimal
    oldest: date | None = None


class FeedState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One feed of the package."""

    name: str
    status: FeedStatus
    last_success_at: Instant | None = None
    last_attempt_at: Instant | None = None
    rows: int = 0
    reason: str = ""


class ControlTotal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is open by our count beside what the ledger says is receivable.

    `difference` is `ledger` - `ours` - the sum of `explained`; None where the package has no such figure.
    """

    currency: Currency
    ours: Decimal
    ledger: Decimal | None = None
    explained: dict[str, Decimal] = {}
    difference: Decimal | None = None
    compared_at: Instant | None = None
    """When the ledger was asked. A total that it confirmed stands for an hour, as long as `ours` stays the same."""


class Freshness(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the books can be trusted for chasing somebody."""

    dunning_safe_as_of: date | None
    """Up to this day it is known who paid. None: it is not known, and nothing should be escalated."""
    blocking: tuple[str, ...] = ()
    """Why `dunning_safe_as_of` is None."""
    bank_booked_until: tuple[BankJournal, ...] = ()
    bank_expected_until: date
    """The last business day before today: a bank that is booked up to it is up to date."""
    unprocessed_receipts: Receipts | None = None
    """Imported by the package and not booked. None: the package does not tell."""
    unallocated_receipts: Receipts | None = None
    """Booked on a customer and not matched."""
    ledger_read_at: Instant
    streams: tuple[FeedState, ...] = ()
    control_total: ControlTotal | None = None


class SyncCompleted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run came to its end and everything it found was sent before this event."""

    run_id: str
    started_at: Instant
    finished_at: Instant
    outcome: Literal["ok", "partial"]
    created: int = 0
    changed: int = 0
    removed: int = 0
    quarantined: int = 0
    freshness: Freshness


class SyncHeld(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change so large that it waits for a person's word; what was sent before still stands."""

    run_id: str
    reason: str
    fix: str = ""
    items: int = 0
    """How many open items would go away."""
    of_items: int = 0
    amount: Decimal | None = None
    currency: Currency | None = None


class QuarantinedItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    kind: str
    key: str
    reason: str


class Quarantined(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Items of the package that could not be used; nothing is known of them until they are repaired."""

    count: int
    items: tuple[QuarantinedItem, ...] = ()
    """Some of them, the newest first."""


class Reconciliation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Our count was compared with the ledger."""

    matches: bool
    control_total: ControlTotal
    ledger_read_at: Instant


class Linked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The administration was linked, or linked again after it had to be."""

    package: str
    administration: str
    title: str
    currency: Currency
    time_zone: str
    linked_at: Instant


class Degraded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything still arrives, but the sign-in at the package cannot be renewed and will end unless that changes."""

    package: str
    administration: str
    reason: str
    percent_left: int
    """Of the sign-in's life: 50, 25 or 10. Each is said once."""
    ends_at: Instant


class ReauthRequired(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The package refuses us until a person signs in again; the books stand still here meanwhile."""

    package: str
    administration: str
    reason: str
    since: Instant


class Restored(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said to be degraded, or to need a person, is well again; the sync goes on where it stood."""

    package: str
    administration: str
    restored_at: Instant
    ends_at: Instant | None = None
    """When the sign-in would end if nobody used it. None: it does not end by itself."""


class Signal(NamedTuple):
    """The subject of such an event is `<entity>/<administration>`."""

    entity: str
    payload: type[Struct]


SIGNALS: Final[dict[str, Signal]] = {
    events.FRESHNESS: Signal("freshness", Freshness),
    events.SYNC_COMPLETED: Signal("sync", SyncCompleted),
    events.SYNC_HELD: Signal("hold", SyncHeld),
    events.QUARANTINED: Signal("quarantine", Quarantined),
    events.RECONCILED: Signal("reconciliation", Reconciliation),
    events.LINKED: Signal("link", Linked),
    events.DEGRADED: Signal("degradation", Degraded),
    events.REAUTH_REQUIRED: Signal("reauthorization", ReauthRequired),
    events.RESTORED: Signal("restoration", Restored),
}
"""By event type. Each has an entity of its own, so that versions of different types never compete."""
