"""What is charged to customers: invoices, credit notes, opening balances, and purchases beside them."""

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.simulation.documents import FileKind
from adapters.simulation.ledger import AccountKind, Draft, Entry, EntryKind, cents, in_base
from adapters.simulation.matching import Item, ItemKind
from adapters.simulation.relations import Customer

if TYPE_CHECKING:  # the books are made of these acts
    from adapters.simulation.books import Books


class Sales:
    """Bookings in the sales, purchase and opening journals."""

    def __init__(self, books: "Books") -> None:
        self._books = books

    def invoice(
        self,
        customer: Customer,
        net: Decimal,
        *,
        on: date | None = None,
        vat: int = 21,
        journal: str = "70",
        currency: str | None = None,
        rate: Decimal = Decimal(1),
        text: str = "Diensten",
        reference: str | None = None,
        order_number: int | None = None,
        due_date: date | None = None,
        blocked: Decimal | None = None,
        files: tuple[FileKind, ...] = (FileKind.PDF,),
    ) -> Item:
        """Book an invoice of `net` plus `vat` per cent. `blocked` is the part payable to a G-account.

        A negative `net` is a credit written as a negative invoice, as many administrations do.
        """
        kind = ItemKind.INVOICE if net > 0 else ItemKind.CREDIT_NOTE
        return self._book(
            customer,
            net,
            EntryKind.SALES,
            kind,
            on=on,
            vat=vat,
            journal=journal,
            currency=currency,
            rate=rate,
            text=text,
            reference=reference,
            order_number=order_number,
            due_date=due_date,
            blocked=blocked,
            files=files,
        )

    def credit_note(
        self, invoice: Item, amount: Decimal | None = None, *, on: date | None = None, match: bool = True
    ) -> Item:
        """Credit (part of) an invoice, VAT included, and match it with what is still open of it."""
        books = self._books
        entry = invoice.line.entry
        gross = min(amount or invoice.total, invoice.total)
        vat = _vat_percentage(entry)
        net = cents(gross * 100 / (100 + vat))
        credit = self._book(
            invoice.customer,
            -net,
            EntryKind.CREDIT_NOTE,
            ItemKind.CREDIT_NOTE,
            on=on,
            vat=vat,
            gross=-gross,
            journal=entry.journal.code if entry.kind is EntryKind.SALES else "70",
            currency=entry.currency,
            rate=entry.rate,
            text=f"Credit {invoice.number}",
            reference=entry.reference,
        )
        closing = min(gross, invoice.open)
        if match and closing > 0:
            slices = [(invoice, closing), (credit, -closing)]
            books.matching.match(slices, credit.line.entry.on, books.clock.now())
        return credit

    def opening_balance(
        self, customer: Customer, amount: Decimal, *, on: date, due_date: date, number: int | None = None
    ) -> Item:
        """Bring in what a customer owed (or had to its credit) before these books began."""
        books = self._books
        ledger = books.ledger
        at = books.clock.now()
        entry = ledger.post(
            ledger.journals["00"],
            EntryKind.OPENING,
            on,
            [
                Draft(ledger.account(AccountKind.EQUITY), -amount),
                Draft(customer.receivable, amount, customer, invoice_number=number),
            ],
            at=at,
            text="Beginbalans",
            due_date=due_date,
        )
        return books.matching.add(entry.lines[1], ItemKind.OPENING_BALANCE, due_date, at)

    def journal(self, customer: Customer, amount: Decimal, *, text: str, on: date | None = None) -> Item:
        """Book an amount on a customer by hand, against revenue."""
        books = self._books
        ledger = books.ledger
        at, day = books.clock.now(), on or books.today
        entry = ledger.post(
            ledger.journals["90"],
            EntryKind.GENERAL,
            day,
            [
                Draft(ledger.account(AccountKind.REVENUE), -amount),
                Draft(customer.receivable, amount, customer),
            ],
            at=at,
            text=text,
        )
        return books.matching.add(entry.lines[1], ItemKind.JOURNAL, day, at)

    def unassigned(self, amount: Decimal, *, text: str = "Correctie debiteuren") -> Entry:
        """Book on the control account without naming a customer: a balance that no item explains."""
        books = self._books
        ledger = books.ledger
        return ledger.post(
            ledger.journals["90"],
            EntryKind.GENERAL,
            books.today,
            [
                Draft(ledger.account(AccountKind.RECEIVABLE), amount),
                Draft(ledger.account(AccountKind.REVENUE), -amount),
            ],
            at=books.clock.now(),
            text=text,
        )

    def purchase(self, supplier: Customer, net: Decimal, *, on: date | None = None) -> Entry:
        """Book a supplier's invoice: payable, and none of a dunning service's business."""
        books = self._books
        ledger = books.ledger
        tax = cents(net * 21 / 100)
        day = on or books.today
        return ledger.post(
            ledger.journals["60"],
            EntryKind.PURCHASE,
            day,
            [
                Draft(ledger.account(AccountKind.PAYABLE), -net - tax, supplier),
                Draft(ledger.account(AccountKind.COSTS), net),
                Draft(ledger.accounts["1520"], tax),
            ],
            at=books.clock.now(),
            text="Inkoop",
            due_date=supplier.condition.due(day),
            condition=supplier.condition.code,
        )

    def _book(
        self,
        customer: Customer,
        net: Decimal,
        kind: EntryKind,
        item_kind: ItemKind,
        *,
        on: date | None,
        vat: int,
        journal: str,
        currency: str | None,
        rate: Decimal,
        text: str,
        reference: str | None = None,
        order_number: int | None = None,
        due_date: date | None = None,
        gross: Decimal | None = None,
        blocked: Decimal | None = None,
        files: tuple[FileKind, ...] = (FileKind.PDF,),
    ) -> Item:
        books = self._books
        ledger = books.ledger
        at, day = books.clock.now(), on or books.today
        total = gross if gross is not None else net + cents(net * vat / 100)
        tax = total - net
        due = due_date or customer.condition.due(day)
        base, base_tax = in_base(total, rate), in_base(tax, rate)
        drafts = [
            Draft(customer.receivable, total, customer, base),
            Draft(ledger.account(AccountKind.REVENUE), -net, customer, base_tax - base),
        ]
        if tax:
            drafts.append(Draft(ledger.account(AccountKind.VAT), -tax, customer, -base_tax))
        entry = ledger.post(
            ledger.journals[journal],
            kind,
            day,
            drafts,
            at=at,
            currency=currency,
            rate=rate,
            text=text,
            due_date=due,
            reference=reference,
            condition=customer.condition.code,
            order_number=order_number,
        )
        entry.blocked_amount = blocked
        if files:
            books.documents.add(entry, customer, files, at)
        return books.matching.add(entry.lines[0], item_kind, due, at)


def _vat_percentage(entry: Entry) -> int:
    tax = sum(line.amount for line in entry.lines if line.account.kind is AccountKind.VAT)
    net = sum(line.amount for line in entry.lines if line.account.kind is AccountKind.REVENUE)
    return round(100 * tax / net) if net else 0
