"""Receivable-side items: one ledger line with its payment terms, amounts in ledger sign. Pure.

An item is keyed by the id of its ledger line, which the terms call TransactionID; the ids of terms change when an
entry is edited, and an entry may hold several customers (sheet 0.9, 16.1).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from adapters.exactonline.kinds import CASH_FLOW, MONEY_JOURNALS, OPEN_BELOW
from connector.adapter import Fields
from connector.domain.money import ZERO, exact

OPENING, SALES, CREDIT, EXCHANGE_DIFFERENCE, PAYMENT_DIFFERENCE, OTHER = 10, 20, 21, 82, 83, 90
ADJUSTING: Final = frozenset({EXCHANGE_DIFFERENCE, PAYMENT_DIFFERENCE, OTHER})
"""Transaction types that may do nothing but close an invoice (sheet 8.5)."""

_DOCUMENTS: Final = frozenset({SALES, CREDIT})
_NOTHING: Final[Fields] = {}


@dataclass(frozen=True)
class Books:
    """What the reference rows say about every item."""

    sign: int
    """The factor that turns a term's amount into what the customer owes."""
    currency: str
    journals: Mapping[str, int]
    """Journal code -> type."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an item that is matched with something."""

    amount: Decimal
    base: Decimal
    names: int | None
    """The invoice number its term carries of another item: given when it was matched with that one only (sheet 8.6)."""
    mentions: int | None
    """The invoice number in the ledger line: what the booking was meant for, whatever it was matched with since.
    An adjustment is booked for its match, so there the two are the same."""
    reference: str | None = None
    until: str | None = None
    """Items matched with one another carry the same end date."""


class Item(msgspec.Struct, kw_only=True, eq=False):
    id: str
    line: Fields | None
    terms: Sequence[Fields]
    type: int
    journal: str | None
    currency: str
    money: bool
    """Money that came in or went out, as against something that is owed."""
    total: Decimal
    base_total: Decimal
    open: Decimal
    base_open: Decimal
    settled: Decimal
    """What has been taken off the total; negative for an invoice."""
    base_settled: Decimal
    head: Fields
    """The term that speaks for all: the first to fall due of what is open, else of all."""
    slices: Sequence[Slice] = ()

    @property
    def number(self) -> int | None:
        line, term = self.line or _NOTHING, self.terms[0] if self.terms else _NOTHING
        own = line.get("InvoiceNumber") or term.get("InvoiceNumber")
        return own or line.get("EntryNumber") or term.get("EntryNumber")

    @property
    def reference(self) -> str | None:
        return (self.line or _NOTHING).get("YourRef") or self.head.get("YourRef")

    @property
    def day(self) -> str | None:
        return (self.line or _NOTHING).get("Date") or self.head.get("InvoiceDate")

    @property
    def closed(self) -> bool:
        return not self.open and not self.base_open


class Unreadable(NamedTuple):
    """An item that cannot be understood, and what is open of it as far as that can be told."""

    id: str
    reason: str
    base_open: Decimal
    payload: object


def items(lines: Sequence[Fields], terms: Sequence[Fields], books: Books) -> Iterator[Item | Unreadable]:
    """One item per ledger line that has terms, or per transaction of terms whose line is not read yet.

    A line without terms says nothing about what is open and is passed over, unless it is of a type that only closes
    other items (sheet 8.5 leaves open whether those have terms of their own).
    """
    by_transaction: defaultdict[str, list[Fields]] = defaultdict(list)
    for term in terms:
        by_transaction[term["TransactionID"]].append(term)
    for line in lines:
        of_line = by_transaction.pop(line["ID"], [])
        if of_line or line.get("Type") in ADJUSTING:
            yield _item(line["ID"], line, of_line, books)
    for transaction, alone in by_transaction.items():
        yield _item(transaction, None, alone, books)


def _item(key: str, line: Fields | None, terms: list[Fields], books: Books) -> Item | Unreadable:
    base_open = ZERO
    try:
        open_terms = [term for term in terms if term["Status"] < OPEN_BELOW]
        if open_terms:
            base_open = books.sign * sum([Decimal(term["AmountDC"]) for term in open_terms], ZERO)
        head = line or terms[0]
        currency = head.get("Currency") or books.currency
        foreign = currency != books.currency
        open_ = books.sign * sum([_foreign(term) for term in open_terms], ZERO) if foreign else base_open
        if line is not None:
            type_, journal = line.get("Type", 0), line.get("JournalCode")
            base_total = Decimal(line["AmountDC"])
            total = _foreign(line) if foreign else base_total
        else:
            type_, journal = head.get("TransactionType", 0), head.get("Journal")
            base_total = _booked(head.get("TransactionAmountDC"), base_open)
            total = _booked(head.get("TransactionAmountFC"), open_) if foreign else base_total
        total = exact(total, currency)
        base_total = exact(base_total, books.currency) if foreign else total
        open_ = exact(open_, currency)
        base_open = exact(base_open, books.currency) if foreign else open_
        item = Item(
            id=key,
            line=line,
            terms=terms,
            type=type_,
            journal=journal,
            currency=currency,
            money=type_ == CASH_FLOW and books.journals.get(journal or "") in MONEY_JOURNALS,
            total=total,
            base_total=base_total,
            open=open_,
            base_open=base_open,
            settled=open_ - total,
            base_settled=base_open - base_total,
            head=_head(open_terms or terms),
        )
        item.slices = _slices(item, books, foreign=foreign)
    except (ValueError, ArithmeticError) as error:
        return Unreadable(key, str(error), base_open, {"line": line, "terms": terms})
    return item


def _head(terms: Sequence[Fields]) -> Fields:
    if len(terms) < 2:
        return terms[0] if terms else _NOTHING
    return min(terms, key=lambda term: str(term.get("DueDate")))


def _foreign(fields: Fields) -> Decimal:
    if "AmountFC" not in fields:
        raise ValueError("AmountFC is missing on an amount in another currency")
    return Decimal(fields["AmountFC"])


def _booked(amount: str | None, open_: Decimal) -> Decimal:
    """The amount of the whole booking while its ledger line is not read: of its sign only the size is certain."""
    if amount is None:
        return open_
    return Decimal(amount).copy_sign(open_) if open_ else Decimal(amount)


def _slices(item: Item, books: Books, *, foreign: bool) -> Sequence[Slice]:
    line = item.line or _NOTHING
    mentions = line.get("InvoiceNumber")
    if not item.terms:
        return (Slice(amount=item.total, base=item.base_total, names=mentions, mentions=mentions),)
    slices = []
    for term in item.terms:
        if term["Status"] < OPEN_BELOW:
            continue
        base = books.sign * Decimal(term["AmountDC"])
        own = line.get("EntryNumber") or term.get("EntryNumber") if item.type in _DOCUMENTS else None
        names = term.get("InvoiceNumber")
        if names is None and item.type in ADJUSTING:
            names = mentions
        slices.append(
            Slice(
                amount=books.sign * _foreign(term) if foreign else base,
                base=base,
                names=None if names == own else names,
                mentions=None if mentions == own else mentions,
                reference=(term.get("YourRef") or line.get("YourRef")) if item.money else None,
                until=term.get("EndDate"),
            )
        )
    return slices
