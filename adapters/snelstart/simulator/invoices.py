"""Invoices on the wire: the open item, the booking behind it, and the order before it (sheet 5.2, 5.3, 5.8)."""

from decimal import Decimal
from typing import Final

from adapters.simulation.documents import Document
from adapters.simulation.ledger import AccountKind, Entry
from adapters.simulation.matching import Item
from adapters.snelstart.simulator.encoding import Json, day, derived_id
from adapters.snelstart.simulator.postings import has_booking, number_of
from adapters.snelstart.simulator.schema import models
from adapters.snelstart.simulator.world import World

INVOICE: Final = "Verkoopfacturen.VerkoopfactuurModel"
SALE: Final = "VerkoopBoekingen.VerkoopBoekingModel"
ORDER: Final = "Verkooporders.VerkoopOrderModel"
_LONGEST_TERM = 999
_RATES: Final = {21: "Hoog", 9: "Laag", 0: "Geen"}


def invoice(world: World, item: Item) -> Json:
    pen, entry, key = world.pen, item.line.entry, item.id
    order = _order_id(entry) if has_booking(item) else None
    fields: Json = {
        "verkoopBoeking": pen.link("verkoopboekingen", entry.id if has_booking(item) else None),
        "modifiedOn": pen.stamp(world.shown_at[key], key),
        "openstaandSaldo": pen.money(world.postings.open(item), f"{key}o"),
        "factuurnummer": number_of(item),
        "vervalDatum": day(item.due_date),
        "relatie": pen.link("relaties", item.customer.id),
        "factuurDatum": day(entry.on),
        "factuurBedrag": pen.money(item.total, key),
        "verkoopOrders": [pen.link("verkooporders", order)] if order else [],
    }
    return pen.row("verkoopfacturen", key, fields, models()[INVOICE])


def sale(world: World, entry: Entry) -> Json:
    pen, item = world.pen, world.books.matching.items[entry.lines[0].id]
    revenue = [line for line in entry.lines if line.account.kind is AccountKind.REVENUE]
    tax = -sum((line.amount for line in entry.lines if line.account.kind is AccountKind.VAT), Decimal(0))
    net = -sum((line.amount for line in revenue), Decimal(0))
    rate = _RATES.get(round(100 * tax / net) if net else 0, "Overig")
    mandate = item.customer.mandate if item.customer.condition.collected else None
    fields: Json = {
        "modifiedOn": pen.stamp(entry.modified, entry.id),
        "boekstuk": str(entry.number),
        "gewijzigdDoorAccountant": False,
        "markering": False,
        "factuurdatum": day(entry.on),
        "factuurnummer": number_of(item),
        "klant": pen.link("relaties", item.customer.id),
        "omschrijving": entry.text,
        "factuurbedrag": pen.money(item.total, entry.id),
        "betalingstermijn": min(max(0, (item.due_date - entry.on).days), _LONGEST_TERM),
        "eenmaligeIncassoMachtiging": None,
        "doorlopendeIncassoMachtiging": pen.link("doorlopendeincassomachtigingen", mandate.id if mandate else None),
        "boekingsregels": [
            {
                "omschrijving": line.text,
                "grootboek": pen.link("grootboeken", line.account.id),
                "kostenplaats": None,
                "bedrag": pen.money(-line.amount, line.id),
                "btwSoort": rate,
            }
            for line in revenue
        ],
        "btw": [{"btwSoort": f"Verkopen{rate}", "btwBedrag": pen.money(tax, f"{entry.id}b")}] if tax else [],
        "documents": references(world, entry),
    }
    return pen.row("verkoopboekingen", entry.id, fields, models()[SALE])


def references(world: World, entry: Entry) -> list[Json]:
    """The documents of a booking, as the booking itself and its ledger lines list them (sheet 13.14)."""
    found = document(world, entry)
    if found is None:
        return []
    return [
        {
            "parentIdentifier": entry.id,
            "fileName": attachment.name,
            "readOnly": True,
            "id": attachment.id,
            "uri": f"/documenten/{attachment.id}",
        }
        for attachment in found.attachments
    ]


def document(world: World, entry: Entry) -> Document | None:
    """What is kept with a booking, if the tenant keeps invoices there."""
    return world.books.documents.of_entry.get(entry.id) if world.settings.invoice_on_booking else None


def order(world: World, entry: Entry) -> Json:
    pen, item = world.pen, world.books.matching.items[entry.lines[0].id]
    key = order_id(entry)
    fields: Json = {
        **dict.fromkeys(models()[ORDER]),
        "relatie": pen.link("relaties", item.customer.id),
        "procesStatus": "Factuur",
        "nummer": entry.order_number,
        "modifiedOn": pen.stamp(entry.modified, key),
        "datum": day(entry.on),
        "krediettermijn": min(max(0, (item.due_date - entry.on).days), 100),
        "geblokkeerd": False,
        "omschrijving": entry.text,
        "betalingskenmerk": entry.payment_reference,
        "verkooporderBtwIngaveModel": "Exclusief",
        "regels": [],
        "orderreferentie": entry.reference,
        "factuurkorting": 0,
        "verkoopfactuur": pen.link("verkoopfacturen", item.id),
        "verkoopOrderStatus": "Uitgevoerd",
        "totaalInclusiefBtw": pen.money(item.total, key),
        "extraHoofdVelden": [],
    }
    return pen.row("verkooporders", key, fields, models()[ORDER])


def order_id(entry: Entry) -> str:
    return derived_id(f"order of {entry.id}")


def _order_id(entry: Entry) -> str | None:
    return order_id(entry) if entry.order_number is not None else None
