"""`$apply` over ledger lines: sums and the like, by group if wanted (sheet 3.3)."""

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from adapters.snelstart.simulator.encoding import NIL, Json
from adapters.snelstart.simulator.odata import QueryError
from adapters.snelstart.simulator.predicate import is_property

_AMOUNTS = frozenset({"Saldo", "Debet", "Credit"})
_GROUPED = re.compile(r"\s*groupby\(\((?P<names>[^()]*)\)(?:\s*,\s*(?P<inner>aggregate\(.*\)))?\)\s*\Z")
_AGGREGATE = re.compile(r"\s*aggregate\((?P<parts>[^()]*)\)\s*\Z")
_PART = re.compile(r"\s*(?P<name>\w+) with (?P<how>sum|min|max|average) as (?P<alias>\w+)\s*\Z")
_WAYS: dict[str, Callable[[Sequence[Decimal]], Decimal]] = {
    "sum": lambda amounts: sum(amounts, Decimal(0)),
    "min": min,
    "max": max,
    "average": lambda amounts: sum(amounts, Decimal(0)) / len(amounts),
}


class _Part(NamedTuple):
    key: str
    how: Callable[[Sequence[Decimal]], Decimal]
    alias: str

    def of(self, rows: Sequence[Json]) -> Decimal | None:
        return self.how([row[self.key] for row in rows]) if rows else None


def apply(text: str, rows: Iterable[Json], model: str) -> list[Json]:
    """One row, or one for each group; the names are written as they were asked for."""
    grouped = _GROUPED.match(text)
    if grouped is None:
        kept = list(rows)
        return [{part.alias: part.of(kept) for part in _parts(text)}]
    names = [name.strip() for name in grouped["names"].split(",")]
    if not all(is_property(name, model) for name in names):
        raise QueryError("Ongeldig OData filter")
    parts = _parts(grouped["inner"]) if grouped["inner"] else []
    groups: dict[tuple[Any, ...], list[Json]] = {}
    shown: dict[tuple[Any, ...], Json] = {}
    for row in rows:
        values = {name: _value(row.get(name[0].lower() + name[1:])) for name in names}
        key = tuple(str(value) for value in values.values())
        shown.setdefault(key, values)
        groups.setdefault(key, []).append(row)
    return [{**shown[key], **{part.alias: part.of(kept) for part in parts}} for key, kept in groups.items()]


def _value(value: Any) -> Any:
    """Nothing is one group, however rows write it."""
    return None if isinstance(value, dict) and value.get("id") == NIL else value


def _parts(text: str) -> list[_Part]:
    found = _AGGREGATE.match(text)
    parts = [_PART.match(part) for part in found["parts"].split(",")] if found else [None]
    if any(part is None or part["name"] not in _AMOUNTS for part in parts):
        raise QueryError("Ongeldig OData filter")
    return [_Part(part["name"].lower(), _WAYS[part["how"]], part["alias"]) for part in parts if part is not None]
