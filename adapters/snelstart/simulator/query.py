"""Answers to list queries: the filter, an order that nobody promised, a page (sheet 3)."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Final
from zlib import crc32

from adapters.snelstart.simulator.apply import apply
from adapters.snelstart.simulator.encoding import Json
from adapters.snelstart.simulator.odata import QueryError, parse_filter
from adapters.snelstart.simulator.predicate import Types, compile_filter, ordered, selected, since
from adapters.snelstart.simulator.resources import MOST, Resource
from adapters.snelstart.simulator.settings import SimulatorSettings
from adapters.snelstart.simulator.world import World

_SEEN_ORDERED: Final = frozenset({"relaties", "bankboekingen", "kasboekingen"})
_REMEMBERED: Final = 8


class Reader:
    """Remembers the last few results, so that a scan is paid once per change."""

    def __init__(self, world: World, settings: SimulatorSettings) -> None:
        self._world = world
        self._settings = settings
        self._results: dict[tuple[str, ...], tuple[int, list[Any]]] = {}
        self._calls = 0

    def read(self, resource: Resource, raw: Mapping[str, str]) -> list[Json]:
        """One page, or `QueryError`. `raw` holds the options with their dollar sign."""
        assert resource.listing is not None
        if not resource.pages:  # every option is ignored, and nobody is told (sheet 3.3)
            return [resource.write(row) for row in resource.listing()]
        if "$expand" in raw:
            text = "The query specified in the URI is not valid. Query option 'Expand' is not allowed."
            raise QueryError(text, by_framework=True)
        top, skip = _top(raw.get("$top")), _whole("Skip", raw.get("$skip", "0"))
        if raw.get("$apply") and resource.path == "grootboekmutaties":
            return apply(raw["$apply"], map(resource.write, self._passing(resource, raw)), resource.model)
        keys = selected(raw["$select"], resource.model) if raw.get("$select") else None
        rows = [resource.write(row) for row in self._rows(resource, raw)[skip : skip + top]]
        return rows if keys is None else [{key: row[key] for key in keys if key in row} for row in rows]

    def _rows(self, resource: Resource, raw: Mapping[str, str]) -> list[Any]:
        """All passing rows in their order of the moment."""
        settings, orderby = self._settings, self._orderby(resource, raw)
        mark = resource.path, raw.get("$filter", ""), orderby, repr(settings)
        known = self._results.get(mark)
        if known is not None and known[0] == self._world.revision:
            rows = known[1]
        else:
            rows = self._sorted(resource, list(self._passing(resource, raw)), orderby)
            while len(self._results) >= _REMEMBERED:
                del self._results[next(iter(self._results))]
            self._results[mark] = self._world.revision, rows
        if settings.order == "restless" and not orderby:
            self._calls += 1
            rows = rows.copy()
            Random(self._calls).shuffle(rows)
        return rows

    def _orderby(self, resource: Resource, raw: Mapping[str, str]) -> str:
        """The order asked for, where it is obeyed."""
        where = self._settings.orderby
        obeyed = where == "everywhere" or (where == "seen" and resource.path in _SEEN_ORDERED)
        return raw.get("$orderby", "") if obeyed else ""

    def _passing(self, resource: Resource, raw: Mapping[str, str]) -> Iterable[Any]:
        assert resource.listing is not None
        rows, text = resource.listing(), raw.get("$filter")
        if not text:
            return rows
        refused = {name.partition("/") for name in self._settings.unfilterable}
        types = Types(resource.model, frozenset(name for path, _, name in refused if path == resource.path))
        node = parse_filter(text)
        passes, after, modified, write = compile_filter(node, types), since(node), resource.modified, resource.write
        if after is not None and resource.recent is not None:
            rows = resource.recent(after)
        elif after is not None and modified is not None:
            rows = (row for row in rows if modified(row) >= after)
        return (row for row in rows if passes(write(row)))

    def _sorted(self, resource: Resource, rows: list[Any], orderby: str) -> list[Any]:
        key: Callable[[Any], str] = resource.key
        modified = resource.modified
        if self._settings.order == "moving" and modified is not None:
            rows.sort(key=lambda row: crc32(f"{key(row)}{modified(row)}".encode()))
        else:
            rows.sort(key=key)
        for read, descending in reversed(ordered(orderby, resource.model) if orderby else []):
            written = {id(row): read(resource.write(row)) for row in rows}
            rows.sort(key=lambda row: _sortable(written[id(row)]), reverse=descending)
        return rows


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is not None, value if value is not None else 0


def _top(text: str | None) -> int:
    if text is None:
        return MOST
    top = _whole("Top", text)
    if top > MOST:
        raise QueryError(
            "The query specified in the URI is not valid. "
            f"The limit of '{MOST}' for Top query has been exceeded. The value from the incoming request is '{top}'.",
            by_framework=True,
        )
    if top < 1:
        raise QueryError(f"Invalid value '{text}' for $top query option found.", by_framework=True)
    return top


def _whole(name: str, text: str) -> int:
    if not text.isdecimal():
        raise QueryError(f"Invalid value '{text}' for ${name.lower()} query option found.", by_framework=True)
    return int(text)
