"""One GET on one endpoint: its rows found, one page of them written."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from random import Random
from typing import Any

from adapters.exactonline.simulator.odata import SYNTAX, QueryError
from adapters.exactonline.simulator.options import Options, parse_options
from adapters.exactonline.simulator.predicate import as_moment, compile_filter, conditions
from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.tables import Endpoint
from adapters.exactonline.simulator.versions import Deletion
from adapters.exactonline.simulator.world import World

Row = dict[str, Any]
Keys = list[tuple[Any, ...]]
_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Page:
    """`following` holds the options of the next page; `plain` asks for the envelope without `results`."""

    rows: list[Row]
    following: dict[str, str] | None = None
    plain: bool = False
    count: int | None = None


class Reader:
    """Answers queries and remembers the last few results, so that a scan is paid once per change."""

    def __init__(self, world: World, settings: SimulatorSettings) -> None:
        self._world = world
        self._settings = settings
        self._results: dict[tuple[str, str, str], tuple[int, Keys, list[Any]]] = {}

    def read(self, endpoint: Endpoint, raw: Mapping[str, str], uri: str) -> Page:
        """One page, or `QueryError`. `uri` is the endpoint's own address, for `__metadata`."""
        options = parse_options(endpoint, raw, self._settings)
        write = writer(endpoint, options.select, uri)
        plain = options.small and (options.top or 0) <= endpoint.page_size and self._settings.plain_envelope
        if endpoint.path.startswith("sync/"):
            return self._sync(endpoint, options, write, plain=plain)
        keys, rows = self._result(endpoint, options)
        size = options.limit(endpoint.page_size)
        start = _start(options, keys)
        following = None
        if start + size < len(rows) and (options.top is None or options.top > size):
            token = _token(keys[start + size - 1], endpoint, options)
            following = options.following(token, size)
        count = len(rows) if raw.get("$inlinecount") == "allpages" else None
        return Page([write(row) for row in rows[start : start + size]], following, plain, count)

    def count(self, endpoint: Endpoint, raw: Mapping[str, str]) -> int:
        return len(self._result(endpoint, parse_options(endpoint, raw, self._settings))[1])

    def one(self, endpoint: Endpoint, key: Any, raw: Mapping[str, str], uri: str) -> Row | None:
        options = parse_options(endpoint, raw, self._settings, lookup=True)
        row = endpoint.source.get(key)
        return None if row is None else writer(endpoint, options.select, uri)(row)

    def _result(self, endpoint: Endpoint, options: Options) -> tuple[Keys, list[Any]]:
        """All passing rows in order, with the keys they are ordered by."""
        mark = endpoint.path, options.raw.get("$filter", ""), options.raw.get("$orderby", "")
        known = self._results.get(mark)
        if known is not None and known[0] == self._world.revision:
            return known[1], known[2]
        rows = endpoint.source.candidates(options.node)
        if options.node is not None:
            passes = compile_filter(options.node, endpoint.types, endpoint.columns)
            rows = [row for row in rows if passes(row)]
        read = [endpoint.columns[name] for name in (*(name for name, _ in options.order), endpoint.key)]
        pairs = [(tuple(_sortable(column(row)) for column in read), row) for row in rows]
        pairs.sort(key=lambda pair: pair[0], reverse=_descending(options))
        keys, found = [key for key, _ in pairs], [row for _, row in pairs]
        if not endpoint.volatile:
            while len(self._results) >= _REMEMBERED:
                del self._results[next(iter(self._results))]
            self._results[mark] = self._world.revision, keys, found
        return keys, found

    def _sync(self, endpoint: Endpoint, options: Options, write: Callable[[Any], Row], *, plain: bool) -> Page:
        """A page of a sync feed: straight from the index of versions, whatever the size of the books."""
        size = options.limit(endpoint.page_size)
        found = list(islice(self._changed(endpoint, options), size + 1))
        rows = [write(row) for _, row in found[:size]]
        following = None
        if len(found) > size and (options.top is None or options.top > size):
            following = options.following(f"{found[size - 1][0]}L", size)
        if self._settings.duplicate_ids and rows:
            rows.insert(0, _older(rows[0]))
        if self._settings.shuffle_sync:
            Random(len(rows)).shuffle(rows)
        return Page(rows, following, plain)

    def _changed(self, endpoint: Endpoint, options: Options) -> Iterator[tuple[int, Any]]:
        after = _lower_bound(options)
        if options.node is not None:  # for its errors, and for what sync/Deleted may filter besides
            passes = compile_filter(options.node, endpoint.types, endpoint.columns)
        if endpoint.feed is None:
            deletions: list[Deletion] = self._world.deletions.after(after, self._world.books.clock.now())
            for deletion in deletions:
                if options.node is None or passes(deletion):
                    yield deletion.version, deletion
            return
        for version, key in endpoint.feed.after(after):
            row = endpoint.source.get(key)
            if row is not None:
                yield version, row


def writer(endpoint: Endpoint, select: list[str], uri: str) -> Callable[[Any], Row]:
    """The function that turns a row into what the wire shows of it."""
    links = [name for name in select if endpoint.types[name] == "Link"]
    cells = endpoint.cells(name for name in select if endpoint.types[name] != "Link")
    key = "ID" if "ID" in endpoint.types else endpoint.key
    identify, edm, model = endpoint.columns[key], endpoint.types[key], endpoint.model
    before, after = {"Guid": ("(guid'", "')"), "String": ("('", "')")}.get(edm, ("(", ")"))

    def write(row: Any) -> Row:
        address = f"{uri}{before}{identify(row)}{after}"
        written: Row = {"__metadata": {"uri": address, "type": model}}
        for name, cell in cells:
            written[name] = cell(row)
        for name in links:
            written[name] = {"__deferred": {"uri": f"{address}/{name}"}}
        return written

    return write


def _lower_bound(options: Options) -> int:
    """The version a sync page starts after; a `$skiptoken` says it better than the filter."""
    if options.token is not None:
        if len(options.token) != 1 or not isinstance(options.token[0], int):
            raise QueryError(SYNTAX)
        return options.token[0]
    after = 0
    for condition in conditions(options.node) if options.node is not None else []:
        if condition.field.name != "Timestamp":
            continue
        if condition.operator not in {"gt", "ge"}:
            raise QueryError("Only 'gt' and 'ge' are supported on Timestamp.")
        after = max(after, int(condition.literal.value) - (condition.operator == "ge"))
    return after


def _older(row: Row) -> Row:
    """A state the row might have had before, under the same id."""
    before = dict(row)
    for name in ("AmountDC", "AmountFC"):
        if name in before:
            before[name] = 1
    for name in ("Name", "City", "FullName"):
        if name in before:
            before[name] = "Voorheen"
    if "Timestamp" in before:
        before["Timestamp"] = str(int(before["Timestamp"]) - 1)
    return before


def _start(options: Options, keys: Keys) -> int:
    if options.token is None:
        return options.skip
    if len(options.token) != len(options.order) + 1:
        raise QueryError(SYNTAX)
    wanted = tuple(_sortable(value) for value in options.token)
    if _descending(options):
        return next((place for place, key in enumerate(keys) if key < wanted), len(keys))
    return bisect_right(keys, wanted)


def _descending(options: Options) -> bool:
    return bool(options.order) and options.order[0][1]


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is not None, as_moment(value)


def _token(key: tuple[Any, ...], endpoint: Endpoint, options: Options) -> str:
    """The place after a row: its order values and its key, as literals."""
    fields = [*(name for name, _ in options.order), endpoint.key]
    return ",".join(_literal(value, endpoint.types[name]) for (_, value), name in zip(key, fields, strict=True))


def _literal(value: Any, edm: str) -> str:
    if value is None:
        return "null"
    if edm == "Guid":
        return f"guid'{value}'"
    if edm == "Int64":
        return f"{value}L"
    if edm == "String":
        return "'" + str(value).replace("'", "''") + "'"
    if isinstance(value, datetime):
        text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
        return f"datetime'{text}'"
    return str(value).lower() if isinstance(value, bool) else str(value)
