"""Acts that charge customers, and acts that think better of it."""

from datetime import date, timedelta
from decimal import Decimal

from adapters.simulation.acts import Done, done, money, whose
from adapters.simulation.books import Books
from adapters.simulation.choices import Choices
from adapters.simulation.ledger import BookkeepingError, Entry, EntryKind, cents
from adapters.simulation.matching import ItemKind
from adapters.simulation.relations import Role


class ChargeActs:
    """Invoices, credits, opening balances; edits and deletions of what was booked."""

    def __init__(self, books: Books, choose: Choices) -> None:
        self._books = books
        self._choose = choose

    def invoice(self, customer: str | None = None, amount: str | None = None, on: str | None = None) -> Done:
        """Book an invoice; `amount` is before VAT."""
        debtor = self._choose.customer(customer)
        day = date.fromisoformat(on) if on else None
        item = self._books.sales.invoice(debtor, self._choose.amount(amount), on=day)
        return done(f"invoiced {debtor.name} {money(item.total, item)} as {item.number}", item)

    def back_date_invoice(self, customer: str | None = None, amount: str | None = None, days: int = 45) -> Done:
        """Book an invoice now that is dated weeks ago."""
        on = self._books.today - timedelta(days=days)
        return self.invoice(customer, amount, on.isoformat())

    def invoice_in_dollars(self, customer: str | None = None, amount: str | None = None) -> Done:
        debtor = self._choose.customer(customer)
        item = self._books.sales.invoice(
            debtor, self._choose.amount(amount), vat=0, currency="USD", rate=Decimal("0.92")
        )
        return done(f"invoiced {debtor.name} {money(item.total, item)} as {item.number}", item)

    def credit_note(self, item: str | None = None, amount: str | None = None) -> Done:
        invoice = self._choose.charge(item, kinds=frozenset({ItemKind.INVOICE}))
        gross = self._choose.some_of(invoice.total, amount) if amount else None
        credit = self._books.sales.credit_note(invoice, gross)
        return done(
            f"credited {money(-credit.total, credit)} of {whose(credit)}'s {invoice.number}",
            invoice,
            credit,
        )

    def negative_invoice(self, customer: str | None = None, amount: str | None = None) -> Done:
        """Write a credit as an invoice below zero, as many do."""
        debtor = self._choose.customer(customer)
        item = self._books.sales.invoice(debtor, -self._choose.amount(amount), text="Correctie")
        return done(f"credited {debtor.name} {money(-item.total, item)} as invoice {item.number}", item)

    def opening_balance(self, customer: str | None = None, amount: str | None = None) -> Done:
        debtor = self._choose.customer(customer)
        on = date(self._books.today.year, 1, 1)
        due = on - timedelta(days=20)
        item = self._books.sales.opening_balance(debtor, self._choose.amount(amount), on=on, due_date=due)
        return done(f"brought in {money(item.total, item)} that {debtor.name} owed before", item)

    def journal(self, customer: str | None = None, amount: str | None = None) -> Done:
        debtor = self._choose.customer(customer)
        item = self._books.sales.journal(debtor, self._choose.amount(amount), text="Doorbelaste kosten")
        return done(f"charged {debtor.name} {money(item.total, item)} by journal", item)

    def purchase(self) -> Done:
        suppliers = [one for one in self._books.relations.customers.values() if one.role is Role.SUPPLIER]
        if not suppliers:
            raise BookkeepingError("there is no supplier")
        entry = self._books.sales.purchase(self._choose.rng.choice(suppliers), self._choose.amount(None))
        return Done(f"booked purchase {entry.number}", ())

    def edit_due_date(self, item: str | None = None, days: int = 14) -> Done:
        charge = self._choose.charge(item, kinds=frozenset({ItemKind.INVOICE}))
        self._books.corrections.edit_due_date(charge, charge.due_date + timedelta(days=days))
        return done(f"{charge.number} of {whose(charge)} is now due on {charge.due_date}", charge)

    def edit_amount(self, item: str | None = None, amount: str | None = None) -> Done:
        charge = self._choose.unmatched(item)
        total = self._choose.amount(amount) if amount else cents(charge.total * self._choose.rng.choice((2, 3, 5)) / 4)
        self._books.corrections.edit_amount(charge, total)
        return done(f"{charge.number} of {whose(charge)} was changed to {money(total, charge)}", charge)

    def edit_customer(self, item: str | None = None, customer: str | None = None) -> Done:
        charge = self._choose.unmatched(item)
        debtor = self._choose.customer(customer)
        self._books.corrections.edit_customer(charge, debtor)
        return done(f"{charge.number} was put on {debtor.name}", charge)

    def delete_entry(self, item: str | None = None) -> Done:
        subject = self._choose.item(item) if item else self._choose.pick(lambda _: True, settled=True)
        entry: Entry = subject.line.entry
        self._books.corrections.delete_entry(entry)
        return done(f"deleted entry {entry.number} of journal {entry.journal.code}", subject)

    def delete_receipt(self) -> Done:
        """Take a bank statement line out; what it paid is open again."""
        receipt = self._choose.pick(lambda item: item.line.entry.kind is EntryKind.CASH_FLOW, settled=True)
        return self.delete_entry(receipt.id)
