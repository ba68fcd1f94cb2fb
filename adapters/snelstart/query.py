"""The query options as SnelStart understands them: OData version 3, names in their own casing (sheet 3.3). Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.snelstart.wire import stamp

OVERLAP: Final = timedelta(hours=3)
"""Changes are read again this far back: the server's zone is unknown, and summer time ends (sheet 4)."""
OLDEST: Final = "1900-01-01T00:00:00.0000000"
KEYS_IN_FILTER: Final = 20
"""Ids in one filter, so that an address stays short and the expression small."""

IS_OPEN: Final = "OpenstaandSaldo ne 0"
WITHOUT_NUMBER: Final = "FactuurNummer eq null"
PROBES: Final = {
    IS_OPEN: ("verkoopfacturen", "OpenstaandSaldo ne 0 and OpenstaandSaldo eq 0"),
    WITHOUT_NUMBER: ("grootboekmutaties", "FactuurNummer eq null and FactuurNummer ne null"),
}
"""A filter that nobody has shown to work -> where to try it, and a form of it that nothing can pass."""


def changed_since(seen: str) -> str:
    """The filter for what changed, `OVERLAP` before the newest change that a row has shown."""
    since = max(datetime.fromisoformat(seen) - OVERLAP, datetime.fromisoformat(OLDEST))
    return f"ModifiedOn gt datetime'{since.isoformat(timespec='seconds')}'"


def newest(items: Iterable[dict[str, Any]], known: str = OLDEST) -> str:
    """The latest change among the rows themselves; never our own clock."""
    latest: str = max([known, *_stamps(items)])
    return latest


def among(name: str, keys: Iterable[str]) -> str:
    """`name` is any one of these ids."""
    return " or ".join(f"{name} eq guid'{key}'" for key in sorted(keys))


def both(*conditions: str) -> str:
    return " and ".join(f"({condition})" for condition in conditions if condition)


def chunks(keys: Sequence[str], size: int = KEYS_IN_FILTER) -> Iterator[Sequence[str]]:
    return (keys[at : at + size] for at in range(0, len(keys), size))


def _stamps(items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """An item that cannot be read is quarantined by its decoder; it must not stop the others."""
    for item in items:
        try:
            yield stamp(item.get("modifiedOn"))
        except ValueError:
            continue
