"""How SnelStart writes values, and the plain JSON values that rows keep of them (sheet 4).

What says nothing (absent, null, blank text, a link to the nil UUID) becomes None and is left out of the row. Days are
ISO days, amounts decimal strings with two digits, links the id alone.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from connector.errors import SchemaDrift, SourceDown

_NIL: Final = "00000000-0000-0000-0000-000000000000"
_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?").match
_TICK: Final = 7
"""Digits of a second's fraction, of which trailing zeros are not written."""
_LIMIT: Final = 10**12

Decode = Callable[[Any], Any]
"""One raw value to one plain value. ValueError: the value is not of the kind that the field promises."""


def text(value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004 - bad data, not a bad call: one error for all
    return value.encode("utf-8", "replace").decode("utf-8").replace("\x00", "").strip() or None


def guid(value: Any) -> str | None:
    if not isinstance(value, str) or _GUID(key := value.lower()) is None:
        raise ValueError(f"{value!r} is not a UUID")
    return None if key == _NIL else key


def link(value: Any) -> str | None:
    """The id in a reference such as `{"id": ..., "uri": ...}`."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a reference")  # noqa: TRY004 - as for text
    return None if value.get("id") is None else guid(value["id"])


def links(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")  # noqa: TRY004 - as for text
    return [key for one in value if one is not None and (key := link(one)) is not None] or None


def words(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")  # noqa: TRY004 - as for text
    return [word for one in value if (word := text(one)) is not None] or None


def amount(value: Any) -> str:
    """Often with four decimals; what is really finer than a cent keeps its digits."""
    exact = _number(value)
    if not exact.is_finite() or abs(exact) >= _LIMIT:
        raise ValueError(f"{value!r} is not an amount")
    cents = exact.quantize(Decimal("0.01"))
    return f"{cents + 0:.2f}" if cents == exact else f"{exact.normalize():f}"


def whole(value: Any) -> int:
    exact = _number(value)
    if not exact.is_finite() or exact != int(exact) or abs(exact) >= _LIMIT:
        raise ValueError(f"{value!r} is not a whole number")
    return int(exact)


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - as for text
    return value


def day(value: Any) -> str | None:
    """A business date is the first ten characters, in no zone (sheet 4)."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a date")  # noqa: TRY004 - as for text
    found = date.fromisoformat(value[:10])
    return None if found.year == 1 else found.isoformat()


def stamp(value: Any) -> str:
    """`modifiedOn` on the server's own clock, to the tick, so that texts compare as the moments do."""
    match = _STAMP(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a time")
    return f"{match[1]}.{(match[2] or '')[:_TICK]:0<{_TICK}}"


def record(plan: Mapping[str, Decode]) -> Decode:
    """A value that is an object itself; None when nothing in it says anything."""
    decode = decoder(plan, ())

    def convert(value: Any) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not an object")  # noqa: TRY004 - as for text
        return decode(value) or None

    return convert


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


def essential(item: Mapping[str, Any], name: str, decode: Decode) -> Any:
    """A field without which the whole answer says nothing.

    Raises:
        SchemaDrift: it cannot be read, or says nothing.
    """
    try:
        value = None if item.get(name) is None else decode(item[name])
    except ValueError as error:
        raise _drift(f"{name} of an answer cannot be read: {error}") from error
    if value is None:
        raise _drift(f"an answer has no {name}")
    return value


def items(body: Any, where: str) -> list[dict[str, Any]]:
    """A list is a bare array (sheet 3.2).

    Raises:
        SourceDown: something else, which is no empty list.
    """
    if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
        raise SourceDown("the package answered with something that is no list of items", where=where, fix=_AGAIN)
    return body


def item(body: Any, where: str) -> dict[str, Any]:
    """Raises SourceDown: it is no single item."""
    if not isinstance(body, dict):
        raise SourceDown("the package answered with something that is no item", where=where, fix=_AGAIN)
    return body


_AGAIN: Final = "nothing to do: it is tried again in the next cycle"


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - as for text
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a number") from error


def _drift(what: str) -> SchemaDrift:
    return SchemaDrift(
        what, fix="the package may have changed; what the answer was about stays as it was, and is asked again"
    )
