"""Acts that move money, match it, or give it up."""

from decimal import Decimal

from adapters.simulation.acts import Done, done, money, whose
from adapters.simulation.books import Books
from adapters.simulation.choices import Choices
from adapters.simulation.ledger import AccountKind, BookkeepingError, cents


class MoneyActs:
    """Receipts, refunds, suspense, matches, write-offs and direct debits."""

    def __init__(self, books: Books, choose: Choices) -> None:
        self._books = books
        self._choose = choose

    def pay(self, item: str | None = None) -> Done:
        """Pay all that is open of an invoice."""
        invoice = self._choose.charge(item)
        paid = invoice.open
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, paid)])
        return done(f"{whose(invoice)} paid {money(paid, invoice)} for {invoice.number}", invoice, receipt)

    def pay_partly(self, item: str | None = None, amount: str | None = None) -> Done:
        invoice = self._choose.charge(item, least=Decimal(1))
        paid = self._choose.some_of(invoice.open, amount)
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, paid)])
        return done(
            f"{whose(invoice)} paid {money(paid, invoice)} of {invoice.number}; "
            f"{money(invoice.open, invoice)} stays open",
            invoice,
            receipt,
        )

    def pay_with_discount(self, item: str | None = None, percentage: int = 2) -> Done:
        invoice = self._choose.charge(item, least=Decimal(10))
        discount = cents(invoice.open * percentage / 100)
        paid = invoice.open - discount
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, invoice.open)], discount=discount)
        return done(
            f"{whose(invoice)} paid {invoice.number} less {money(discount, invoice)} discount",
            invoice,
            receipt,
        )

    def pay_many(self, customer: str | None = None) -> Done:
        """Pay several invoices with one lump sum."""
        items = self._choose.several(customer)
        first, of = items[0], [(item, item.open) for item in items]
        total = sum((part for _, part in of), Decimal(0))
        receipt = self._books.cash.receive(first.customer, total, of=of)
        numbers = ", ".join(str(item.number) for item, _ in of)
        return done(f"{whose(first)} paid {money(total, first)} for {numbers}", receipt, *(item for item, _ in of))

    def pay_on_account(self, customer: str | None = None, amount: str | None = None) -> Done:
        """Pay without saying for what."""
        debtor = self._choose.customer(customer)
        receipt = self._books.cash.receive(debtor, self._choose.amount(amount))
        return done(f"{debtor.name} paid {money(-receipt.total, receipt)}, matched with nothing", receipt)

    def pay_suspense(self, amount: str | None = None) -> Done:
        entry = self._books.cash.suspense(self._choose.amount(amount))
        return Done(f"{entry.lines[0].amount} came in from nobody known, booked on suspense", ())

    def allocate(self, customer: str | None = None) -> Done:
        """Find out whose money lies on the suspense account."""
        waiting = [
            line.entry for line in self._books.ledger.lines.values() if line.account.kind is AccountKind.SUSPENSE
        ]
        if not waiting:
            raise BookkeepingError("nothing is on suspense")
        receipt = self._books.cash.allocate(self._choose.rng.choice(waiting), self._choose.customer(customer))
        return done(f"{money(-receipt.total, receipt)} on suspense was {whose(receipt)}'s", receipt)

    def match(self, item: str | None = None) -> Done:
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
                    return done(
                        f"matched {money(part, charge)} of {whose(charge)}'s credit with {charge.number}",
                        charge,
                        credit,
                    )
        raise BookkeepingError("no credit stands beside an open charge")

    def unmatch(self, item: str | None = None) -> Done:
        """Take back the latest match of an item."""
        subject = self._choose.item(item) if item else self._choose.pick(lambda item: bool(item.matches), settled=True)
        if not subject.matches:
            raise BookkeepingError(f"item {subject.number} is not matched")
        match = subject.matches[-1]
        self._books.corrections.unmatch(match)
        return done(f"unmatched {subject.number} of {whose(subject)}", *(part.item for part in match.parts))

    def refund(self, item: str | None = None) -> Done:
        credit = self._choose.item(item) if item else self._choose.pick(lambda item: item.open < 0)
        refund = self._books.cash.refund(credit)
        return done(f"paid {money(refund.total, refund)} back to {whose(credit)}", credit, refund)

    def write_off(self, item: str | None = None, amount: str | None = None, *, by_journal: bool = False) -> Done:
        charge = self._choose.charge(item)
        lost = self._choose.some_of(charge.open, amount) if amount else charge.open
        written_off = self._books.cash.write_off(charge, lost, by_journal=by_journal)
        return done(f"wrote off {money(lost, charge)} of {whose(charge)}'s {charge.number}", charge, written_off)

    def write_off_by_journal(self, item: str | None = None, amount: str | None = None) -> Done:
        return self.write_off(item, amount, by_journal=True)

    def direct_debit_select(self, item: str | None = None) -> Done:
        charge = self._choose.collectable(item)
        self._books.cash.select_direct_debit([charge])
        return done(f"put {charge.number} of {whose(charge)} on the collection list", charge)

    def direct_debit_send(self, item: str | None = None) -> Done:
        charge = self._choose.collectable(item)
        batch = self._books.cash.send_direct_debit([charge])
        return done(f"sent {charge.number} of {whose(charge)} for collection in batch {batch}", charge)

    def direct_debit_collect(self, item: str | None = None) -> Done:
        charge = self._choose.item(item) if item else self._choose.debit(collected=False)
        receipt = self._books.cash.collect(charge)
        return done(f"the collection of {charge.number} came in", charge, receipt)

    def direct_debit_return(self, item: str | None = None, *, collected: bool = False) -> Done:
        """Bring back a debit that was sent or one that was already collected."""
        charge = self._choose.item(item) if item else self._choose.debit(collected=collected)
        refund = self._books.cash.return_direct_debit(charge)
        return done(
            f"{whose(charge)}'s bank returned the collection of {charge.number}",
            charge,
            *([refund] if refund else []),
        )

    def direct_debit_return_collected(self, item: str | None = None) -> Done:
        return self.direct_debit_return(item, collected=True)
