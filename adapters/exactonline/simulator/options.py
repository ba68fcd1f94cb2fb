"""The query options of one request, understood and checked against what the endpoint allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from adapters.exactonline.simulator.odata import Node, QueryError, parse_filter, parse_literals
from adapters.exactonline.simulator.predicate import names
from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.tables import Endpoint

_KNOWN = frozenset({
    "$select", "$filter", "$orderby", "$top", "$skip", "$skiptoken", "$inlinecount", "$expand", "$format",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """`order` holds fields and whether each is descending; `token` the values of a `$skiptoken`."""

    raw: Mapping[str, str]
    select: list[str]
    node: Node | None
    order: list[tuple[str, bool]]
    top: int | None
    skip: int
    token: list[Any] | None

    @property
    def small(self) -> bool:
        return self.top is not None and self.token is None

    def limit(self, page_size: int) -> int:
        return page_size if self.top is None else min(page_size, self.top)

    def following(self, token: str, page_size: int) -> dict[str, str]:
        """The options of the next page: the same, with what is left of `$top`."""
        options = {name: value for name, value in self.raw.items() if name not in {"$skip", "$skiptoken"}}
        if self.top is not None:
            options["$top"] = str(self.top - page_size)
        return {**options, "$skiptoken": token}


def parse_options(
    endpoint: Endpoint, raw: Mapping[str, str], settings: SimulatorSettings, *, lookup: bool = False
) -> Options:
    """Raises `QueryError` for what this endpoint does not take. A look-up by key needs no filter."""
    zone = ZoneInfo(settings.server_zone)
    options = Options(
        raw,
        _selected(endpoint, raw.get("$select")),
        parse_filter(raw["$filter"], zone) if raw.get("$filter") else None,
        _ordered(endpoint, raw.get("$orderby")),
        _number(raw, "$top"),
        _number(raw, "$skip") or 0,
        parse_literals(raw["$skiptoken"], zone) if "$skiptoken" in raw else None,
    )
    unknown = {name for name in raw if name.startswith("$")} - _KNOWN
    if unknown:
        raise QueryError(f"The query parameter '{min(unknown)}' is not supported.")
    if not lookup:
        _check_select(endpoint, options, settings)
        _check_filter(endpoint, options, settings)
    return options


def _check_select(endpoint: Endpoint, options: Options, settings: SimulatorSettings) -> None:
    if endpoint.path.startswith(("bulk/", "sync/", "read/")) and "$skip" in options.raw:
        raise QueryError("The query parameter '$skip' is not supported on this endpoint.")
    needed = endpoint.needs_select or (settings.select_on_sync and endpoint.path.startswith("sync/"))
    if needed and "$select" not in options.raw and options.top != 1:
        raise QueryError("Please add a $select or a $top=1 statement to the query string.")
    if endpoint.refuses_star and options.raw.get("$select") == "*":
        raise QueryError("The $select=* statement is not supported on this endpoint.")


def _check_filter(endpoint: Endpoint, options: Options, settings: SimulatorSettings) -> None:
    used = names(options.node) if options.node is not None else set()
    if endpoint.filterable is not None and used - endpoint.filterable:
        raise QueryError(f"Filtering on '{min(used - endpoint.filterable)}' is not supported.")
    if settings.mandatory_filter and endpoint.mandatory and not used & endpoint.mandatory:
        raise QueryError(
            "This endpoint has mandatory filtering applied. A GET request for this endpoint must have a"
            " $filter parameter with one of the following fields in the url:" + ",".join(sorted(endpoint.mandatory))
        )


def _selected(endpoint: Endpoint, text: str | None) -> list[str]:
    if text is None or text == "*":
        return list(endpoint.types)
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    for name in wanted:
        if name not in endpoint.types:
            raise QueryError(f"Could not find a property named '{name}' on type '{endpoint.model}'.")
    return wanted


def _ordered(endpoint: Endpoint, text: str | None) -> list[tuple[str, bool]]:
    order = []
    for part in (text or "").split(","):
        words = part.split()
        if not words:
            continue
        if words[0] not in endpoint.columns or words[1:] not in ([], ["asc"], ["desc"]):
            raise QueryError(f"No property '{words[0]}' exists in type '{endpoint.model}' at position 0.")
        order.append((words[0], words[1:] == ["desc"]))
    return order


def _number(raw: Mapping[str, str], name: str) -> int | None:
    text = raw.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise QueryError(f"Invalid value for '{name}' query option found.")
    return int(text)
