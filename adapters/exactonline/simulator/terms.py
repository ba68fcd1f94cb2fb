"""Payment terms: the slices of an item that Exact shows instead of a balance (sheet 8.1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.simulation.changes import Ids
from adapters.simulation.ledger import Line
from adapters.simulation.matching import Collection, Item, Match

OPEN, SELECTED, SENT, MATCHED = 20, 30, 40, 50
RECEIVABLE, PAYABLE = 20, 22


@dataclass(slots=True, eq=False)
class Term:
    """A slice of a booking. Amounts are in ledger sign; `match` says what closed it.

    `shown` is the status of its latest row version.
    """

    id: str
    number: int
    line: Line
    item: Item | None
    amount: Decimal
    base: Decimal
    created: datetime
    modified: datetime
    match: Match | None = None
    shown: int = OPEN

    @property
    def line_type(self) -> int:
        return PAYABLE if self.item is None else RECEIVABLE

    @property
    def status(self) -> int:
        if self.match is not None:
            return MATCHED
        if self.item is None or self.item.collection is None:
            return OPEN
        return SENT if self.item.collection is Collection.SENT else SELECTED


@dataclass(slots=True)
class Outcome:
    """What became of the terms of one booking."""

    changed: list[Term]
    removed: list[Term]


class Terms:
    """Every term by id, the open ones apart, and per booking its slices."""

    def __init__(self, seed: int, settings: SimulatorSettings) -> None:
        self._ids = Ids(seed)
        self._settings = settings
        self._last_number = 0
        self.all: dict[str, Term] = {}
        self.open: dict[str, Term] = {}
        self.of_line: dict[str, list[Term]] = {}

    def settle(self, item: Item, *, edited: bool = False) -> Outcome:
        """Bring an item's terms up to date with the books."""
        terms = self.of_line.get(item.id, [])
        before = {term.id: (term.match, term.amount, term.base, term.shown) for term in terms}
        removed: list[Term] = []
        same_total = sum(term.amount for term in terms) == item.total
        if edited and len(terms) == 1 and not item.matches and not self._settings.replace_terms_on_edit:
            terms[0].amount, terms[0].base = item.total, item.line.base
        elif not terms or (edited and (self._settings.replace_terms_on_edit or not same_total)):
            removed, terms = terms, self._fresh(item)
        _let_go(terms, item)
        held = {id(term.match) for term in terms}
        for match in item.matches:
            if id(match) not in held:
                part = match.part(item)
                self._close(terms, match, part.amount, part.base)
        _level(terms, item)
        changed = []
        for term in terms:
            if edited or before.get(term.id) != (term.match, term.amount, term.base, term.status):
                term.shown, term.modified = term.status, item.modified
                changed.append(term)
        self._keep(item.id, terms, removed)
        return Outcome(changed, removed)

    def owe(self, line: Line) -> Outcome:
        """A supplier's invoice has terms too, which no debtor's reader should take for its own."""
        term = self._term(line, None, line.amount, line.base)
        self._keep(line.id, [term], [])
        return Outcome([term], [])

    def forget(self, line: Line) -> Outcome:
        removed = self.of_line.pop(line.id, [])
        for term in removed:
            del self.all[term.id]
            self.open.pop(term.id, None)
        return Outcome([], removed)

    def of_lines(self, ids: Iterable[str]) -> list[Term]:
        return [term for line in ids for term in self.of_line.get(line, ())]

    def _fresh(self, item: Item) -> list[Term]:
        blocked = item.line.entry.blocked_amount
        if blocked is None:
            return [self._term(item.line, item, item.total, item.line.base)]
        base = (blocked * item.line.entry.rate).quantize(Decimal("0.01"))
        return [
            self._term(item.line, item, item.total - blocked, item.line.base - base),
            self._term(item.line, item, blocked, base),
        ]

    def _term(self, line: Line, item: Item | None, amount: Decimal, base: Decimal) -> Term:
        self._last_number += 1
        at = line.entry.modified
        return Term(self._ids.new(), self._last_number, line, item, amount, base, at, at)

    def _close(self, terms: list[Term], match: Match, amount: Decimal, base: Decimal) -> None:
        """Mark open slices worth this much as closed by the match, splitting the last one."""
        free = [term for term in terms if term.match is None]
        free.sort(key=lambda term: (term.amount != amount, -abs(term.amount)))
        for term in free:
            if abs(term.amount) > abs(amount):
                term = self._split(terms, term, amount, base)  # noqa: PLW2901 - the slice stands in for it
            elif term.amount == amount:
                term.base = base
            term.match = match
            amount -= term.amount
            base -= term.base
            if not amount:
                return

    def _split(self, terms: list[Term], term: Term, amount: Decimal, base: Decimal) -> Term:
        """Cut a slice of this size off; answers the slice."""
        rest = term.amount - amount, term.base - base
        if self._settings.split_keeps_matched:
            terms.append(self._term(term.line, term.item, *rest))
            term.amount, term.base = amount, base
            return term
        piece = self._term(term.line, term.item, amount, base)
        terms.append(piece)
        term.amount, term.base = rest
        return piece

    def _keep(self, line_id: str, terms: Sequence[Term], removed: Sequence[Term]) -> None:
        for term in removed:
            self.all.pop(term.id, None)
            self.open.pop(term.id, None)
        self.of_line[line_id] = list(terms)
        for term in terms:
            self.all[term.id] = term
            if term.status < MATCHED:
                self.open[term.id] = term
            else:
                self.open.pop(term.id, None)


def _let_go(terms: Sequence[Term], item: Item) -> None:
    """Open the slices whose match was taken back."""
    for term in terms:
        if term.match is not None and not any(term.match is match for match in item.matches):
            term.match = None


def _level(terms: Sequence[Term], item: Item) -> None:
    """Let rounding end in one open slice, so that the open ones come to what the books say."""
    free = [term for term in terms if term.match is None]
    if free:
        free[-1].base += item.base_open - sum(term.base for term in free)
