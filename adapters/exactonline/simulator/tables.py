"""What an endpoint serves: rows from the books, and one function per field to read them with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.exactonline.simulator.encoding import encoder
from adapters.exactonline.simulator.odata import Node
from adapters.exactonline.simulator.predicate import conditions, wanted
from adapters.exactonline.simulator.schema import schemas
from adapters.exactonline.simulator.versions import Feed

Column = Callable[[Any], Any]
Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from, and the shorter ways to some of them.

    `indexes` find rows by a field's value. `shortcuts` name comparisons, such as `Status lt 50`, whose rows
    are kept apart. Both may find more than the filter wants, never less.
    """

    rows: Callable[[], Iterable[Any]]
    get: Callable[[Any], Any | None]
    indexes: Mapping[str, Callable[[Any], Iterable[Any]]] = field(default_factory=dict)
    shortcuts: Mapping[tuple[str, str, Any], Callable[[], Iterable[Any]]] = field(default_factory=dict)

    def candidates(self, node: Node | None) -> Iterable[Any]:
        """The rows that may pass the filter, by the shortest way there is."""
        if node is None:
            return self.rows()
        for name, find in self.indexes.items():
            values = wanted(node, name)
            if values is not None:
                return [row for value in values for row in find(value)]
        for condition in conditions(node):
            key = condition.field.name, condition.operator, condition.literal.value
            if key in self.shortcuts:
                return self.shortcuts[key]()
        return self.rows()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path below the division.

    `mandatory` lists the fields of which the filter has to name one; `filterable`, when given, the only ones
    it may name. A feed makes it a sync endpoint.
    """

    path: str
    model: str
    columns: Columns
    source: Source
    mandatory: frozenset[str] = frozenset()
    filterable: frozenset[str] | None = None
    feed: Feed | None = None
    needs_select: bool = False
    refuses_star: bool = False
    volatile: bool = False
    """Its rows change without the books changing."""

    @property
    def key(self) -> str:
        return schemas()[self.path].key

    @property
    def types(self) -> Mapping[str, str]:
        return schemas()[self.path].fields

    @property
    def page_size(self) -> int:
        return 1000 if self.path.startswith(("bulk/", "sync/")) else 60

    def cells(self, names: Iterable[str]) -> list[tuple[str, Column]]:
        """For each field the function that reads it from a row and writes it as the wire shows it."""
        return [(name, _cell(self.columns.get(name), self.types[name])) for name in names]


def _cell(column: Column | None, edm: str) -> Column:
    if column is None:
        return lambda _: None
    if edm in {"Int64", "Double", "DateTime"}:
        write = encoder(edm)
        return lambda row: write(column(row))
    return column
