"""How the traffic of each package is counted: what an item is, how many fill a page, when the open items are there."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

import msgspec

from tests.stories.packages import EXACTONLINE, SNELSTART, Simulated

_EXACT_ITEM = re.compile(rb'\{"__metadata":\{"uri":"([^"]*)"')
_EXACT_KEY = re.compile(r"ID eq guid'([0-9a-f-]{36})'")
_EXACT_KEYS_IN_URL = 60
"""Keys that fit into one look-up by id (Exact Online sheet 3.4)."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One package as recordings know it. Targets are paths with their queries."""

    package: Simulated
    api: str
    """What the paths of its API begin with."""
    items: Callable[[bytes], Sequence[bytes]]
    """Body -> something of each raw item in it that no other item of its path has."""
    page: Callable[[str], int]
    """Path -> items on a full page."""
    keys: Callable[[str], list[str]] = lambda _: []
    """Target -> the ids that it looks up, where many fit into one; the replay answers them in any combination."""
    open_begins: Callable[[str], bool]
    open_is_over: Callable[[str], bool]
    """Targets with which the open items begin, and with which what follows them and their customers begins."""

    def least_calls(self, answers: Sequence[tuple[str, bytes]]) -> int:
        """The fewest calls that bring the same items: each item once, pages full, keys packed."""
        items: dict[str, set[bytes]] = {}
        keys: dict[str, set[str]] = {}
        for target, body in answers:
            path = target.partition("?")[0]
            if looked_up := self.keys(target):
                keys.setdefault(path, set()).update(looked_up)
            else:
                items.setdefault(path, set()).update(self.items(body))
        least = sum(max(1, math.ceil(len(found) / self.page(path))) for path, found in items.items())
        return least + sum(math.ceil(len(found) / _EXACT_KEYS_IN_URL) for found in keys.values())

    def calls_until_open(self, targets: Sequence[str]) -> int:
        begun = False
        for number, target in enumerate(targets):
            begun = begun or self.open_begins(target)
            if begun and self.open_is_over(target):
                return number
        return 0


class _Identified(msgspec.Struct):
    id: str = ""


def _snelstart_items(body: bytes) -> Sequence[bytes]:
    """A list of items, or one (SnelStart sheet 3.2)."""
    if not body.startswith(b"["):
        return [body]
    return [item.id.encode() for item in msgspec.json.decode(body, type=list[_Identified])]


WIRES = {
    wire.package.name: wire
    for wire in (
        Wire(
            package=EXACTONLINE,
            api="/api/v1/",
            items=_EXACT_ITEM.findall,
            # Bulk and sync endpoints have larger pages than the others (Exact Online sheet 3.1).
            page=lambda path: 1000 if "/bulk/" in path or "/sync/" in path else 60,
            keys=lambda target: _EXACT_KEY.findall(unquote_plus(target)),
            open_begins=lambda target: "/bulk/Cashflow/Receivables" in target,
            open_is_over=lambda target: "/sync/" in target,
        ),
        Wire(
            package=SNELSTART,
            api="/v2/",
            items=_snelstart_items,
            page=lambda _: 500,
            open_begins=lambda target: "/verkoopfacturen?" in target and "top=500" in target,
            open_is_over=lambda target: "ModifiedOn" in target,
        ),
    )
}
