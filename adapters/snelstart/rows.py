"""How the items of a page become rows: to which group they belong, and which are of no interest. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.snelstart import wire
from adapters.snelstart.kinds import BOOKING, KINDS, MANDATE, MONEY, RECEIVABLES, UNKNOWN_PAYMENTS
from connector.adapter import REFERENCE_GROUP, BadRow, Fields, References, Row
from connector.decoding import decoder, essential, guid

DOUBT: Final = "doubt"
UNASSIGNED: Final = "unassigned"
"""The group of what names no relation."""
_GUID: Final = 36
"""A line's key begins with that of its booking."""

_DECODERS: Final = {name: decoder(kind.fields, kind.required) for name, kind in KINDS.items()}
_BOOKING: Final = decoder(BOOKING, ("id",))
_LINE: Final = decoder({"boekingId": wire.link, "debet": wire.amount, "credit": wire.amount}, ())
_MANDATE: Final = decoder(MANDATE, ("id",))


class Chart(NamedTuple):
    """The ledger accounts and journals that matter, by id."""

    receivables: frozenset[str]
    unknown_payments: Mapping[str, str]
    """Id -> number."""
    memorials: frozenset[str]

    @classmethod
    def of(cls, references: References) -> "Chart":
        ledgers = references.get("ledger", ())
        return cls(
            receivables=frozenset(one["id"] for one in ledgers if one["grootboekfunctie"] == RECEIVABLES),
            unknown_payments={
                one["id"]: str(one["nummer"]) for one in ledgers if one["grootboekfunctie"] == UNKNOWN_PAYMENTS
            },
            memorials=frozenset(one["id"] for one in references.get("journal", ()) if one["soort"] == "Memoriaal"),
        )


@dataclass
class Decoded:
    """What the items of one page have become."""

    rows: list[Row] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    def add(self, more: "Decoded") -> None:
        self.rows += more.rows
        self.bad += more.bad

    def missing(self, keys: Iterable[str]) -> set[str]:
        return set(keys) - {row.key for row in self.rows} - {bad.key for bad in self.bad}

    def among(self, keys: Collection[str]) -> list[Row | BadRow]:
        """Those that were asked for: by key, by the booking that a line stands in, or what goes with an invoice."""
        wanted = set(keys)
        found = [
            row for row in self.rows if row.kind in {"sale", DOUBT} or not wanted.isdisjoint((row.key, row.key[:_GUID]))
        ]
        return [*found, *self.bad]


def decode(kind: str, found: Iterable[Mapping[str, Any]], chart: Chart) -> Decoded:
    """An item that cannot be read goes to `bad` and leaves the others standing.

    Raises:
        SchemaDrift: an item has no readable id, so that it could never leave the quarantine again.
    """
    result = Decoded()
    for item in found:
        try:
            result.rows += list(_rows(kind, item, chart))
        except ValueError as error:
            key_name = KINDS[kind].key if kind in KINDS else "id"
            key = str(essential(item, key_name, guid))
            group = key if kind == "relation" else _owner(item)
            result.bad.append(BadRow(kind=kind, key=key, reason=str(error), payload=dict(item), group=group))
    return result


def _rows(kind: str, item: Mapping[str, Any], chart: Chart) -> Iterator[Row]:
    if kind in MONEY:
        yield from _lines(kind, item)
        return
    fields = _DECODERS[kind](item)
    match kind:
        case "relation":
            yield Row(kind=kind, key=fields["id"], group=fields["id"], fields=fields)
        case "invoice":
            yield from _invoice(fields)
        case "memorial":
            if fields["grootboek"] in chart.receivables and fields.get("dagboek") in chart.memorials:
                group = fields.get("relatiePublicIdentifier", UNASSIGNED)
                yield Row(kind=kind, key=fields["id"], group=group, fields=fields)
        case "suspense":
            if fields["grootboek"] in chart.unknown_payments:
                group = f"suspense/{chart.unknown_payments[fields['grootboek']]}"
                yield Row(kind=kind, key=fields["id"], group=group, fields=fields)
        case "ledger":
            if fields.get("grootboekfunctie") in {RECEIVABLES, UNKNOWN_PAYMENTS}:
                yield reference(kind, fields["id"], fields)
        case _:
            yield reference(kind, str(fields[KINDS[kind].key]), fields)


def _invoice(fields: Fields) -> Iterator[Row]:
    """With the sale it is booked as, which is what payments point at (sheet 5.2)."""
    group = fields.get("relatie", UNASSIGNED)
    open_ = Decimal(fields["openstaandSaldo"]) != 0
    yield Row(kind="invoice", key=fields["id"], group=group, fields=fields, open=open_)
    if (sale := fields.get("verkoopBoeking")) is not None:
        yield Row(kind="sale", key=sale, group=group, fields={"id": sale, "invoice": fields["id"]})


def doubt(invoice: Row) -> Row:
    """Goes with an invoice that has changed, until somebody has looked whether it still adds up."""
    return Row(kind=DOUBT, key=f"invoice/{invoice.key}", group=invoice.group, fields={"invoice": invoice.key})


def _lines(kind: str, item: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each sale that a booking settles, its lines summed: they have no id and no order (sheet 5.4).

    Credit lowers what is open of the sale, debet raises it; `bedrag` has the sign of the latter.
    """
    booking = _BOOKING(item)
    of_sale: defaultdict[str, Decimal] = defaultdict(Decimal)
    for raw in item.get("verkoopboekingBoekingsRegels") or ():
        line = _LINE(raw)
        if (sale := line.get("boekingId")) is not None:
            of_sale[sale] += Decimal(line.get("debet", "0")) - Decimal(line.get("credit", "0"))
    key = booking.pop("id")
    for sale, moved in of_sale.items():
        fields = {"booking": key, "sale": sale, "bedrag": wire.amount(moved), "of": len(of_sale), **booking}
        yield Row(kind=kind, key=f"{key}/{sale}", group=None, fields=fields, parent=("sale", sale))


def booked(last: Mapping[str, str]) -> list[Row]:
    """How far each journal is booked: journal -> the latest day of a booking in it."""
    return [
        Row(
            kind="booked",
            key=journal,
            group=f"bank/{journal}",
            fields={"dagboek": journal, "datum": on},
            day=date.fromisoformat(on),
        )
        for journal, on in sorted(last.items())
    ]


def last_days(found: Iterable[Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """Journal -> latest day, from the bookings of a page and what was known; what cannot be read is passed over."""
    last = dict(known)
    for item in found:
        try:
            booking = _BOOKING({name: item.get(name) for name in ("id", "datum", "dagboek")})
        except ValueError:
            continue  # the booking itself is quarantined
        if "datum" in booking and "dagboek" in booking:
            last[booking["dagboek"]] = max(booking["datum"], last.get(booking["dagboek"], ""))
    return last


def mandates(relation: str, found: Iterable[Mapping[str, Any]]) -> Row | BadRow:
    """All mandates of one relation; they are asked for together."""
    raw = list(found)
    try:
        fields: Fields = {"relation": relation, "mandates": [_MANDATE(one) for one in raw]}
    except ValueError as error:
        return BadRow(kind="mandates", key=relation, reason=str(error), payload=raw, group=relation)
    return Row(kind="mandates", key=relation, group=relation, fields=fields)


def reference(kind: str, key: str, fields: Fields) -> Row:
    """A fact that every group may need, or that the adapter itself found out."""
    return Row(kind=kind, key=key, group=REFERENCE_GROUP, fields=fields)


def _owner(item: Mapping[str, Any]) -> str | None:
    """The relation that an item names, if that much of it can be read."""
    for name in ("relatie", "relatiePublicIdentifier"):
        try:
            if item.get(name) is not None:
                return wire.link(item[name])
        except ValueError:
            return None
    return None
