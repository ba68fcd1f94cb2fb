"""Open items on the receivable accounts, and the matches that close them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from adapters.simulation.changes import Action, ChangeLog, Subject
from adapters.simulation.ledger import (
    ZERO,
    AccountKind,
    BookkeepingError,
    Draft,
    EntryKind,
    Journal,
    Ledger,
    Line,
    cents,
)
from adapters.simulation.relations import Customer


class ItemKind(StrEnum):
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    OPENING_BALANCE = "opening_balance"
    RECEIPT = "receipt"
    REFUND = "refund"
    WRITE_OFF = "write_off"
    EXCHANGE_DIFFERENCE = "exchange_difference"
    JOURNAL = "journal"


class Collection(StrEnum):
    """How far a direct debit for an item has come."""

    SELECTED = "selected"
    SENT = "sent"


@dataclass(slots=True, eq=False)
class Item:
    """One line on a receivable account. Positive means the customer owes."""

    line: Line
    kind: ItemKind
    due_date: date
    open: Decimal
    base_open: Decimal
    modified: datetime
    matches: tuple["Match", ...] = ()
    collection: Collection | None = None
    batch: int | None = None

    @property
    def id(self) -> str:
        return self.line.id

    @property
    def customer(self) -> Customer:
        assert self.line.customer is not None
        return self.line.customer

    @property
    def total(self) -> Decimal:
        return self.line.amount

    @property
    def number(self) -> int:
        return self.line.invoice_number or self.line.entry.number


class Part(NamedTuple):
    item: Item
    amount: Decimal
    base: Decimal


@dataclass(slots=True, eq=False)
class Match:
    """Items, or slices of them, that together come to nothing."""

    date: date
    parts: list[Part]

    def part(self, item: Item) -> Part:
        return next(part for part in self.parts if part.item is item)


class Matching:
    """Every item by id; which are open; who has which."""

    def __init__(self, changes: ChangeLog, ledger: Ledger, differences: Journal) -> None:
        self._changes = changes
        self._ledger = ledger
        self._differences = differences
        self.items: dict[str, Item] = {}
        self.open: dict[str, Item] = {}
        self.of_customer: defaultdict[str, dict[str, Item]] = defaultdict(dict)

    def add(self, line: Line, kind: ItemKind, due_date: date, at: datetime) -> Item:
        if line.customer is None or line.account.kind is not AccountKind.RECEIVABLE:
            raise BookkeepingError("an item is a customer's line on a receivable account")
        item = Item(line, kind, due_date, line.amount, line.base, at)
        self.items[item.id] = self.open[item.id] = item
        self.of_customer[line.customer.id][item.id] = item
        self._changes.record(Subject.ITEM, Action.ADDED, item, at)
        return item

    def remove(self, item: Item, at: datetime) -> None:
        if item.matches:
            raise BookkeepingError(f"item {item.number} is matched")
        del self.items[item.id]
        self.open.pop(item.id, None)
        del self.of_customer[item.customer.id][item.id]
        self._changes.record(Subject.ITEM, Action.REMOVED, item, at)

    def match(self, slices: Sequence[tuple[Item, Decimal]], on: date, at: datetime) -> Match:
        """Close these slices against each other.

        They have to come to nothing in their currency. What is left in the administration's currency is
        booked as an exchange difference and joins the match.
        """
        parts = [self._part(item, amount) for item, amount in slices]
        if sum(part.amount for part in parts):
            raise BookkeepingError("a match has to come to nothing")
        customers = {part.item.customer for part in parts}
        currencies = {part.item.line.entry.currency for part in parts}
        if len(customers) > 1 or len(currencies) > 1:
            raise BookkeepingError("a match is of one customer in one currency")
        left = sum((part.base for part in parts), Decimal(0))
        if left:
            difference = self._book_difference(parts[0].item, -left, on, at)
            parts.append(Part(difference, difference.total, difference.base_open))
        match = Match(on, parts)
        for part in parts:
            part.item.matches += (match,)
            self._move(part, -1, at)
        return match

    def unmatch(self, match: Match, at: datetime) -> None:
        """Open the slices again; differences that only this match needed are taken back."""
        for part in match.parts:
            part.item.matches = tuple(kept for kept in part.item.matches if kept is not match)
            self._move(part, 1, at)
        made_by_matching = {EntryKind.EXCHANGE_DIFFERENCE, EntryKind.PAYMENT_DIFFERENCE}
        for part in match.parts:
            if part.item.line.entry.kind in made_by_matching:
                self.remove(part.item, at)
                self._ledger.remove(part.item.line.entry, at)

    def touch(self, items: Iterable[Item], at: datetime, action: Action = Action.CHANGED) -> None:
        """Record that these items were changed by hand."""
        for item in items:
            item.modified = at
            self._changes.record(Subject.ITEM, action, item, at)

    def revalue(self, item: Item, at: datetime) -> None:
        """Take over an unmatched item's amounts from its edited line."""
        if item.matches:
            raise BookkeepingError(f"item {item.number} is matched")
        item.open, item.base_open = item.line.amount, item.line.base
        self.touch([item], at, Action.EDITED)

    def reassign(self, item: Item, customer: Customer, at: datetime) -> None:
        del self.of_customer[item.customer.id][item.id]
        item.line.customer = customer
        self.of_customer[customer.id][item.id] = item
        self.touch([item], at, Action.EDITED)

    def _part(self, item: Item, amount: Decimal) -> Part:
        if abs(amount) > abs(item.open) or amount * item.open <= 0:
            raise BookkeepingError(f"{amount} cannot be matched on item {item.number}: {item.open} is open")
        if amount == item.open:
            return Part(item, amount, item.base_open)
        return Part(item, amount, cents(item.line.base * amount / item.total))

    def _move(self, part: Part, sign: int, at: datetime) -> None:
        item = part.item
        # the one ZERO, because most items end at nothing and there may be a great many
        item.open = item.open + sign * part.amount or ZERO
        item.base_open = item.base_open + sign * part.base or ZERO
        item.modified = at
        if item.open or item.base_open:
            self.open[item.id] = item
        else:
            self.open.pop(item.id, None)
            item.collection = None
        self._changes.record(Subject.ITEM, Action.CHANGED, item, at)

    def _book_difference(self, about: Item, base: Decimal, on: date, at: datetime) -> Item:
        counter = self._ledger.account(AccountKind.EXCHANGE_DIFFERENCE)
        entry = self._ledger.post(
            self._differences,
            EntryKind.EXCHANGE_DIFFERENCE,
            on,
            [
                Draft(about.line.account, ZERO, about.customer, base, invoice_number=about.number),
                Draft(counter, ZERO, base=-base),
            ],
            at=at,
            currency=about.line.entry.currency,
            text=f"Koersverschil {about.number}",
        )
        return self.add(entry.lines[0], ItemKind.EXCHANGE_DIFFERENCE, on, at)
