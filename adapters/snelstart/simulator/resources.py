"""Every resource: where its rows come from, how they are written, and what may be asked of it (sheet 3.1)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from adapters.simulation.ledger import Entry, LedgerAccount
from adapters.simulation.matching import Item
from adapters.snelstart.simulator import bookings, invoices, reference, relations
from adapters.snelstart.simulator.encoding import Json
from adapters.snelstart.simulator.postings import SHOWN, Booking, BookingKind
from adapters.snelstart.simulator.world import World

MOST: Final = 500
"""Rows on a page, for every collection that has pages."""


@dataclass(frozen=True, slots=True)
class Resource:
    """`modified` lets a filter on it skip rows without writing them; without a `listing` there is only by-id.

    `recent` finds the rows modified at or after a moment where that is cheaper than looking at all.
    """

    path: str
    model: str
    scope: str
    get: Callable[[str], Any | None]
    write: Callable[[Any], Json]
    listing: Callable[[], Iterable[Any]] | None = None
    modified: Callable[[Any], str] | None = None
    key: Callable[[Any], str] = attrgetter("id")
    recent: Callable[[str], Iterable[Any]] | None = None
    pages: bool = True
    """Whether it knows OData; the others answer everything, whatever is asked."""


def resources(world: World) -> dict[str, Resource]:
    found = [*_registers(world), *_invoices(world), *_bookings(world)]
    return {resource.path: resource for resource in found}


def _registers(world: World) -> list[Resource]:
    chart, pen = world.chart, world.pen
    countries = {key: code for code, key in world.countries.items()}

    def listed() -> list[Any]:
        shown = world.settings.inactive_listed
        return [one for one in world.relations() if shown or not relations.inactive(world, one)]

    def found(key: str) -> Any | None:
        one = world.relation(key)
        refused = one is None or (relations.inactive(world, one) and not world.settings.inactive_by_id)
        return None if refused else one

    def account_modified(account: LedgerAccount) -> str:
        return pen.stamp(account.created, account.id)

    return [
        Resource(
            "relaties", relations.RELATION, "relaties:read", found, lambda row: relations.relation(world, row), listed,
            lambda row: pen.stamp(max(row.modified, row.created), row.id),
        ),
        Resource(
            "grootboeken", reference.ACCOUNT, "boekhouden:read", chart.accounts.get,
            lambda row: reference.account(world, row), chart.accounts.values, account_modified,
        ),
        Resource(
            "dagboeken", reference.JOURNAL, "boekhouden:read", lambda _: None,
            lambda row: reference.journal(world, row), lambda: chart.journals, pages=False,
        ),
        Resource(
            "landen", reference.COUNTRY, "settings:read", countries.get,
            lambda code: reference.country(world, code), lambda: world.countries, pages=False,
        ),
        Resource(
            "kostenplaatsen", reference.COST_CENTRE, "settings:read", lambda _: None, dict, tuple, pages=False
        ),
        Resource(
            "btwtarieven", reference.VAT_RATE, "settings:read", lambda _: None, dict, reference.vat_rates, pages=False
        ),
    ]  # fmt: skip


def _invoices(world: World) -> list[Resource]:
    items, entries, pen = world.books.matching.items, world.books.ledger.entries, world.pen

    def shown() -> list[Item]:
        return [item for item in items.values() if item.kind in SHOWN]

    def invoice(key: str) -> Item | None:
        item = items.get(key)
        return item if item is not None and item.kind in SHOWN else None

    def sale(key: str) -> Entry | None:
        entry = entries.get(key)
        return entry if entry is not None and world.postings.booking(entry).kind is BookingKind.SALE else None

    def orders() -> list[Entry]:
        return [entry for entry in entries.values() if entry.order_number is not None]

    def order(key: str) -> Entry | None:
        return next((entry for entry in orders() if invoices.order_id(entry) == key), None)

    return [
        Resource(
            "verkoopfacturen", invoices.INVOICE, "orders:read", invoice, lambda row: invoices.invoice(world, row),
            shown, lambda row: pen.stamp(world.shown_at[row.id], row.id),
        ),
        Resource(
            "verkoopboekingen", invoices.SALE, "boekhouden:read", sale, lambda row: invoices.sale(world, row)
        ),
        Resource(
            "verkooporders", invoices.ORDER, "orders:read", order, lambda row: invoices.order(world, row), orders,
            lambda row: pen.stamp(row.modified, invoices.order_id(row)), invoices.order_id,
        ),
    ]  # fmt: skip


def _bookings(world: World) -> list[Resource]:
    entries, postings, pen = world.books.ledger.entries, world.postings, world.pen

    def of_kind(kind: BookingKind) -> list[Booking]:
        return [booking for booking in map(postings.booking, entries.values()) if booking.kind is kind]

    def one(key: str, kind: BookingKind) -> Booking | None:
        entry = entries.get(key)
        booking = postings.booking(entry) if entry is not None else None
        return booking if booking is not None and booking.kind is kind else None

    def memorial(key: str) -> Booking | None:
        offset = postings.offsets.get(key)
        return postings.of_offset(offset) if offset is not None else one(key, BookingKind.MEMORIAL)

    def modified(booking: Booking) -> str:
        return pen.stamp(booking.modified, booking.id)

    def mutations(since: str = "") -> Iterable[bookings.Mutation]:
        recent = (booking for booking in postings.all() if not since or modified(booking) >= since)
        return (line for booking in recent for line in bookings.mutations_of(world, booking))

    def money(kind: BookingKind, scope: str) -> Resource:
        return Resource(
            kind.value, bookings.MONEY[kind], scope, lambda key: one(key, kind),
            lambda row: bookings.money_booking(world, row), lambda: of_kind(kind), modified,
        )  # fmt: skip

    return [
        money(BookingKind.BANK, "bankieren:read"),
        money(BookingKind.CASH, "kas:read"),
        Resource(
            "memoriaalboekingen", bookings.MEMORIAL, "memoriaal:read", memorial,
            lambda row: bookings.memorial(world, row),
        ),
        Resource(
            "grootboekmutaties", bookings.MUTATION, "boekhouden:read",
            lambda key: next((line for line in mutations() if line.id == key), None),
            lambda row: bookings.mutation(world, row), mutations, lambda row: modified(row.booking), recent=mutations,
        ),
    ]  # fmt: skip
