"""Why an invoice's open amount differs from its total: what bookings say, and what is left to explain. Pure.

Lines of bank and cash bookings name the sale they settle. Memorial bookings cannot be listed; what they did is the
remainder, with the ledger's line as a hint where one fits to the cent (sheet 13.1, 13.4, 13.6). Hints never add
anything: the settlements of an invoice add up to what the package says is open, whatever the hints are.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from connector.adapter import Fields
from connector.domain.money import ZERO, exact
from connector.domain.records import PaymentStatus, Settlement

CURRENCY = "EUR"
"""There is no currency anywhere in the API (sheet 4)."""

_VOUCHER = ("dagboek", "boekstuk", "datum")


@dataclass(frozen=True, slots=True)
class Line:
    """What one booking did to what is open of one sale; `payment` is the external id of the money."""

    fields: Fields
    amount: Decimal
    payment: str


class Hints:
    """The memorial lines on the receivables account, of one relation."""

    def __init__(self, memorials: Iterable[Fields], invoices: Iterable[Fields]) -> None:
        self._by_number: defaultdict[str, list[Fields]] = defaultdict(list)
        self._vouchers: defaultdict[tuple[str | None, ...], list[Fields]] = defaultdict(list)
        for one in memorials:
            self._vouchers[tuple(one.get(name) for name in _VOUCHER)].append(one)
            if (number := one.get("factuurNummer")) is not None:
                self._by_number[number].append(one)
        self._invoices: defaultdict[str, list[str]] = defaultdict(list)
        for invoice in invoices:
            if (number := invoice.get("factuurnummer")) is not None:
                self._invoices[number].append(invoice["id"])

    def explain(self, number: str | None, rest: Decimal) -> list[Settlement]:
        """The remainder as settlements: by the ledger's lines when they come to it exactly, else one of it whole."""
        known = self._by_number.get(number or "", [])
        if len(self._invoices[number or ""]) > 1:  # a number that two invoices bear names neither
            known = []
        if sum((Decimal(one["saldo"]) for one in known), ZERO) != rest:
            known = next(([one] for one in known if Decimal(one["saldo"]) == rest), [])
        if not known:
            return [Settlement(kind="unknown", amount=rest, base_amount=rest, derived=True)]
        return [self._settlement(one) for one in known if Decimal(one["saldo"])]

    def _settlement(self, one: Fields) -> Settlement:
        voucher = self._vouchers[tuple(one.get(name) for name in _VOUCHER)]
        set_off = len(voucher) > 1 and not sum((Decimal(other["saldo"]) for other in voucher), ZERO)
        amount = exact(one["saldo"], CURRENCY)
        return Settlement(
            kind="set_off" if set_off else "unknown",
            amount=amount,
            base_amount=amount,
            settled_on=_day(one),
            source=self._counterpart(one, voucher) if set_off else None,
            derived=True,
        )

    def _counterpart(self, one: Fields, voucher: Sequence[Fields]) -> str | None:
        """The other invoice of a voucher that holds two."""
        others = [other for other in voucher if other is not one]
        found = self._invoices.get(others[0].get("factuurNummer", ""), []) if len(others) == 1 else []
        return found[0] if len(found) == 1 else None


def settle(number: str | None, total: Decimal, open_: Decimal, lines: Sequence[Line], hints: Hints) -> list[Settlement]:
    """They add up to `open_` - `total`, oldest first; those without a day last."""
    settlements = [
        Settlement(
            kind="payment",
            amount=line.amount,
            base_amount=line.amount,
            settled_on=_day(line.fields),
            source=line.payment,
        )
        for line in lines
        if line.amount
    ]
    rest = open_ - total - sum((one.amount for one in settlements), ZERO)
    if rest:
        settlements += hints.explain(number, rest)
    return sorted(settlements, key=lambda one: (one.settled_on is None, one.settled_on or date.max))


def status(total: Decimal, open_: Decimal, settlements: Sequence[Settlement]) -> PaymentStatus:
    """In the order of sheet 13.5. Below zero is overpaid or a rounding, never a credit (sheet 10.1)."""
    if not open_ or open_ * total < 0:
        return "paid" if {one.kind for one in settlements} == {"payment"} else "settled"
    return "partly_paid" if abs(open_) < abs(total) else "open"


def settled_on(open_: Decimal, settlements: Sequence[Settlement]) -> date | None:
    """The day of the last settlement, once nothing is open and every day is known."""
    days = [one.settled_on for one in settlements]
    known = [day for day in days if day is not None]
    return max(known) if not open_ and known and len(known) == len(days) else None


def _day(fields: Fields) -> date | None:
    return date.fromisoformat(fields["datum"]) if "datum" in fields else None
