"""Bank, cash and memorial bookings on the wire, and the ledger's own lines (sheet 5.4 to 5.6)."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from adapters.simulation.ledger import Entry
from adapters.snelstart.simulator.encoding import Json, day, derived_id
from adapters.snelstart.simulator.invoices import references
from adapters.snelstart.simulator.postings import Booking, BookingKind, Posting
from adapters.snelstart.simulator.schema import models
from adapters.snelstart.simulator.world import World

MONEY: Final = {
    BookingKind.BANK: "Bankboekingen.BankboekingModel",
    BookingKind.CASH: "Kasboekingen.KasboekingModel",
}
MEMORIAL: Final = "Bankboekingen.MemoriaalboekingModel"
MUTATION: Final = "GrootboekMutaties.GrootboekMutatieModel"
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One line of a booking. An edited booking has lines with new ids (sheet 13.4)."""

    id: str
    booking: Booking
    posting: Posting


def money_booking(world: World, booking: Booking) -> Json:
    pen = world.pen
    own = sum((posting.amount for posting in _lines(world, booking, own=True)), ZERO)
    fields: Json = {
        **_head(world, booking),
        "grootboekBoekingsRegels": [
            {
                "omschrijving": posting.text,
                "grootboek": pen.link("grootboeken", posting.account.id),
                "kostenplaats": None,
                **_sides(world, posting, f"{booking.id}{place}"),
                "btwSoort": "Geen",
            }
            for place, posting in enumerate(_lines(world, booking))
            if posting.invoice is None
        ],
        "inkoopboekingBoekingsRegels": [],
        "verkoopboekingBoekingsRegels": [
            {
                "boekingId": pen.link("verkoopboekingen", posting.invoice.line.entry.id),
                "omschrijving": posting.text,
                **_sides(world, posting, f"{booking.id}{place}"),
            }
            for place, posting in enumerate(_lines(world, booking))
            if posting.invoice is not None
        ],
        "btwBoekingsregels": [],
        "bedragUitgegeven": pen.money(max(-own, ZERO), booking.id),
        "bedragOntvangen": pen.money(max(own, ZERO), booking.id),
        "dagboek": pen.link("dagboeken", world.chart.journal(booking.journal)),
    }
    return pen.row(booking.kind.value, booking.id, fields, models()[MONEY[booking.kind]])


def memorial(world: World, booking: Booking) -> Json:
    pen, sign = world.pen, world.settings.memorial_sign
    fields: Json = {
        **_head(world, booking),
        "memoriaalBoekingsRegels": [
            {
                "omschrijving": posting.text,
                "grootboek": pen.link("grootboeken", posting.account.id),
                "kostenplaats": None,
                **_sides(world, posting, f"{booking.id}{place}"),
            }
            for place, posting in enumerate(_lines(world, booking))
            if posting.invoice is None
        ],
        "inkoopboekingBoekingsRegels": [],
        "verkoopboekingBoekingsRegels": [
            {
                "boekingId": pen.link("verkoopboekingen", posting.invoice.line.entry.id),
                "omschrijving": posting.text,
                "bedrag": pen.money(-sign * posting.amount, f"{booking.id}{place}"),
            }
            for place, posting in enumerate(_lines(world, booking))
            if posting.invoice is not None
        ],
        "dagboek": pen.link("dagboeken", world.chart.journal(booking.journal)),
    }
    return pen.row(booking.kind.value, booking.id, fields, models()[MEMORIAL])


def mutations_of(world: World, booking: Booking) -> Iterator[Mutation]:
    version = f"{booking.id} {booking.modified.isoformat()}"
    for position, posting in enumerate(world.postings.postings(booking)):
        yield Mutation(derived_id(f"{version} {position}"), booking, posting)


def mutation(world: World, line: Mutation) -> Json:
    pen, booking, posting = world.pen, line.booking, line.posting
    entry = booking.of if isinstance(booking.of, Entry) else None
    named = posting.number is not None and posting.account.id in world.chart.kinds
    fields: Json = {
        "grootboek": pen.link("grootboeken", posting.account.id),
        "kostenplaats": None,
        "datum": day(booking.on),
        "modifiedOn": pen.stamp(booking.modified, booking.id),
        "dagboek": pen.link("dagboeken", world.chart.journal(booking.journal)),
        "omschrijving": posting.text,
        **_sides(world, posting, line.id),
        "saldo": pen.money(posting.amount, line.id),
        "documents": references(world, entry) if entry is not None and booking.kind is BookingKind.SALE else [],
        "boekstuk": booking.number,
        "factuurNummer": posting.number if named else None,
        "relatiePublicIdentifier": pen.link("relaties", posting.customer.id if posting.customer else None),
    }
    return pen.row("grootboekmutaties", line.id, fields, models()[MUTATION])


def _lines(world: World, booking: Booking, *, own: bool = False) -> list[Posting]:
    """The lines on the journal's own account, or else the others."""
    return [posting for posting in world.postings.postings(booking) if (posting.account is booking.journal) is own]


def _head(world: World, booking: Booking) -> Json:
    return {
        "modifiedOn": world.pen.stamp(booking.modified, booking.id),
        "datum": day(booking.on),
        "markering": False,
        "boekstuk": booking.number,
        "gewijzigdDoorAccountant": False,
        "omschrijving": booking.text,
    }


def _sides(world: World, posting: Posting, key: str) -> Json:
    return {
        "debet": world.pen.money(max(posting.amount, ZERO), key),
        "credit": world.pen.money(max(-posting.amount, ZERO), key),
    }
