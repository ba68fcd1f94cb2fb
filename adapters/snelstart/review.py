"""Which invoices and bookings to read again at the end of a cycle, because they do not add up (sheet 13.2 to 13.4).

Neither a settled invoice nor a deleted booking shows in a change feed. But where something was touched, the lines that
are known either explain what is open, or something that is stored is old.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from adapters.snelstart.kinds import MONEY
from adapters.snelstart.rows import DOUBT
from connector.adapter import Fields, Stored
from connector.domain.money import ZERO

_GROUPS: Final = 200
"""Relations whose rows are looked at together."""


class Touched(NamedTuple):
    """An invoice, and what is known to settle it: lines of bookings, each with its kind, and the ledger's hints."""

    invoice: Fields
    lines: Sequence[tuple[str, Fields]]
    memorials: Sequence[Fields]
    hinted: bool
    """Whether one of the hints is new."""
    by_booking: bool

    def off(self, invoice: Fields) -> bool:
        """Whether that does not explain what is open of the invoice, as this row of it says."""
        moved = sum((Decimal(line["bedrag"]) for _, line in self.lines), ZERO)
        moved += sum((Decimal(one["saldo"]) for one in self.memorials), ZERO)
        return Decimal(invoice["factuurBedrag"]) + moved != Decimal(invoice["openstaandSaldo"])


class Review:
    """What one cycle has touched so far, beside the doubts that are stored."""

    def __init__(self) -> None:
        self._sales: set[str] = set()
        self._bookings: set[str] = set()
        """Bookings that were read in this cycle, so that their lines are true."""
        self._hints: set[tuple[str, str]] = set()
        """Relation and number of invoices that a new memorial line names."""

    def bookings_read(self, bookings: Collection[str], sales: Collection[str]) -> None:
        """`sales`: those they settle, and those they settled before."""
        self._bookings.update(bookings)
        self._sales.update(sales)

    def hinted(self, memorials: Iterable[Fields]) -> None:
        for one in memorials:
            if "relatiePublicIdentifier" in one and "factuurNummer" in one:
                self._hints.add((one["relatiePublicIdentifier"], one["factuurNummer"]))

    async def touched(self, stored: Stored) -> list[Touched]:
        """What is stored by now of everything that was touched."""
        doubts = await stored.parts(DOUBT, ["invoice"])
        sales = await stored.rows("sale", self._sales)
        by_booking = {sale["invoice"] for sale in sales.values()}
        invoices = await stored.rows("invoice", by_booking | {one["invoice"] for one in doubts.values()})
        groups = {one["relatie"] for one in invoices.values() if "relatie" in one}
        groups |= {relation for relation, _ in self._hints}
        ordered = sorted(groups)
        found: list[Touched] = []
        for at in range(0, len(ordered), _GROUPS):
            for group, rows in (await stored.groups(ordered[at : at + _GROUPS])).items():
                lines: defaultdict[str, list[tuple[str, Fields]]] = defaultdict(list)
                for kind in MONEY:
                    for line in rows.get(kind, ()):
                        lines[line["sale"]].append((kind, line))
                memorials = rows.get("memorial", ())
                for invoice in rows.get("invoice", ()):
                    number = invoice.get("factuurnummer", "")
                    hinted = (group, number) in self._hints
                    if invoice["id"] in invoices or hinted:
                        of_sale = lines[invoice.get("verkoopBoeking", "")]
                        hints = [one for one in memorials if one.get("factuurNummer") == number]
                        found.append(Touched(invoice, of_sale, hints, hinted, invoice["id"] in by_booking))
        return found

    def doubtful(self, touched: Iterable[Touched]) -> set[str]:
        """Invoices whose own row may be old: a booking or the ledger moved something, and it does not show."""
        return {str(one.invoice["id"]) for one in touched if one.hinted or (one.by_booking and one.off(one.invoice))}

    def suspects(self, touched: Iterable[Touched], again: Mapping[str, Fields]) -> dict[str, set[str]]:
        """Bookings to ask for by id, by the kind of their lines: those of invoices that still do not add up."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for one in touched:
            if one.hinted or one.off(again.get(one.invoice["id"], one.invoice)):
                for kind, line in one.lines:
                    if line["booking"] not in self._bookings:
                        found[kind].add(line["booking"])
        return found
