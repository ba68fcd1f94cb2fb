"""Bookings as SnelStart keeps them: money and memorial lines point at the invoices they settle (sheet 5.4, 5.5).

The books match items with one another; here the same matches are lines of bookings. Nothing is stored: a booking
is read from the books when it is asked for, so that both always say the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from adapters.simulation.books import Books
from adapters.simulation.ledger import AccountKind, Entry, EntryKind, JournalKind, LedgerAccount
from adapters.simulation.matching import Item, ItemKind, Match
from adapters.simulation.relations import Customer
from adapters.snelstart.simulator.chart import Chart
from adapters.snelstart.simulator.settings import SimulatorSettings

SHOWN = frozenset({ItemKind.INVOICE, ItemKind.CREDIT_NOTE, ItemKind.OPENING_BALANCE})
"""What is a verkoopfactuur; other items are lines of the bookings that settle these."""
_FIRST_SALES_JOURNAL: Final = "70"


class BookingKind(StrEnum):
    SALE = "verkoopboekingen"
    PURCHASE = "inkoopboekingen"
    BANK = "bankboekingen"
    CASH = "kasboekingen"
    MEMORIAL = "memoriaalboekingen"
    OPENING = "beginbalans"


@dataclass(frozen=True, slots=True)
class Posting:
    """A line; debit is positive. `invoice` is the one it settles, as far as a line can point at it."""

    account: LedgerAccount
    amount: Decimal
    text: str
    invoice: Item | None = None
    number: str | None = None
    customer: Customer | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """`of` is the entry it stands for, or the match of items that no entry brought about."""

    id: str
    kind: BookingKind
    of: Entry | Match
    on: date
    modified: datetime
    journal: LedgerAccount
    text: str
    number: str


@dataclass(slots=True, eq=False)
class Offset:
    """A memorial booking that sets invoices off against one another, such as a credit note against its invoice."""

    id: str
    match: Match
    booked: datetime


def has_booking(item: Item) -> bool:
    """Whether it is an invoice that other bookings can point at; opening balances are not (sheet 13.6)."""
    return item.kind in {ItemKind.INVOICE, ItemKind.CREDIT_NOTE}


def number_of(item: Item) -> str:
    """The number printed on it. The books number per journal, SnelStart knows no number twice (BOE-0021)."""
    journal = item.line.entry.journal.code
    return str(item.number) if journal == _FIRST_SALES_JOURNAL else f"{journal}-{item.number}"


class Postings:
    """Reads bookings from the books. `offsets` and `chargebacks` are kept by who follows the changes."""

    def __init__(self, books: Books, chart: Chart, settings: SimulatorSettings) -> None:
        self._books = books
        self._chart = chart
        self._settings = settings
        self.offsets: dict[str, Offset] = {}
        self.chargebacks: dict[int, tuple[Match, Item]] = {}
        """Matches of money with money returned, and the invoice that both were about."""
        self.touched: dict[str, datetime] = {}
        """Entries whose lines changed although nothing of their own did."""

    def booking(self, entry: Entry) -> Booking:
        kind, journal = self._kind(entry)
        return Booking(entry.id, kind, entry, entry.on, self._modified(entry), journal, entry.text, str(entry.number))

    def of_offset(self, offset: Offset) -> Booking:
        text, journal = "Verrekening", self._chart.memorial
        match, number = offset.match, offset.id[:8]
        return Booking(offset.id, BookingKind.MEMORIAL, match, match.date, offset.booked, journal, text, number)

    def all(self) -> Iterator[Booking]:
        yield from map(self.booking, self._books.ledger.entries.values())
        yield from map(self.of_offset, self.offsets.values())

    def postings(self, booking: Booking) -> list[Posting]:
        """Every line, that of the journal's own account included. They come to nothing."""
        if isinstance(booking.of, Match):
            return [self._settling(part.item, -part.amount, booking.text) for part in booking.of.parts]
        items = self._books.matching.items
        found: list[Posting] = []
        for line in booking.of.lines:
            item = items.get(line.id)
            if item is None or item.kind in SHOWN:
                number = number_of(item) if item else None
                found.append(Posting(line.account, line.base, line.text, None, number, line.customer))
            else:
                found += self._settlements(item)
        return found

    def open(self, invoice: Item) -> Decimal:
        """`openstaandSaldo`: what the books have open, less what was paid too much."""
        return invoice.open + sum(
            (
                part.item.open
                for match in invoice.matches
                for part in match.parts
                if self._overpaid(part.item) is invoice
            ),
            Decimal(0),
        )

    def links(self, entry: Entry) -> list[tuple[Item, Decimal]]:
        """The invoices that a money booking points at, and what it does to what is open of them."""
        found = self.postings(self.booking(entry))
        return [(posting.invoice, posting.amount) for posting in found if posting.invoice is not None]

    def _kind(self, entry: Entry) -> tuple[BookingKind, LedgerAccount]:
        journal = entry.journal
        if entry.kind is EntryKind.OPENING:
            return BookingKind.OPENING, self._chart.opening
        if journal.account is not None and journal.kind in {JournalKind.BANK, JournalKind.CASH}:
            return BookingKind.BANK if journal.kind is JournalKind.BANK else BookingKind.CASH, journal.account
        if journal.kind is JournalKind.SALES:
            return BookingKind.SALE, entry.lines[0].account
        if journal.kind is JournalKind.PURCHASE:
            return BookingKind.PURCHASE, self._books.ledger.account(AccountKind.PAYABLE)
        return BookingKind.MEMORIAL, self._chart.memorial

    def _modified(self, entry: Entry) -> datetime:
        """Matching moves lines of the booking that settles, so it changes with its item."""
        moments = [entry.modified]
        if entry.id in self.touched:
            moments.append(self.touched[entry.id])
        for line in entry.lines:
            item = self._books.matching.items.get(line.id)
            if item is not None and item.kind not in SHOWN:
                moments.append(item.modified)
        return max(moments)

    def _settlements(self, item: Item) -> list[Posting]:
        """What one line on the receivables account of the books is here: a line for each thing it settles."""
        text = item.line.text
        found: list[Posting] = []
        for match in item.matches:
            own = match.part(item)
            charged = [part for part in match.parts if part.item.kind in SHOWN]
            about = self.chargebacks.get(id(match))
            if about is not None:
                found.append(self._settling(about[1], own.amount, text))
            elif charged and item is _payer(match):
                found += [self._settling(part.item, -part.amount, text) for part in charged]
                if rest := own.amount + sum(part.amount for part in charged):
                    found.append(self._unlinked(item, rest, text))
            else:
                found.append(self._unlinked(item, own.amount, text))
        if item.open:
            overpaid = self._overpaid(item)
            found.append(
                self._settling(overpaid, item.open, text) if overpaid else self._unlinked(item, item.open, text)
            )
        return found

    def _settling(self, invoice: Item, amount: Decimal, text: str) -> Posting:
        pointed = invoice if has_booking(invoice) else None
        return Posting(invoice.line.account, amount, text, pointed, number_of(invoice), invoice.customer)

    def _unlinked(self, item: Item, amount: Decimal, text: str) -> Posting:
        straight = self._settings.unlinked_on_receivables or item.kind is ItemKind.JOURNAL
        return Posting(item.line.account if straight else self._chart.unknown_payments, amount, text)

    def _overpaid(self, item: Item) -> Item | None:
        """The invoice that more was paid on than it came to: the rest stays on it, below zero."""
        number = item.line.invoice_number
        if item.kind is not ItemKind.RECEIPT or number is None or not item.open:
            return None
        for match in item.matches:
            for part in match.parts:
                if has_booking(part.item) and part.item.number == number:
                    return part.item
        return None


def _payer(match: Match) -> Item:
    """The money that settles the invoices of a match; other money in it, such as a refund, is settled by that money."""
    money = [part for part in match.parts if part.item.kind not in SHOWN]
    return max(money, key=lambda part: abs(part.amount)).item
