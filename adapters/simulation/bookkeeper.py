"""A bookkeeper with a repertoire: named acts on the books, for demos and for tests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from inspect import signature
from random import Random
from typing import Any

from adapters.simulation.books import Books
from adapters.simulation.choices import Choices
from adapters.simulation.identities import invent
from adapters.simulation.ledger import (
    AccountKind,
    BookkeepingError,
    Entry,
    EntryKind,
    cents,
)
from adapters.simulation.matching import Item, ItemKind
from adapters.simulation.relations import AddressKind, Role


@dataclass(frozen=True, slots=True)
class Done:
    """What was booked, in a sentence for people, and the ids of the items or customers it touched."""

    sentence: str
    ids: tuple[str, ...]


class Bookkeeper:
    """Does one act at a time. What an act is not told (which invoice, how much) it picks by its seed.

    An act that the books cannot do now raises `BookkeepingError` and leaves them as they were.
    """

    def __init__(self, books: Books, *, seed: int = 0) -> None:
        self._books = books
        self._rng = Random(seed)
        self._choose = Choices(books, self._rng)
        self._acts: dict[str, Callable[..., Done]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    @property
    def names(self) -> list[str]:
        """Every act by name, sorted."""
        return sorted(self._acts)

    def perform(self, name: str, **args: Any) -> Done:
        """Do the act of that name. Items and customers are given by id, amounts as decimal strings."""
        act = self._acts.get(name)
        if act is None:
            raise BookkeepingError(f"no act {name!r}; there are: {', '.join(self.names)}")
        try:
            signature(act).bind(**args)
            return act(**args)
        except BookkeepingError:
            raise
        except (TypeError, ValueError) as error:
            raise BookkeepingError(f"{name}: {error}") from error

    def random_action(self, rng: Random | None = None) -> Done:
        """Do some act that is possible now, chosen by `rng` or by the bookkeeper's own seed."""
        names = self.names
        (rng or self._rng).shuffle(names)
        for name in names:
            try:
                return self._acts[name]()
            except BookkeepingError:
                continue
        raise BookkeepingError("nothing is possible in these books")

    # money in and out

    def do_pay(self, item: str | None = None) -> Done:
        """Pay all that is open of an invoice."""
        invoice = self._choose.charge(item)
        paid = invoice.open
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, paid)])
        return _done(f"{_whose(invoice)} paid {_money(paid, invoice)} for {invoice.number}", invoice, receipt)

    def do_pay_partly(self, item: str | None = None, amount: str | None = None) -> Done:
        invoice = self._choose.charge(item, least=Decimal(1))
        paid = self._choose.some_of(invoice.open, amount)
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, paid)])
        return _done(
            f"{_whose(invoice)} paid {_money(paid, invoice)} of {invoice.number}; "
            f"{_money(invoice.open, invoice)} stays open",
            invoice,
            receipt,
        )

    def do_pay_with_discount(self, item: str | None = None, percentage: int = 2) -> Done:
        invoice = self._choose.charge(item, least=Decimal(10))
        discount = cents(invoice.open * percentage / 100)
        paid = invoice.open - discount
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, invoice.open)], discount=discount)
        return _done(
            f"{_whose(invoice)} paid {invoice.number} less {_money(discount, invoice)} discount",
            invoice,
            receipt,
        )

    def do_pay_many(self, customer: str | None = None) -> Done:
        """Pay several invoices with one lump sum."""
        items = self._choose.several(customer)
        first, of = items[0], [(item, item.open) for item in items]
        total = sum((part for _, part in of), Decimal(0))
        receipt = self._books.cash.receive(first.customer, total, of=of)
        numbers = ", ".join(str(item.number) for item, _ in of)
        return _done(f"{_whose(first)} paid {_money(total, first)} for {numbers}", receipt, *(item for item, _ in of))

    def do_pay_on_account(self, customer: str | None = None, amount: str | None = None) -> Done:
        """Pay without saying for what."""
        debtor = self._choose.customer(customer)
        receipt = self._books.cash.receive(debtor, self._choose.amount(amount))
        return _done(f"{debtor.name} paid {_money(-receipt.total, receipt)}, matched with nothing", receipt)

    def do_pay_suspense(self, amount: str | None = None) -> Done:
        entry = self._books.cash.suspense(self._choose.amount(amount))
        return Done(f"{entry.lines[0].amount} came in from nobody known, booked on suspense", ())

    def do_allocate(self, customer: str | None = None) -> Done:
        """Find out whose money lies on the suspense account."""
        waiting = [
            line.entry for line in self._books.ledger.lines.values() if line.account.kind is AccountKind.SUSPENSE
        ]
        if not waiting:
            raise BookkeepingError("nothing is on suspense")
        receipt = self._books.cash.allocate(self._rng.choice(waiting), self._choose.customer(customer))
        return _done(f"{_money(-receipt.total, receipt)} on suspense was {_whose(receipt)}'s", receipt)

    def do_match(self, item: str | None = None) -> Done:
        """Match credit on account with an open charge of the same customer."""
        matching = self._books.matching
        chosen = self._choose.item(item) if item else None
        for credit in [chosen] if chosen else self._choose.shuffled(lambda item: item.open < 0):
            for charge in matching.of_customer[credit.customer.id].values():
                same = charge.line.entry.currency == credit.line.entry.currency
                if same and charge.open > 0 and charge.line.account is credit.line.account:
                    part = min(charge.open, -credit.open)
                    books = self._books
                    matching.match([(charge, part), (credit, -part)], books.today, books.clock.now())
                    return _done(
                        f"matched {_money(part, charge)} of {_whose(charge)}'s credit with {charge.number}",
                        charge,
                        credit,
                    )
        raise BookkeepingError("no credit stands beside an open charge")

    def do_unmatch(self, item: str | None = None) -> Done:
        """Take back the latest match of an item."""
        subject = self._choose.item(item) if item else self._choose.pick(lambda item: bool(item.matches), settled=True)
        if not subject.matches:
            raise BookkeepingError(f"item {subject.number} is not matched")
        match = subject.matches[-1]
        self._books.corrections.unmatch(match)
        return _done(f"unmatched {subject.number} of {_whose(subject)}", *(part.item for part in match.parts))

    def do_refund(self, item: str | None = None) -> Done:
        credit = self._choose.item(item) if item else self._choose.pick(lambda item: item.open < 0)
        refund = self._books.cash.refund(credit)
        return _done(f"paid {_money(refund.total, refund)} back to {_whose(credit)}", credit, refund)

    def do_write_off(self, item: str | None = None, amount: str | None = None, *, by_journal: bool = False) -> Done:
        charge = self._choose.charge(item)
        lost = self._choose.some_of(charge.open, amount) if amount else charge.open
        written_off = self._books.cash.write_off(charge, lost, by_journal=by_journal)
        return _done(f"wrote off {_money(lost, charge)} of {_whose(charge)}'s {charge.number}", charge, written_off)

    def do_write_off_by_journal(self, item: str | None = None, amount: str | None = None) -> Done:
        return self.do_write_off(item, amount, by_journal=True)

    def do_direct_debit_select(self, item: str | None = None) -> Done:
        charge = self._choose.collectable(item)
        self._books.cash.select_direct_debit([charge])
        return _done(f"put {charge.number} of {_whose(charge)} on the collection list", charge)

    def do_direct_debit_send(self, item: str | None = None) -> Done:
        charge = self._choose.collectable(item)
        batch = self._books.cash.send_direct_debit([charge])
        return _done(f"sent {charge.number} of {_whose(charge)} for collection in batch {batch}", charge)

    def do_direct_debit_collect(self, item: str | None = None) -> Done:
        charge = self._choose.item(item) if item else self._choose.debit(collected=False)
        receipt = self._books.cash.collect(charge)
        return _done(f"the collection of {charge.number} came in", charge, receipt)

    def do_direct_debit_return(self, item: str | None = None, *, collected: bool = False) -> Done:
        """Bring back a debit that was sent or one that was already collected."""
        charge = self._choose.item(item) if item else self._choose.debit(collected=collected)
        refund = self._books.cash.return_direct_debit(charge)
        return _done(
            f"{_whose(charge)}'s bank returned the collection of {charge.number}",
            charge,
            *([refund] if refund else []),
        )

    def do_direct_debit_return_collected(self, item: str | None = None) -> Done:
        return self.do_direct_debit_return(item, collected=True)

    # charges

    def do_invoice(self, customer: str | None = None, amount: str | None = None, on: str | None = None) -> Done:
        """Book an invoice; `amount` is before VAT."""
        debtor = self._choose.customer(customer)
        day = date.fromisoformat(on) if on else None
        item = self._books.sales.invoice(debtor, self._choose.amount(amount), on=day)
        return _done(f"invoiced {debtor.name} {_money(item.total, item)} as {item.number}", item)

    def do_back_date_invoice(self, customer: str | None = None, amount: str | None = None, days: int = 45) -> Done:
        """Book an invoice now that is dated weeks ago."""
        on = self._books.today - timedelta(days=days)
        return self.do_invoice(customer, amount, on.isoformat())

    def do_invoice_in_dollars(self, customer: str | None = None, amount: str | None = None) -> Done:
        debtor = self._choose.customer(customer)
        item = self._books.sales.invoice(
            debtor, self._choose.amount(amount), vat=0, currency="USD", rate=Decimal("0.92")
        )
        return _done(f"invoiced {debtor.name} {_money(item.total, item)} as {item.number}", item)

    def do_credit_note(self, item: str | None = None, amount: str | None = None) -> Done:
        invoice = self._choose.charge(item, kinds=frozenset({ItemKind.INVOICE}))
        gross = self._choose.some_of(invoice.total, amount) if amount else None
        credit = self._books.sales.credit_note(invoice, gross)
        return _done(
            f"credited {_money(-credit.total, credit)} of {_whose(credit)}'s {invoice.number}",
            invoice,
            credit,
        )

    def do_negative_invoice(self, customer: str | None = None, amount: str | None = None) -> Done:
        """Write a credit as an invoice below zero, as many do."""
        debtor = self._choose.customer(customer)
        item = self._books.sales.invoice(debtor, -self._choose.amount(amount), text="Correctie")
        return _done(f"credited {debtor.name} {_money(-item.total, item)} as invoice {item.number}", item)

    def do_opening_balance(self, customer: str | None = None, amount: str | None = None) -> Done:
        debtor = self._choose.customer(customer)
        on = date(self._books.today.year, 1, 1)
        due = on - timedelta(days=20)
        item = self._books.sales.opening_balance(debtor, self._choose.amount(amount), on=on, due_date=due)
        return _done(f"brought in {_money(item.total, item)} that {debtor.name} owed before", item)

    def do_journal(self, customer: str | None = None, amount: str | None = None) -> Done:
        debtor = self._choose.customer(customer)
        item = self._books.sales.journal(debtor, self._choose.amount(amount), text="Doorbelaste kosten")
        return _done(f"charged {debtor.name} {_money(item.total, item)} by journal", item)

    def do_purchase(self) -> Done:
        suppliers = [one for one in self._books.relations.customers.values() if one.role is Role.SUPPLIER]
        if not suppliers:
            raise BookkeepingError("there is no supplier")
        entry = self._books.sales.purchase(self._rng.choice(suppliers), self._choose.amount(None))
        return Done(f"booked purchase {entry.number}", ())

    # corrections

    def do_edit_due_date(self, item: str | None = None, days: int = 14) -> Done:
        charge = self._choose.charge(item, kinds=frozenset({ItemKind.INVOICE}))
        self._books.corrections.edit_due_date(charge, charge.due_date + timedelta(days=days))
        return _done(f"{charge.number} of {_whose(charge)} is now due on {charge.due_date}", charge)

    def do_edit_amount(self, item: str | None = None, amount: str | None = None) -> Done:
        charge = self._choose.unmatched(item)
        total = self._choose.amount(amount) if amount else cents(charge.total * self._rng.choice((2, 3, 5)) / 4)
        self._books.corrections.edit_amount(charge, total)
        return _done(f"{charge.number} of {_whose(charge)} was changed to {_money(total, charge)}", charge)

    def do_edit_customer(self, item: str | None = None, customer: str | None = None) -> Done:
        charge = self._choose.unmatched(item)
        debtor = self._choose.customer(customer)
        self._books.corrections.edit_customer(charge, debtor)
        return _done(f"{charge.number} was put on {debtor.name}", charge)

    def do_delete_entry(self, item: str | None = None) -> Done:
        subject = self._choose.item(item) if item else self._choose.pick(lambda _: True, settled=True)
        entry: Entry = subject.line.entry
        self._books.corrections.delete_entry(entry)
        return _done(f"deleted entry {entry.number} of journal {entry.journal.code}", subject)

    def do_delete_receipt(self) -> Done:
        """Take a bank statement line out; what it paid is open again."""
        receipt = self._choose.pick(lambda item: item.line.entry.kind is EntryKind.CASH_FLOW, settled=True)
        return self.do_delete_entry(receipt.id)

    # customers

    def do_new_customer(self, name: str | None = None) -> Done:
        books, at = self._books, self._books.clock.now()
        who = invent(self._rng, 2_000_000 + len(books.relations.customers))
        customer = books.relations.add(
            name or who.name,
            condition=books.relations.conditions["30"],
            receivable=books.ledger.account(AccountKind.RECEIVABLE),
            at=at,
            email=who.email,
            phone=who.phone,
            coc_number=who.coc_number,
            vat_number=who.vat_number,
        )
        books.relations.add_address(
            customer,
            AddressKind.VISIT,
            street=who.street,
            postcode=who.postcode,
            city=who.city,
            country=books.administration.country,
            at=at,
        )
        books.relations.add_bank_account(customer, who.iban, who.bic, at)
        return Done(f"registered {customer.name} as {customer.number}", (customer.id,))

    def do_change_address(self, customer: str | None = None) -> Done:
        who, new = self._choose.customer(customer), invent(self._rng, 0)
        self._books.corrections.change_address(who, new.street, new.postcode, new.city)
        return Done(f"{who.name} moved to {new.street} in {new.city}", (who.id,))

    def do_change_email(self, customer: str | None = None, email: str | None = None) -> Done:
        who = self._choose.customer(customer)
        address = email or f"debiteuren{self._rng.randrange(1000)}@klant{who.number}.example"
        self._books.corrections.change_email(who, address)
        return Done(f"{who.name} now reads {address}", (who.id,))

    def do_rename_customer(self, customer: str | None = None, name: str | None = None) -> Done:
        who, new = self._choose.customer(customer), name or invent(self._rng, 0).name
        sentence = f"{who.name} is now called {new}"
        self._books.corrections.rename(who, new)
        return Done(sentence, (who.id,))

    def do_block_customer(self, customer: str | None = None) -> Done:
        who = self._choose.customer(customer)
        self._books.corrections.block(who, blocked=not who.blocked)
        return Done(f"{who.name} is {'blocked' if who.blocked else 'no longer blocked'}", (who.id,))

    def do_merge_customers(self, gone: str | None = None, kept: str | None = None) -> Done:
        leaving, staying = self._choose.customer(gone), self._choose.customer(kept)
        self._books.corrections.merge_customers(leaving, staying)
        return Done(f"{leaving.name} was merged into {staying.name}", (leaving.id, staying.id))

    def do_delete_customer(self, customer: str | None = None) -> Done:
        without = [one for one in self._choose.debtors() if not self._books.matching.of_customer.get(one.id)]
        if not customer and not without:
            raise BookkeepingError("every customer has bookings")
        who = self._choose.customer(customer) if customer else self._rng.choice(without)
        self._books.corrections.delete_customer(who)
        return Done(f"deleted customer {who.name}", (who.id,))


def _done(sentence: str, *items: Item) -> Done:
    return Done(sentence, tuple(item.id for item in items))


def _money(amount: Decimal, item: Item) -> str:
    return f"{item.line.entry.currency} {amount:,.2f}"


def _whose(item: Item) -> str:
    return item.customer.name
