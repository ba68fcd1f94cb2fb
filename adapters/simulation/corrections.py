"""Second thoughts: edits, deletions, unmatching, customers that move, merge or go."""

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from adapters.simulation.changes import Action, Subject
from adapters.simulation.ledger import AccountKind, BookkeepingError, Entry, EntryKind, cents
from adapters.simulation.matching import Item, Match
from adapters.simulation.relations import Customer

if TYPE_CHECKING:  # the books are made of these acts
    from adapters.simulation.books import Books


class Corrections:
    """Changes to what was booked or registered before."""

    def __init__(self, books: "Books") -> None:
        self._books = books

    def unmatch(self, match: Match) -> None:
        self._books.matching.unmatch(match, self._books.clock.now())

    def edit_due_date(self, item: Item, due_date: date) -> None:
        books = self._books
        at = books.clock.now()
        item.due_date = due_date
        with books.ledger.amending(item.line.entry, at) as entry:
            entry.due_date = due_date
        books.matching.touch([item], at, Action.EDITED)

    def edit_amount(self, item: Item, total: Decimal) -> None:
        """Rewrite an unmatched sales entry to another total, VAT in proportion."""
        entry = item.line.entry
        if entry.kind not in {EntryKind.SALES, EntryKind.CREDIT_NOTE} or total * item.total <= 0:
            raise BookkeepingError(f"entry {entry.number} cannot become {total}")
        if item.matches:
            raise BookkeepingError(f"item {item.number} is matched")
        books = self._books
        at = books.clock.now()
        before = item.total
        with books.ledger.amending(entry, at):
            taxes = [line for line in entry.lines if line.account.kind is AccountKind.VAT]
            nets = [line for line in entry.lines if line.account.kind is AccountKind.REVENUE]
            for line in taxes:
                line.amount = cents(line.amount * total / before)
                line.base = cents(line.amount * entry.rate)
            item.line.amount, item.line.base = total, cents(total * entry.rate)
            nets[0].amount = -total - sum(line.amount for line in taxes)
            nets[0].base = -item.line.base - sum(line.base for line in taxes)
        if entry.blocked_amount is not None:
            entry.blocked_amount = cents(entry.blocked_amount * total / before)
        books.matching.revalue(item, at)

    def edit_customer(self, item: Item, customer: Customer) -> None:
        """Put an unmatched item on the customer it should have been booked on."""
        books = self._books
        if item.matches:
            raise BookkeepingError(f"item {item.number} is matched")
        at = books.clock.now()
        with books.ledger.amending(item.line.entry, at) as entry:
            for line in entry.lines:
                if line.customer is item.line.customer and line is not item.line:
                    line.customer = customer
        books.matching.reassign(item, customer, at)

    def delete_entry(self, entry: Entry) -> None:
        """Take an entry out of the books; whatever it was matched with opens again."""
        books = self._books
        at = books.clock.now()
        items = [books.matching.items[line.id] for line in entry.lines if line.id in books.matching.items]
        for item in items:
            for match in item.matches:
                books.matching.unmatch(match, at)
        if entry.id not in books.ledger.entries:  # a difference that went with its match
            return
        for item in items:
            books.matching.remove(item, at)
        document = books.documents.of_entry.get(entry.id)
        if document is not None:
            books.documents.remove(document, at)
        books.ledger.remove(entry, at)

    def change_address(self, customer: Customer, street: str, postcode: str, city: str) -> None:
        at = self._books.clock.now()
        for address in customer.addresses:
            self._books.relations.move_to(address, street, postcode, city, at)

    def change_email(self, customer: Customer, email: str) -> None:
        customer.email = email
        self._books.relations.touch(customer, self._books.clock.now())

    def rename(self, customer: Customer, name: str) -> None:
        customer.name = name
        self._books.relations.touch(customer, self._books.clock.now())

    def block(self, customer: Customer, *, blocked: bool) -> None:
        customer.blocked = blocked
        self._books.relations.touch(customer, self._books.clock.now())

    def delete_customer(self, customer: Customer) -> None:
        """Forget a customer that was never booked on."""
        books = self._books
        if books.matching.of_customer.get(customer.id):
            raise BookkeepingError(f"customer {customer.number} has bookings")
        books.relations.remove(customer, books.clock.now())

    def merge_customers(self, gone: Customer, kept: Customer) -> None:
        """Put everything booked on one customer on another, and forget the first."""
        if gone is kept:
            raise BookkeepingError("a customer cannot be merged with itself")
        books = self._books
        at = books.clock.now()
        for item in list(books.matching.of_customer[gone.id].values()):
            with books.ledger.amending(item.line.entry, at) as entry:
                for line in entry.lines:
                    if line.customer is gone and line is not item.line:
                        line.customer = kept
            books.matching.reassign(item, kept, at)
            document = books.documents.of_entry.get(item.line.entry.id)
            if document is not None:
                document.customer = kept
                books.changes.record(Subject.DOCUMENT, Action.CHANGED, document, at)
        books.relations.remove(gone, at)
