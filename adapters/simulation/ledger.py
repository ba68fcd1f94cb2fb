"""The general ledger: accounts, journals, and entries whose lines always balance."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from adapters.simulation.changes import Action, ChangeLog, Ids, Subject

if TYPE_CHECKING:  # relations name their control account, lines name their relation
    from adapters.simulation.relations import Customer

CENT = Decimal("0.01")
ZERO = Decimal("0.00")


class BookkeepingError(ValueError):
    """The books refuse: it would leave them wrong."""


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def in_base(amount: Decimal, rate: Decimal) -> Decimal:
    """The amount in the administration's currency."""
    return amount if rate == 1 else cents(amount * rate)


class AccountKind(StrEnum):
    """What an account is for, whatever number and name a chart gives it."""

    RECEIVABLE = "receivable"
    PAYABLE = "payable"
    BANK = "bank"
    CASH = "cash"
    SUSPENSE = "suspense"
    IN_TRANSIT = "in_transit"
    VAT = "vat"
    REVENUE = "revenue"
    COSTS = "costs"
    WRITE_OFF = "write_off"
    DISCOUNT = "discount"
    EXCHANGE_DIFFERENCE = "exchange_difference"
    EQUITY = "equity"


class JournalKind(StrEnum):
    SALES = "sales"
    PURCHASE = "purchase"
    BANK = "bank"
    CASH = "cash"
    GENERAL = "general"


class EntryKind(StrEnum):
    OPENING = "opening"
    SALES = "sales"
    CREDIT_NOTE = "credit_note"
    PURCHASE = "purchase"
    CASH_FLOW = "cash_flow"
    EXCHANGE_DIFFERENCE = "exchange_difference"
    PAYMENT_DIFFERENCE = "payment_difference"
    GENERAL = "general"


@dataclass(slots=True, eq=False)
class LedgerAccount:
    id: str
    code: str
    name: str
    kind: AccountKind
    created: datetime


@dataclass(slots=True, eq=False)
class Journal:
    id: str
    code: str
    name: str
    kind: JournalKind
    created: datetime
    account: LedgerAccount | None = None
    iban: str | None = None
    bic: str | None = None


class Draft(NamedTuple):
    """A line to be booked. `base` is in the administration's currency; left out, the entry's rate decides."""

    account: LedgerAccount
    amount: Decimal
    customer: "Customer | None" = None
    base: Decimal | None = None
    text: str | None = None
    invoice_number: int | None = None
    discount: Decimal | None = None


@dataclass(slots=True, eq=False)
class Line:
    """Debit is positive, in the entry's currency (`amount`) and in the administration's (`base`)."""

    id: str
    entry: "Entry"
    position: int
    account: LedgerAccount
    amount: Decimal
    base: Decimal
    customer: "Customer | None"
    text: str
    invoice_number: int | None
    discount: Decimal | None


@dataclass(slots=True, eq=False)
class Entry:
    id: str
    number: int
    journal: Journal
    kind: EntryKind
    on: date
    currency: str
    rate: Decimal
    created: datetime
    modified: datetime
    text: str = ""
    due_date: date | None = None
    reference: str | None = None
    payment_reference: str | None = None
    order_number: int | None = None
    condition: str | None = None
    blocked_amount: Decimal | None = None
    lines: list[Line] = field(default_factory=list)


class Ledger:
    """Accounts and journals by code, entries and lines by id, and the sums that reports ask for."""

    def __init__(self, ids: Ids, changes: ChangeLog, currency: str) -> None:
        self._ids = ids
        self._changes = changes
        self._currency = currency
        self._numbers: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.accounts: dict[str, LedgerAccount] = {}
        self.journals: dict[str, Journal] = {}
        self.entries: dict[str, Entry] = {}
        self.lines: dict[str, Line] = {}
        self.totals: defaultdict[tuple[str, int, int, EntryKind], Decimal] = defaultdict(lambda: ZERO)
        """Per account code, year, month and kind of entry, in the administration's currency."""

    def open_account(self, code: str, name: str, kind: AccountKind, at: datetime) -> LedgerAccount:
        account = LedgerAccount(self._ids.new(), code, name, kind, at)
        self.accounts[code] = account
        self._changes.record(Subject.ACCOUNT, Action.ADDED, account, at)
        return account

    def open_journal(
        self,
        code: str,
        name: str,
        kind: JournalKind,
        at: datetime,
        *,
        account: str | None = None,
        iban: str | None = None,
        bic: str | None = None,
    ) -> Journal:
        counter = self.accounts[account] if account else None
        journal = Journal(self._ids.new(), code, name, kind, at, counter, iban, bic)
        self.journals[code] = journal
        self._changes.record(Subject.JOURNAL, Action.ADDED, journal, at)
        return journal

    def account(self, kind: AccountKind) -> LedgerAccount:
        """The first account of that kind."""
        return next(account for account in self.accounts.values() if account.kind is kind)

    def balance(self, kind: AccountKind) -> Decimal:
        codes = {account.code for account in self.accounts.values() if account.kind is kind}
        return sum((total for key, total in self.totals.items() if key[0] in codes), ZERO)

    def post(
        self,
        journal: Journal,
        kind: EntryKind,
        on: date,
        drafts: Sequence[Draft],
        *,
        at: datetime,
        currency: str | None = None,
        rate: Decimal = Decimal(1),
        text: str = "",
        due_date: date | None = None,
        reference: str | None = None,
        condition: str | None = None,
        order_number: int | None = None,
    ) -> Entry:
        """Book one entry, or raise `BookkeepingError` when its lines do not add up to nothing.

        A line without a text takes the entry's; in a sales entry lines without a number take its own.
        """
        entry = Entry(
            self._ids.new(),
            self._next_number(journal, on),
            journal,
            kind,
            on,
            currency or self._currency,
            rate,
            at,
            at,
            text,
            due_date,
            reference,
            condition=condition,
            order_number=order_number,
        )
        named = entry.number if kind in {EntryKind.SALES, EntryKind.CREDIT_NOTE, EntryKind.PURCHASE} else None
        for position, draft in enumerate(drafts):
            base = draft.base
            if base is None:
                base = in_base(draft.amount, rate)
            elif base == draft.amount:
                base = draft.amount  # kept once
            entry.lines.append(
                Line(
                    self._ids.new(),
                    entry,
                    position,
                    draft.account,
                    draft.amount,
                    base,
                    draft.customer,
                    draft.text or text,
                    draft.invoice_number or named,
                    draft.discount,
                )
            )
        self._must_balance(entry)
        self.entries[entry.id] = entry
        for line in entry.lines:
            self.lines[line.id] = line
        self._add(entry, 1)
        self._changes.record(Subject.ENTRY, Action.ADDED, entry, at)
        return entry

    @contextmanager
    def amending(self, entry: Entry, at: datetime, action: Action = Action.EDITED) -> Iterator[Entry]:
        """Change a booked entry in place; it has to balance again at the end."""
        self._add(entry, -1)
        yield entry
        self._must_balance(entry)
        self._add(entry, 1)
        entry.modified = at
        self._changes.record(Subject.ENTRY, action, entry, at)

    def remove(self, entry: Entry, at: datetime) -> None:
        del self.entries[entry.id]
        for line in entry.lines:
            del self.lines[line.id]
        self._add(entry, -1)
        self._changes.record(Subject.ENTRY, Action.REMOVED, entry, at)

    def _next_number(self, journal: Journal, on: date) -> int:
        key = (journal.code, on.year)
        self._numbers[key] += 1
        return on.year % 100 * 1_000_000 + self._numbers[key]

    def _add(self, entry: Entry, sign: int) -> None:
        year, month = entry.on.year, entry.on.month
        for line in entry.lines:
            self.totals[line.account.code, year, month, entry.kind] += sign * line.base

    def _must_balance(self, entry: Entry) -> None:
        if sum(line.base for line in entry.lines) or sum(line.amount for line in entry.lines):
            raise BookkeepingError(f"entry {entry.number} in journal {entry.journal.code} does not balance")
