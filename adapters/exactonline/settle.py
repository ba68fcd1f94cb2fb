"""Which items settled which: what the package states, what follows from it, and a remainder that is called unknown.

Exact Online exposes no table of matches. The ladder of evidence is that of sheet 8.6; everything below its first step
is marked derived, and whatever nothing explains stays visible as kind `unknown`. Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from adapters.exactonline.items import (
    ADJUSTING,
    CREDIT,
    EXCHANGE_DIFFERENCE,
    OTHER,
    PAYMENT_DIFFERENCE,
    SALES,
    Item,
    Slice,
)
from connector.domain.money import ZERO
from connector.domain.records import PaymentStatus, Settlement, SettlementKind

_KINDS: Final[dict[int, SettlementKind]] = {
    SALES: "credit",
    CREDIT: "credit",
    EXCHANGE_DIFFERENCE: "exchange_difference",
    PAYMENT_DIFFERENCE: "write_off",
    OTHER: "write_off",
}
_ALONE: Final[dict[SettlementKind, PaymentStatus]] = {
    "payment": "paid",
    "credit": "credited",
    "write_off": "written_off",
}


@dataclass
class Settled:
    """How the documents of one account were settled."""

    by_item: dict[str, list[Settlement]] = field(default_factory=lambda: defaultdict(list))
    absorbed: set[str] = field(default_factory=set)
    """Adjustments that exist only as the settlement of the one invoice they name."""


def settle(items: Sequence[Item]) -> Settled:
    """Explain for every document why its open amount differs from its total.

    The settlements of a document add up to exactly that difference, in both currencies.
    """
    result = Settled()
    matcher = _Matcher(items, result)
    left = [pair for item in items if _settles(item) for pair in matcher.by_name(item)]
    matcher.by_amount(left)
    for item in items:
        if not item.money and item.id not in result.absorbed:
            result.by_item[item.id] += _remainder(item, result.by_item[item.id])
    return result


def status(item: Item, settlements: Sequence[Settlement]) -> PaymentStatus:
    """Never from a flag of the package: from what is open, and from what settled it (sheet 16.12)."""
    if not item.closed:
        return "partly_paid" if abs(item.base_open) < abs(item.base_total) else "open"
    kinds = {one.kind for one in settlements} - {"exchange_difference"}
    return _ALONE.get(next(iter(kinds)), "settled") if len(kinds) == 1 else "settled"


def settled_on(item: Item, settlements: Sequence[Settlement]) -> date | None:
    """The day of the last settlement, once nothing is open and every day is known."""
    days = [one.settled_on for one in settlements]
    if not item.closed or not days or None in days:
        return None
    return max(day for day in days if day is not None)


def _settles(item: Item) -> bool:
    """Money, adjustments and credits settle; what is owed gets settled."""
    return item.money or item.type in ADJUSTING or item.total < 0


class _Matcher:
    def __init__(self, items: Sequence[Item], result: Settled) -> None:
        self._result = result
        self._need: dict[str, tuple[Decimal, Decimal]] = {}
        self._targets: list[Item] = []
        self._by_number: defaultdict[int, list[Item]] = defaultdict(list)
        self._by_reference: defaultdict[str, list[Item]] = defaultdict(list)
        for item in items:
            if item.money or not item.terms or not (item.settled or item.base_settled):
                continue
            self._targets.append(item)
            self._need[item.id] = (item.settled, item.base_settled)
            if item.number is not None:
                self._by_number[item.number].append(item)
            if item.reference is not None:
                self._by_reference[item.reference].append(item)

    def by_name(self, item: Item) -> Iterator[tuple[Item, Slice]]:
        """Settle what the slices of an item name; yields the slices that name nothing to be found."""
        found = [(part, self._named(item, part)) for part in item.slices]
        targets = {target.id for _, target in found if target is not None}
        absorbed = item.type in ADJUSTING and item.closed and len(targets) == 1 and all(target for _, target in found)
        if absorbed:
            self._result.absorbed.add(item.id)
        for part, target in found:
            if target is None:
                yield item, part
            else:
                self._settle(target, item, part, derived=False, absorbed=absorbed)

    def by_amount(self, left: Sequence[tuple[Item, Slice]]) -> None:
        """Pair by equal amount and end date where there is one candidate on either side (sheet 8.6, step 4)."""
        parts: defaultdict[tuple[str, Decimal, str | None], list[tuple[Item, Slice]]] = defaultdict(list)
        wants: defaultdict[tuple[str, Decimal, str | None], list[Item]] = defaultdict(list)
        for item, part in left:
            if item.id in self._need and not self._need[item.id][0]:
                continue
            parts[item.currency, part.amount, part.until].append((item, part))
        for target in self._targets:
            amount = self._need[target.id][0]
            if amount and target.id not in self._result.absorbed:
                for until in {part.until for part in target.slices}:
                    wants[target.currency, amount, until].append(target)
        for key, candidates in parts.items():
            targets = wants.get(key, [])
            if len(candidates) == 1 and len(targets) == 1:
                (item, part), target = candidates[0], targets[0]
                if target is not item and self._need[target.id][0] == part.amount:
                    self._settle(target, item, part, derived=True, absorbed=False)

    def _named(self, item: Item, part: Slice) -> Item | None:
        found = self._by_number.get(part.names, []) if part.names is not None else []
        if not found and part.reference is not None:
            found = self._by_reference.get(part.reference, [])
        fitting = [target for target in found if target is not item and self._fits(target, item, part)]
        real = [target for target in fitting if target.type not in ADJUSTING] or fitting
        return real[0] if len(real) == 1 else None

    def _fits(self, target: Item, item: Item, part: Slice) -> bool:
        if target.id in self._result.absorbed:
            return False
        if item.type == EXCHANGE_DIFFERENCE:
            return True
        need = self._need[target.id][0]
        return target.currency == item.currency and need * part.amount > 0

    def _settle(self, target: Item, item: Item, part: Slice, *, derived: bool, absorbed: bool) -> None:
        need, base_need = self._need[target.id]
        amount, base = part.amount, part.base
        if item.type == EXCHANGE_DIFFERENCE:
            amount = amount if item.currency == target.currency else ZERO
        elif abs(amount) > abs(need):
            amount, base, derived = need, base_need, True
        self._need[target.id] = (need - amount, base_need - base)
        kind: SettlementKind = "payment" if item.money else _KINDS.get(item.type, "unknown")
        day = date.fromisoformat(item.day) if item.day else None
        self._result.by_item[target.id].append(
            Settlement(
                kind=kind,
                amount=amount,
                base_amount=base,
                settled_on=day,
                source=None if absorbed else item.id,
                derived=derived,
            )
        )
        if not item.money and not absorbed and item.id in self._need:
            own, base_own = self._need[item.id]
            self._need[item.id] = (own + amount, base_own + base)
            self._result.by_item[item.id].append(
                Settlement(
                    kind=kind, amount=-amount, base_amount=-base, settled_on=day, source=target.id, derived=derived
                )
            )


def _remainder(item: Item, known: Sequence[Settlement]) -> Iterator[Settlement]:
    amount = item.settled - sum((one.amount for one in known), ZERO)
    base = item.base_settled - sum((one.base_amount for one in known), ZERO)
    if amount:
        last = max((day for term in item.terms if (day := term.get("LastPaymentDate"))), default=None)
        yield Settlement(
            kind="unknown",
            amount=amount,
            base_amount=base,
            settled_on=date.fromisoformat(last) if last else None,
            derived=True,
        )
    elif base:
        days = [one.settled_on for one in known if one.settled_on is not None]
        yield Settlement(
            kind="exchange_difference",
            amount=ZERO,
            base_amount=base,
            settled_on=max(days, default=None),
            derived=True,
        )
