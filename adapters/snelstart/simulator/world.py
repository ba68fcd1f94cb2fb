"""The administration as the wire sees it: the books, followed change by change into what SnelStart would show."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from zlib import crc32

from adapters.simulation.books import Books
from adapters.simulation.changes import Action, Change, Ids
from adapters.simulation.ledger import AccountKind
from adapters.simulation.matching import Item, Match
from adapters.simulation.memory import no_garbage_collection
from adapters.simulation.relations import Customer, Role
from adapters.snelstart.simulator.chart import Chart
from adapters.snelstart.simulator.encoding import Json, Pen
from adapters.snelstart.simulator.postings import SHOWN, Offset, Postings, has_booking
from adapters.snelstart.simulator.settings import SimulatorSettings

COUNTRIES: Final = (
    ("NL", "NLD", "Nederland"), ("BE", "BEL", "België"), ("DE", "DEU", "Duitsland"), ("FR", "FRA", "Frankrijk"),
    ("AF", "AFG", "Afghanistan"), ("GB", "GBR", "Verenigd Koninkrijk"), ("US", "USA", "Verenigde Staten"),
)  # fmt: skip
_OWN_RANGE: Final = 104_729
"""Keeps the ids that only the wire knows apart from the ids of the books."""


class World:
    """Follows the books. Call `catch_up` before reading; `revision` tells whether anything changed."""

    def __init__(self, books: Books, settings: SimulatorSettings) -> None:
        self.books = books
        self.settings = settings
        self.pen = Pen(settings)
        ids = Ids(books.seed + _OWN_RANGE)
        self._ids = ids
        self.administration = ids.new()
        self.countries = {code: ids.new() for code, _, _ in sorted(COUNTRIES, key=lambda country: country[2])}
        self.chart = Chart(books, ids)
        self.postings = Postings(books, self.chart, settings)
        self.shown_at: dict[str, datetime] = {}
        """`modifiedOn` of every verkoopfactuur."""
        self.retired: dict[str, Customer] = {}
        """Relations that were deleted: kept, and inactive."""
        self.retouched: dict[str, Json] = {}
        """Fields of relations written over from outside."""
        self.revision = 0
        self._seen = 0
        self._offsets_of: dict[str, dict[int, Offset]] = {}
        _placeholders(books)

    def catch_up(self) -> None:
        """Take over what happened in the books since the last call, in the order it happened."""
        number = self.books.changes.number
        if number == self._seen:
            return
        with no_garbage_collection():
            for change in self.books.changes.since(self._seen):
                self._follow(change)
        self._seen = number
        self._drop_stale_chargebacks()
        self.revision += 1

    def retouch(self, relation: str, fields: Json) -> None:
        """Let the tenant fill in fields that the books do not know, by their names on the wire."""
        customer = self.books.relations.customers[relation]
        self.retouched.setdefault(relation, {}).update(fields)
        self.books.relations.touch(customer, self.books.clock.now())

    def _follow(self, change: Change) -> None:
        match change.target:
            case Item() as item if item.kind in SHOWN:
                self._follow_invoice(item, change)
            case Item() as item:
                self._follow_settlement(item)
            case Customer() as customer if change.action is Action.REMOVED:
                self.retired[customer.id] = customer
                customer.modified = change.at

    def _follow_invoice(self, item: Item, change: Change) -> None:
        if change.action is Action.REMOVED:
            self.shown_at.pop(item.id, None)
        elif change.action is not Action.CHANGED or self._moves(item, change.at):
            self.shown_at[item.id] = change.at
        if change.action is Action.EDITED:
            for offset in self._offsets_of.get(item.id, {}).values():
                offset.booked = change.at
        self._set_off(item, change.at)

    def _moves(self, item: Item, at: datetime) -> bool:
        """Whether settling moves the row's `modifiedOn`, which nobody promises (sheet 7)."""
        knob = self.settings.payment_moves_modified
        return knob == "always" or (knob == "random" and crc32(f"{item.id}{at.isoformat()}".encode()) % 2 == 0)

    def _set_off(self, item: Item, at: datetime) -> None:
        """Keep a memorial booking for each match of invoices with invoices only."""
        held = {id(match): match for match in item.matches if _all_shown(match)}
        known = self._offsets_of.get(item.id, {})
        for key in known.keys() - held.keys():
            offset = known[key]
            self.postings.offsets.pop(offset.id, None)
            for part in offset.match.parts:
                self._offsets_of.get(part.item.id, {}).pop(key, None)
        for key in held.keys() - known.keys():
            offset = Offset(self._ids.new(), held[key], at)
            self.postings.offsets[offset.id] = offset
            for part in offset.match.parts:
                self._offsets_of.setdefault(part.item.id, {})[key] = offset

    def _follow_settlement(self, item: Item) -> None:
        for match in item.matches:
            for part in match.parts:
                if part.item.kind in SHOWN and self.settings.payment_moves_modified == "always":
                    self.shown_at[part.item.id] = item.modified
            if id(match) not in self.postings.chargebacks:
                about = self._charged_back(match)
                if about is not None:
                    self.postings.chargebacks[id(match)] = match, about

    def _charged_back(self, match: Match) -> Item | None:
        """The invoice that money and its return both name."""
        numbers = {part.item.line.invoice_number for part in match.parts}
        if len(numbers) > 1 or None in numbers or any(part.item.kind in SHOWN for part in match.parts):
            return None
        return next(
            (
                item
                for item in self.books.matching.of_customer[match.parts[0].item.customer.id].values()
                if has_booking(item) and item.number in numbers
            ),
            None,
        )

    def _drop_stale_chargebacks(self) -> None:
        """Let go of those whose match was taken back or whose invoice went away."""
        items = self.books.matching.items
        for key, (match, about) in list(self.postings.chargebacks.items()):
            alive = [part.item for part in match.parts if any(one is match for one in part.item.matches)]
            if alive and about.id in items and about.customer is alive[0].customer:
                continue
            del self.postings.chargebacks[key]
            for item in alive:
                self.postings.touched[item.line.entry.id] = self.books.clock.now()

    def relations(self) -> Iterable[Customer]:
        yield from self.books.relations.customers.values()
        yield from self.retired.values()

    def relation(self, key: str) -> Customer | None:
        return self.books.relations.customers.get(key) or self.retired.get(key)


def _all_shown(match: Match) -> bool:
    return all(part.item.kind in SHOWN for part in match.parts)


def _placeholders(books: Books) -> None:
    """The three relations of every administration that are nobody's customer (sheet 5.1)."""
    relations, at = books.relations, books.clock.now()
    rows = (
        (1, "<Vul hier uw bedrijfsnaam in>", Role.OWN),
        (-1, "Leverancier onbekend", Role.SUPPLIER),
        (-2, "Klant onbekend", Role.PROSPECT),
    )
    for number, name, role in rows:
        customer = relations.add(
            name,
            condition=relations.conditions["00"],
            receivable=books.ledger.account(AccountKind.RECEIVABLE),
            at=at,
            role=role,
        )
        customer.number = number
