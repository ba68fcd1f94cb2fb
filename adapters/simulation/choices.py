"""How a bookkeeper finds something to work on when nobody says what."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from random import Random

from adapters.simulation.books import Books
from adapters.simulation.ledger import BookkeepingError, cents
from adapters.simulation.matching import Collection, Item, ItemKind
from adapters.simulation.relations import Customer, Role

CHARGES = frozenset({ItemKind.INVOICE, ItemKind.OPENING_BALANCE, ItemKind.JOURNAL})


class Choices:
    """Looks a thing up when its id is given, else picks one that fits; raises when there is none."""

    def __init__(self, books: Books, rng: Random) -> None:
        self._books = books
        self.rng = rng

    def item(self, item: str) -> Item:
        found = self._books.matching.items.get(item)
        if found is None:
            raise BookkeepingError(f"no item {item}")
        return found

    def pick(self, fits: Callable[[Item], bool], *, settled: bool = False) -> Item:
        """An open item that fits; with `settled`, any item."""
        matching = self._books.matching
        candidates = [item for item in (matching.items if settled else matching.open).values() if fits(item)]
        if not candidates:
            raise BookkeepingError("no item fits")
        return self.rng.choice(candidates)

    def shuffled(self, fits: Callable[[Item], bool]) -> list[Item]:
        """The open items that fit, in no order."""
        items = [item for item in self._books.matching.open.values() if fits(item)]
        self.rng.shuffle(items)
        return items

    def charge(
        self,
        item: str | None = None,
        *,
        kinds: frozenset[ItemKind] = CHARGES,
        least: Decimal = Decimal(0),
    ) -> Item:
        """Something a customer still owes."""
        if item is not None:
            found = self.item(item)
            if found.open <= least:
                raise BookkeepingError(f"item {found.number} has {found.open} open")
            return found
        return self.pick(lambda item: item.open > least and item.kind in kinds)

    def several(self, customer: str | None) -> list[Item]:
        """A handful of charges that one payment can close."""
        together: defaultdict[tuple[str, str, str], list[Item]] = defaultdict(list)
        for item in self._books.matching.open.values():
            if item.open > 0 and customer in {None, item.customer.id}:
                key = item.customer.id, item.line.account.code, item.line.entry.currency
                together[key].append(item)
        groups = [items for items in together.values() if len(items) > 1]
        if not groups:
            raise BookkeepingError("nobody has several invoices open")
        return self.rng.choice(groups)[:5]

    def collectable(self, item: str | None) -> Item:
        if item is not None:
            return self.item(item)
        return self.pick(lambda item: item.open > 0 and item.collection is None and item.customer.mandate is not None)

    def debit(self, *, collected: bool) -> Item:
        """A charge whose direct debit is on its way, or one whose money came in."""
        if not collected:
            return self.pick(lambda item: item.collection is Collection.SENT)
        return self.pick(
            lambda item: (
                item.kind is ItemKind.INVOICE
                and item.customer.mandate is not None
                and any(part.item.kind is ItemKind.RECEIPT for match in item.matches for part in match.parts)
            ),
            settled=True,
        )

    def unmatched(self, item: str | None) -> Item:
        if item is not None:
            return self.item(item)
        return self.pick(lambda item: item.kind is ItemKind.INVOICE and not item.matches)

    def debtors(self) -> list[Customer]:
        return [one for one in self._books.relations.customers.values() if one.role is Role.CUSTOMER]

    def customer(self, customer: str | None) -> Customer:
        if customer is not None:
            found = self._books.relations.customers.get(customer)
            if found is None:
                raise BookkeepingError(f"no customer {customer}")
            return found
        debtors = self.debtors()
        if not debtors:
            raise BookkeepingError("there is no customer")
        return self.rng.choice(debtors)

    def amount(self, amount: str | None) -> Decimal:
        if amount is None:
            return Decimal(self.rng.randrange(1_000, 250_000)) / 100
        try:
            return cents(Decimal(amount))
        except ArithmeticError as error:
            raise BookkeepingError(f"{amount!r} is not an amount") from error

    def some_of(self, whole: Decimal, amount: str | None) -> Decimal:
        """The amount asked for, or a part of the whole that leaves something."""
        part = self.amount(amount) if amount else cents(whole * self.rng.randrange(1, 10) / 10)
        if not 0 < part <= whole:
            raise BookkeepingError(f"{part} is not a part of {whole}")
        return part
