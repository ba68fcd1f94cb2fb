"""Which items settled which: what the package states, what follows from it, and a remainder that is called unknown.

Exact Online exposes no table of matches. The ladder of evidence is that of sheet 8.6; everything below its first step
is marked derived, and whatever nothing explains stays visible as kind `unknown`. Pure.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

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

    The settlements of a document add up to exactly that difference, in both currencies. What fits to the cent is
    paired before what leaves a rest.
    """
    matcher = _Matcher(items)
    matcher.by_name(exactly=True)
    matcher.by_name(exactly=False)
    matcher.absorb()
    matcher.by_mention(exactly=True)
    matcher.by_amount()
    matcher.by_mention(exactly=False)
    for item in items:
        if not item.money and item.id not in matcher.result.absorbed:
            known = matcher.result.by_item[item.id]
            if (rest := _remainder(item, known)) is not None:
                known.append(rest)
    return matcher.result


def status(item: Item, settlements: Sequence[Settlement]) -> PaymentStatus:
    """Never from a flag of the package: from what is open, and from what settled it (sheet 16.12)."""
    if not item.closed:
        return "partly_paid" if abs(item.base_open) < abs(item.base_total) else "open"
    kinds = {one.kind for one in settlements} - {"exchange_difference"}
    return _ALONE.get(next(iter(kinds)), "settled") if len(kinds) == 1 else "settled"


def settled_on(item: Item, settlements: Sequence[Settlement]) -> date | None:
    """The day of the last settlement, once nothing is open and every day is known."""
    if not item.closed or not settlements:
        return None
    days = [one.settled_on for one in settlements if one.settled_on is not None]
    return max(days) if len(days) == len(settlements) else None


def _settles(item: Item) -> bool:
    """Money, adjustments and credits settle; what is owed gets settled."""
    return item.money or item.type in ADJUSTING or item.total < 0


class _Matcher:
    """Pairs slices with the documents that they settled, from the best evidence down."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.result = Settled()
        self._need: dict[str, tuple[Decimal, Decimal]] = {}
        """What of a document's settled amount is not explained yet, in both currencies."""
        self._targets: list[Item] = []
        self._by_number: defaultdict[int, list[Item]] = defaultdict(list)
        self._by_reference: defaultdict[str, list[Item]] = defaultdict(list)
        self._left = [(item, part) for item in items if _settles(item) for part in item.slices]
        self._named: defaultdict[str, set[str]] = defaultdict(set)
        """Adjustment -> the documents that its slices name."""
        for item in items:
            if item.money or not item.terms or not (item.settled or item.base_settled):
                continue
            self._targets.append(item)
            self._need[item.id] = (item.settled, item.base_settled)
            if (number := item.number) is not None:
                self._by_number[number].append(item)
            if (reference := item.reference) is not None:
                self._by_reference[reference].append(item)

    def by_name(self, *, exactly: bool) -> None:
        """Settle what a slice names: the package filled it in when it matched the two (sheet 8.6, step 1)."""
        self._left = [(item, part) for item, part in self._left if not self._settle_named(item, part, exactly=exactly)]

    def absorb(self) -> None:
        """Adjustments that did nothing but close the one document they name are no documents of their own."""
        rest = {item.id for item, _ in self._left}
        for item_id, targets in self._named.items():
            if item_id not in rest and len(targets) == 1:
                self.result.absorbed.add(item_id)
                self.result.by_item.pop(item_id, None)
        for known in self.result.by_item.values():
            known[:] = [replace(one, source=None) if one.source in self.result.absorbed else one for one in known]

    def by_mention(self, *, exactly: bool) -> None:
        """Settle what a booking speaks of, when nothing contradicts it (sheet 8.6, step 2)."""
        self._left = [
            (item, part) for item, part in self._left if not self._settle_mentioned(item, part, exactly=exactly)
        ]

    def by_amount(self) -> None:
        """Pair by equal amount and end date where there is one candidate on either side (sheet 8.6, step 4)."""
        parts: defaultdict[tuple[str, Decimal, str | None], list[tuple[Item, Slice]]] = defaultdict(list)
        wants: defaultdict[tuple[str, Decimal, str | None], list[Item]] = defaultdict(list)
        for item, part in self._left:
            if item.id not in self._need or self._need[item.id][0]:
                parts[item.currency, part.amount, part.until].append((item, part))
        for target in self._targets:
            amount = self._need[target.id][0]
            if amount and target.id not in self.result.absorbed:
                for until in {part.until for part in target.slices}:
                    wants[target.currency, amount, until].append(target)
        for key, candidates in parts.items():
            targets = wants.get(key, [])
            if len(candidates) == 1 and len(targets) == 1:
                (item, part), target = candidates[0], targets[0]
                if target is not item and self._need[target.id][0] == part.amount:
                    self._settle(target, item, part, derived=True)
                    self._left.remove((item, part))

    def _settle_named(self, item: Item, part: Slice, *, exactly: bool) -> bool:
        found = self._by_number.get(part.names, []) if part.names is not None else []
        target = self._only(found, item, part)
        if target is None or (exactly and self._need[target.id][0] != part.amount):
            return False
        self._settle(target, item, part, derived=False)
        if item.type in ADJUSTING and item.closed:
            self._named[item.id].add(target.id)
        return True

    def _settle_mentioned(self, item: Item, part: Slice, *, exactly: bool) -> bool:
        found = self._by_number.get(part.mentions, []) if part.mentions is not None else []
        if not found and part.reference is not None:
            found = self._by_reference.get(part.reference, [])
        target = self._only(found, item, part)
        if target is None:
            return False
        need = abs(self._need[target.id][0])
        if abs(part.amount) > need or (exactly and abs(part.amount) != need):
            return False
        self._settle(target, item, part, derived=True)
        return True

    def _only(self, found: Sequence[Item], item: Item, part: Slice) -> Item | None:
        """The one candidate that this slice can have settled; adjustments give way to real documents."""
        fitting = [target for target in found if target is not item and self._fits(target, item, part)]
        real = [target for target in fitting if target.type not in ADJUSTING] or fitting
        return real[0] if len(real) == 1 else None

    def _fits(self, target: Item, item: Item, part: Slice) -> bool:
        if target.id in self.result.absorbed:
            return False
        together = {other.until for other in target.slices}
        if part.until is not None and None not in together and part.until not in together:
            return False
        if item.type == EXCHANGE_DIFFERENCE:
            return True
        need = self._need[target.id][0]
        return target.currency == item.currency and need * part.amount > 0

    def _settle(self, target: Item, item: Item, part: Slice, *, derived: bool) -> None:
        need, base_need = self._need[target.id]
        amount, base = part.amount, part.base
        if item.type == EXCHANGE_DIFFERENCE:
            amount = amount if item.currency == target.currency else ZERO
        elif abs(amount) > abs(need):
            amount, base, derived = need, base_need, True
        self._need[target.id] = (need - amount, base_need - base)
        kind: SettlementKind = "payment" if item.money else _KINDS.get(item.type, "unknown")
        settlement = Settlement(
            kind=kind,
            amount=amount,
            base_amount=base,
            settled_on=date.fromisoformat(item.day) if item.day else None,
            source=item.id,
            derived=derived,
        )
        self.result.by_item[target.id].append(settlement)
        if not item.money and item.id in self._need:
            own, base_own = self._need[item.id]
            self._need[item.id] = (own + amount, base_own + base)
            mirrored = replace(settlement, amount=-amount, base_amount=-base, source=target.id)
            self.result.by_item[item.id].append(mirrored)


def _remainder(item: Item, known: Sequence[Settlement]) -> Settlement | None:
    amount, base = item.settled, item.base_settled
    for one in known:
        amount -= one.amount
        base -= one.base_amount
    if amount:
        last = max((day for term in item.terms if (day := term.get("LastPaymentDate"))), default=None)
        return Settlement(
            kind="unknown",
            amount=amount,
            base_amount=base,
            settled_on=date.fromisoformat(last) if last else None,
            derived=True,
        )
    if base:
        days = [one.settled_on for one in known if one.settled_on is not None]
        return Settlement(
            kind="exchange_difference",
            amount=ZERO,
            base_amount=base,
            settled_on=max(days, default=None),
            derived=True,
        )
    return None
