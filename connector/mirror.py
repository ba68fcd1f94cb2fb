"""Whether a receiver's mirror of one administration equals the truth of its books. Pure.

`mirror` is one source of `GET /mirror` (`connector.receiver`); `truth` is what a simulator says of its own books:
customers, and items whose kinds receipt and refund are payments here and whose other kinds are invoices. The truth
counts everything as owed by the customer, so a payment has the opposite sign.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

MONEY: Final = frozenset({"receipt", "refund"})
OPTIONAL: Final = frozenset({"write_off", "exchange_difference", "journal"})
"""Kinds that are no business of a dunning service once nothing of them is open."""
ZERO: Final = Decimal(0)

AMOUNTS: Final = ("total", "open", "base_total", "base_open")
OF_PAYMENT: Final = ("amount", "unallocated", "base_amount", "base_unallocated")
OF_CUSTOMER: Final = ("number", "name", "email")

Json = Mapping[str, Any]


class Figures(Struct, frozen=True):
    """What is open: of how many customers, in how many items, and how much by currency."""

    customers: int
    items: int
    open: dict[str, Decimal]


def differences(mirror: Json, truth: Json) -> list[str]:
    """One sentence for each difference; none when the mirror equals the books."""
    mine, theirs = _mirrored(mirror), _true(truth)
    found = [*_missing(mine, theirs, truth["items"]), *_extra(mine, theirs), *_unequal(mine, theirs)]
    found += _due_dates(mirror["invoices"], truth["items"])
    found += _customers(mirror["customers"], truth)
    balance = sum((item.amounts[3] for item in mine.values()), ZERO)
    if balance != Decimal(truth["receivable_balance"]):
        found.append(f"receivable balance: {balance} here, {truth['receivable_balance']} in the books")
    return found


def figures(books: Json) -> Figures:
    """Of a mirror or of a truth, to be shown side by side."""
    items = (_true(books) if "items" in books else _mirrored(books)).values()
    still = [item for item in items if item.open]
    totals: dict[str, Decimal] = {}
    for item in still:
        totals[item.currency] = totals.get(item.currency, ZERO) + item.open
    return Figures(len({item.customer for item in still}), len(still), dict(sorted(totals.items())))


class _Item(Struct, frozen=True):
    customer: str
    currency: str
    amounts: tuple[Decimal, ...]

    @property
    def open(self) -> Decimal:
        return self.amounts[1]


def _true(truth: Json) -> dict[tuple[str, str], _Item]:
    return {
        ("payment" if item["kind"] in MONEY else "invoice", external_id): _Item(
            item["customer"], item["currency"], tuple(Decimal(item[name]) for name in AMOUNTS)
        )
        for external_id, item in truth["items"].items()
    }


def _mirrored(mirror: Json) -> dict[tuple[str, str], _Item]:
    kinds = (("invoice", mirror["invoices"], AMOUNTS, 1), ("payment", mirror["payments"], OF_PAYMENT, -1))
    return {
        (kind, external_id): _Item(
            item["customer"], item["currency"], tuple(sign * Decimal(item[name]) + ZERO for name in names)
        )
        for kind, items, names, sign in kinds
        for external_id, item in items.items()
    }


def _missing(
    mine: Mapping[tuple[str, str], _Item], theirs: Mapping[tuple[str, str], _Item], items: Json
) -> Iterator[str]:
    for (kind, external_id), item in theirs.items():
        may_be_absent = items[external_id]["kind"] in OPTIONAL and not item.open
        if (kind, external_id) not in mine and not may_be_absent:
            yield f"{kind} {external_id}: missing, {item.open} {item.currency} of {item.amounts[0]} open in the books"


def _extra(mine: Mapping[tuple[str, str], _Item], theirs: Mapping[tuple[str, str], _Item]) -> Iterator[str]:
    for (kind, external_id), item in mine.items():
        if (kind, external_id) not in theirs and any(item.amounts):
            yield f"{kind} {external_id}: not in the books, {item.open} {item.currency} of {item.amounts[0]} open here"


def _unequal(mine: Mapping[tuple[str, str], _Item], theirs: Mapping[tuple[str, str], _Item]) -> Iterator[str]:
    for kind, external_id in mine.keys() & theirs.keys():
        here, there = mine[kind, external_id], theirs[kind, external_id]
        pairs = [
            ("customer", here.customer, there.customer),
            ("currency", here.currency, there.currency),
            *zip(AMOUNTS, here.amounts, there.amounts, strict=True),
        ]
        for name, ours, true in pairs:
            if ours != true:
                yield f"{kind} {external_id}: {name} is {ours} here, {true} in the books"


def _due_dates(invoices: Json, items: Json) -> Iterator[str]:
    """Of what is open: chasing too early is as wrong as chasing too much."""
    for external_id in invoices.keys() & items.keys():
        here, there = invoices[external_id].get("due_date"), items[external_id]["due_date"]
        if Decimal(items[external_id]["open"]) > 0 and here != there:
            yield f"invoice {external_id}: due on {here} here, on {there} in the books"


def _customers(customers: Json, truth: Json) -> Iterator[str]:
    for external_id in sorted({item["customer"] for item in truth["items"].values()}):
        if external_id not in customers:
            yield f"customer {external_id}: missing"
            continue
        here, there = customers[external_id], truth["customers"][external_id]
        for name in OF_CUSTOMER:
            if (here.get(name) or None) != (there[name] or None):
                yield f"customer {external_id}: {name} is {here.get(name)!r} here, {there[name]!r} in the books"
