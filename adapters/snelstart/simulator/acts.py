"""Acts that only make sense in SnelStart, and the ones of the shared repertoire that it does not know."""

from decimal import Decimal
from typing import Final

from adapters.simulation.acts import Done, done, money, whose
from adapters.simulation.books import Books
from adapters.simulation.choices import Choices
from adapters.simulation.ledger import BookkeepingError, EntryKind
from adapters.simulation.matching import Item, ItemKind, Match

UNKNOWN: Final = frozenset({"invoice_in_dollars", "journal"})
"""There is no currency but the euro, and no open item without an invoice."""


class SnelActs:
    """Money over the counter, cents too much, chargebacks, invoice numbers given out twice."""

    def __init__(self, books: Books, choose: Choices) -> None:
        self._books = books
        self._choose = choose

    def pay_too_much(self, item: str | None = None, amount: str | None = None) -> Done:
        """Pay some cents more than is open: the invoice goes below zero."""
        invoice = self._choose.charge(item, kinds=frozenset({ItemKind.INVOICE}))
        more = self._choose.amount(amount) if amount else Decimal(self._choose.rng.randrange(1, 9)) / 100
        paid, left = invoice.open + more, invoice.open
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, left)])
        return done(f"{whose(invoice)} paid {money(paid, invoice)} for {invoice.number}, too much", invoice, receipt)

    def pay_in_cash(self, item: str | None = None) -> Done:
        """Pay all that is open over the counter: a kasboeking."""
        invoice = self._choose.charge(item)
        paid = invoice.open
        receipt = self._books.cash.receive(invoice.customer, paid, of=[(invoice, paid)], journal="10")
        return done(f"{whose(invoice)} paid {money(paid, invoice)} for {invoice.number} in cash", invoice, receipt)

    def charge_back(self, item: str | None = None) -> Done:
        """Have the bank take a payment back: the booking of the return points at the same invoice."""
        invoice = self._choose.item(item) if item else self._choose.pick(_was_paid, settled=True)
        paid = next((match for match in invoice.matches if _receipt(match) is not None), None)
        receipt = _receipt(paid) if paid is not None else None
        if paid is None or receipt is None:
            raise BookkeepingError(f"item {invoice.number} was not paid by itself")
        if receipt.open:
            raise BookkeepingError(f"more was paid on {invoice.number} than it came to")
        self._books.corrections.unmatch(paid)
        refund = self._books.cash.refund(receipt)
        return done(f"the bank took {money(refund.total, refund)} for {invoice.number} back", invoice, receipt, refund)

    def reissue_invoice(self, amount: str | None = None) -> Done:
        """Delete the newest invoice, as nobody paid it yet, and give its number to another one."""
        books = self._books
        entries = [entry for entry in books.ledger.entries.values() if entry.kind is EntryKind.SALES]
        newest = max(entries, key=lambda entry: (entry.created, entry.number), default=None)
        item = books.matching.items.get(newest.lines[0].id) if newest is not None else None
        if newest is None or item is None or item.matches:
            raise BookkeepingError("the newest invoice cannot be deleted")
        books.corrections.delete_entry(newest)
        again = books.sales.invoice(self._choose.customer(None), self._choose.amount(amount))
        at = books.clock.now()
        with books.ledger.amending(again.line.entry, at) as entry:
            entry.number = newest.number
            for line in entry.lines:
                line.invoice_number = newest.number
        books.matching.touch([again], at)
        return done(f"deleted {newest.number} and gave its number to {whose(again)}", again)


def _was_paid(item: Item) -> bool:
    return item.kind is ItemKind.INVOICE and any(_receipt(match) is not None for match in item.matches)


def _receipt(match: Match) -> Item | None:
    """The payment of a match that is about one invoice only."""
    receipts = [part.item for part in match.parts if part.item.kind is ItemKind.RECEIPT]
    if len(match.parts) != 2 or not receipts:
        return None
    receipt = receipts[0]
    return receipt if receipt.line.invoice_number is not None and len(receipt.matches) == 1 else None
