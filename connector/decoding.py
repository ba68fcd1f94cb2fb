"""What the values of every package have in common on their way into rows: text, ids, numbers, and a plan of fields.

A decoder turns one raw value into a plain JSON value; None means that it says nothing, and it is left out of the row.
For a value that is not what its field promises it raises ValueError and nothing else, so that a bad field condemns one
item and never a page.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from connector.errors import SchemaDrift

T = TypeVar("T")

NIL: Final = "00000000-0000-0000-0000-000000000000"
"""How packages write "none" where an id is expected."""

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch

Decode = Callable[[Any], Any]


def expect(kind: type[T], value: Any, name: str) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is not {name}")  # noqa: TRY004 - bad data, not a bad call: one error for all
    return value


def text(value: Any) -> str | None:
    """Trimmed, and storable everywhere: PostgreSQL holds no U+0000, UTF-8 no half of a surrogate pair."""
    found = value if type(value) is str else expect(str, value, "text")
    if not found.isascii():
        found = found.encode("utf-8", "replace").decode("utf-8")
    if "\x00" in found:
        found = found.replace("\x00", "")
    return found.strip() or None


def guid(value: Any) -> str | None:
    if not isinstance(value, str) or _GUID(key := value.lower()) is None:
        raise ValueError(f"{value!r} is not a guid")
    return None if key == NIL else key


def decimal(value: Any) -> Decimal:
    """Any number, also one that is written as text; it may still be infinite."""
    try:
        if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise ValueError(f"{value!r} is not a number")


def decoder(plan: Mapping[str, Decode], required: Sequence[str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function from one item to the fields kept of it; fields that the plan does not name are ignored.

    ValueError: a field that cannot be read, or one of `required` that says nothing.
    """
    steps = tuple(plan.items())

    def decode(item: Mapping[str, Any]) -> dict[str, Any]:
        fields = {}
        for name, convert in steps:
            raw = item.get(name)
            if raw is not None:
                try:
                    value = convert(raw)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
                if value is not None:
                    fields[name] = value
        for name in required:
            if name not in fields:
                raise ValueError(f"{name} is missing")
        return fields

    return decode


def essential(item: Mapping[str, Any], name: str, decode: Decode, default: Any = None) -> Any:
    """A field without which the whole answer says nothing; `default`, if any, stands where it is absent or null.

    Raises:
        SchemaDrift: it cannot be read, or there is nothing to stand for it.
    """
    raw = item.get(name)
    try:
        value = default if raw is None else decode(raw)
    except ValueError as error:
        raise _drift(f"{name} of an answer cannot be read: {error}") from error
    if value is None:
        raise _drift(f"an answer has no {name}")
    return value


def _drift(what: str) -> SchemaDrift:
    return SchemaDrift(
        what, fix="the package may have changed; what the answer was about stays as it was, and is asked again"
    )
