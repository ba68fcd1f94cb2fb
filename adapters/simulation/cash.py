"""Money in and out: receipts, refunds, suspense, direct debits, and what is written off."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.simulation.ledger import (
    ZERO,
    AccountKind,
    BookkeepingError,
    Draft,
    Entry,
    EntryKind,
    JournalKind,
    Line,
    cents,
    in_base,
)
from adapters.simulation.matching import Collection, Item, ItemKind
from adapters.simulation.relations import Customer

if TYPE_CHECKING:  # the books are made of these acts
    from adapters.simulation.books import Books


class Cash:
    """Bookings in the bank and cash journals, and the matches they bring about."""

    def __init__(self, books: "Books") -> None:
        self._books = books
        self._batch = 0

    def receive(
        self,
        customer: Customer,
        amount: Decimal,
        *,
        of: Sequence[tuple[Item, Decimal]] = (),
        on: date | None = None,
        journal: str = "20",
        rate: Decimal | None = None,
        discount: Decimal = ZERO,
        text: str | None = None,
    ) -> Item:
        """Book money from a customer and match it with what it was for; the rest stays on account.

        `amount` is what reached the bank; `discount` is what the customer was allowed to keep.
        """
        books = self._books
        paid = books.ledger.journals[journal]
        named = of[0][0] if len(of) == 1 else None
        about = of[0][0].line.entry if of else None
        currency = about.currency if about else books.administration.currency
        if paid.account is None or paid.kind not in {JournalKind.BANK, JournalKind.CASH}:
            raise BookkeepingError(f"journal {journal} holds no money")
        rate = rate or (about.rate if about else Decimal(1))
        base, base_discount = in_base(amount, rate), in_base(discount, rate)
        drafts = [
            Draft(paid.account, amount, base=base),
            Draft(
                of[0][0].line.account if of else customer.receivable,
                -amount - discount,
                customer,
                -base - base_discount,
                invoice_number=named.number if named else None,
                discount=discount or None,
            ),
        ]
        if discount:
            drafts.append(Draft(books.ledger.account(AccountKind.DISCOUNT), discount, base=base_discount))
        entry = self._book(
            journal,
            on,
            drafts,
            currency=currency,
            rate=rate,
            text=text or (about.text if about and named else f"Betaling {customer.name}"),
            reference=about.reference if about and named else None,
        )
        receipt = self._item(entry.lines[1], ItemKind.RECEIPT)
        if of:
            closed = sum((part for _, part in of), ZERO)
            books.matching.match([*of, (receipt, -closed)], entry.on, books.clock.now())
        return receipt

    def refund(self, credit: Item, *, on: date | None = None, journal: str = "20") -> Item:
        """Pay back what stands open to the customer's credit."""
        books = self._books
        if credit.open >= 0:
            raise BookkeepingError(f"item {credit.number} has nothing to pay back")
        account = books.ledger.journals[journal].account
        assert account is not None
        about = credit.line.entry
        entry = self._book(
            journal,
            on,
            [
                Draft(account, credit.open),
                Draft(credit.line.account, -credit.open, credit.customer, invoice_number=credit.number),
            ],
            currency=about.currency,
            rate=about.rate,
            text=f"Terugbetaling {credit.number}",
        )
        refund = self._item(entry.lines[1], ItemKind.REFUND)
        slices = [(credit, credit.open), (refund, refund.open)]
        books.matching.match(slices, entry.on, books.clock.now())
        return refund

    def suspense(self, amount: Decimal, *, on: date | None = None, text: str = "Onbekende betaling") -> Entry:
        """Book money of which nobody knows yet whose it is."""
        ledger = self._books.ledger
        drafts = [
            Draft(ledger.account(AccountKind.BANK), amount),
            Draft(ledger.account(AccountKind.SUSPENSE), -amount),
        ]
        return self._book("20", on, drafts, text=text)

    def allocate(self, suspense: Entry, customer: Customer) -> Item:
        """Name the customer whose money lay on the suspense account."""
        books = self._books
        line = suspense.lines[1]
        if line.account.kind is not AccountKind.SUSPENSE:
            raise BookkeepingError(f"entry {suspense.number} is not in suspense")
        at = books.clock.now()
        with books.ledger.amending(suspense, at):
            line.account, line.customer = customer.receivable, customer
        return self._item(line, ItemKind.RECEIPT)

    def write_off(self, item: Item, amount: Decimal | None = None, *, by_journal: bool = False) -> Item:
        """Give up (part of) what is open.

        At matching the difference is booked by the package itself; `by_journal` is a bookkeeper's own entry,
        which reclaims the VAT.
        """
        books = self._books
        ledger = books.ledger
        given_up = amount or item.open
        about = item.line.entry
        lost = ledger.account(AccountKind.WRITE_OFF)
        drafts = [Draft(item.line.account, -given_up, item.customer, invoice_number=item.number)]
        tax = cents(given_up * 21 / 121) if by_journal else ZERO
        base, base_tax = in_base(given_up, about.rate), in_base(tax, about.rate)
        drafts.append(Draft(lost, given_up - tax, base=base - base_tax))
        if tax:
            drafts.append(Draft(ledger.account(AccountKind.VAT), tax, base=base_tax))
        at = books.clock.now()
        entry = ledger.post(
            ledger.journals["90" if by_journal else "93"],
            EntryKind.GENERAL if by_journal else EntryKind.PAYMENT_DIFFERENCE,
            books.today,
            drafts,
            at=at,
            currency=about.currency,
            rate=about.rate,
            text=f"Afboeking {item.number}",
        )
        written_off = self._item(entry.lines[0], ItemKind.WRITE_OFF)
        books.matching.match([(item, given_up), (written_off, -given_up)], books.today, at)
        return written_off

    def send_direct_debit(self, items: Sequence[Item]) -> int:
        """Hand the bank a collection file; answers its batch number."""
        if any(item.open <= 0 or item.customer.mandate is None for item in items):
            raise BookkeepingError("a direct debit needs an open amount and a mandate")
        self._batch += 1
        for item in items:
            item.collection, item.batch = Collection.SENT, self._batch
        self._books.matching.touch(items, self._books.clock.now())
        return self._batch

    def select_direct_debit(self, items: Sequence[Item]) -> None:
        """Put items on the list for the next collection file."""
        for item in items:
            item.collection = Collection.SELECTED
        self._books.matching.touch(items, self._books.clock.now())

    def collect(self, item: Item) -> Item:
        """Book the money that a direct debit brought."""
        if item.collection is not Collection.SENT:
            raise BookkeepingError(f"item {item.number} was not sent for collection")
        return self.receive(item.customer, item.open, of=[(item, item.open)], text=f"Incasso {item.number}")

    def return_direct_debit(self, item: Item) -> Item | None:
        """Reopen what was collected, or give up what was only sent.

        A debit already booked comes back as money out, matched with the receipt it takes back.
        """
        books = self._books
        at = books.clock.now()
        if item.collection is not None:
            item.collection = None
            books.matching.touch([item], at)
            return None
        match = next(
            (match for match in item.matches if any(part.item.kind is ItemKind.RECEIPT for part in match.parts)),
            None,
        )
        if match is None:
            raise BookkeepingError(f"item {item.number} was not collected")
        receipt = next(part.item for part in match.parts if part.item.kind is ItemKind.RECEIPT)
        books.matching.unmatch(match, at)
        return self.refund(receipt)

    def _book(
        self,
        journal: str,
        on: date | None,
        drafts: Sequence[Draft],
        *,
        currency: str | None = None,
        rate: Decimal = Decimal(1),
        text: str,
        reference: str | None = None,
    ) -> Entry:
        books = self._books
        return books.ledger.post(
            books.ledger.journals[journal],
            EntryKind.CASH_FLOW,
            on or books.today,
            drafts,
            at=books.clock.now(),
            currency=currency,
            rate=rate,
            text=text,
            reference=reference,
        )

    def _item(self, line: Line, kind: ItemKind) -> Item:
        return self._books.matching.add(line, kind, line.entry.on, self._books.clock.now())
