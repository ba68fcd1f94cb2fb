"""How Exact Online writes values, and the plain JSON values that rows keep of them (sheet 3.1, 3.2).

Text is trimmed (codes come padded), guids are lower case, dates are ISO days, amounts are decimal strings with two
digits. What says nothing (null, empty text, the empty guid, the year 1) becomes None and is left out of the row.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from connector.errors import SchemaDrift, SourceDown

NO_GUID = "00000000-0000-0000-0000-000000000000"

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_DATE = re.compile(r"/Date\((-?\d{1,15})([+-]\d{4})?\)/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOISE = Decimal("0.000001")
_ZERO = Decimal(0)
_LIMIT = 10**12
_COUNTER_LIMIT = 2**63
_SHORT = 19
"""Digits that always fit into a counter."""

Decode = Callable[[Any], Any]
"""One raw value to one plain value. ValueError: the value is not of the kind that the field promises."""


def text(value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004 - bad data, not a bad call: one error for all
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode("utf-8")
    if "\x00" in value:
        value = value.replace("\x00", "")
    return value.strip() or None


def guid(value: Any) -> str | None:
    if not isinstance(value, str) or _GUID(key := value.lower()) is None:
        raise ValueError(f"{value!r} is not a guid")
    return None if key == NO_GUID else key


def amount(value: Any) -> str:
    """Double noise beyond a millionth is dropped; an amount that is really finer than a cent keeps its digits."""
    if type(value) is Decimal:  # most amounts have one or two digits after the point and need no arithmetic
        plain = str(value)
        match plain[-3:].find("."):
            case 0 if value or plain == "0.00":
                return plain
            case 1 if value:
                return f"{plain}0"
    elif type(value) is int and -_LIMIT < value < _LIMIT:
        return f"{value}.00"
    exact = _number(value)
    if not exact.is_finite() or abs(exact) >= _LIMIT:
        raise ValueError(f"{value!r} is not an amount")
    rounded = exact.quantize(_NOISE).normalize()
    exponent = rounded.as_tuple().exponent
    return f"{rounded:f}" if isinstance(exponent, int) and exponent < -2 else f"{rounded + _ZERO:.2f}"


def number(value: Any) -> str:
    """Rates and percentages: the digits as they came."""
    found = _number(value)
    if not found.is_finite():
        raise ValueError(f"{value!r} is not a number")
    return f"{found:f}"


def whole(value: Any) -> int:
    """Int16 to Int64; the largest ones come as strings."""
    if type(value) is int and -_COUNTER_LIMIT < value < _COUNTER_LIMIT:
        return value
    if type(value) is str and len(value) < _SHORT and value.isascii() and value.isdigit():
        return int(value)
    exact = _number(value)
    if not exact.is_finite() or exact != (found := int(exact)) or abs(found) >= _COUNTER_LIMIT:
        raise ValueError(f"{value!r} is not a whole number of 64 bits")
    return found


def flag(value: Any) -> bool:
    """Boolean, or a Byte of 0 and 1."""
    if value in (0, 1):
        return bool(value)
    raise ValueError(f"{value!r} is neither true nor false")


def day(value: Any) -> str | None:
    """A date-only field is midnight UTC whatever the administration's zone (sheet 3.3)."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a date")  # noqa: TRY004 - as for text
    return _day(value)


@lru_cache(maxsize=4096)
def _day(value: str) -> str | None:
    moment = _moment(value)
    return None if moment is None or moment.year == 1 else moment.date().isoformat()


def local_time(value: Any) -> str | None:
    """`Created` and `Modified`: the server's wall clock written as if it were UTC (sheet 3.3). Stays without a zone."""
    moment = _moment(value)
    return None if moment is None else moment.replace(tzinfo=None).isoformat(timespec="seconds")


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str) or (match := _DATE.fullmatch(value)) is None:
        raise ValueError(f"{value!r} is not a date")
    try:
        return _EPOCH + timedelta(milliseconds=int(match[1]))
    except OverflowError as error:
        raise ValueError(f"{value!r} lies outside the calendar") from error


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - as for text
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a number") from error


def decoder(plan: dict[str, Decode], required: Sequence[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function from one item to the fields kept of it.

    ValueError: a field that cannot be read, or one of `required` that says nothing.
    """
    steps = tuple(plan.items())

    def decode(item: dict[str, Any]) -> dict[str, Any]:
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


def essential(item: dict[str, Any], name: str, decode: Decode, default: Any = None) -> Any:
    """A field without which the whole answer says nothing; `default`, if any, stands where it is absent or null.

    Raises:
        SchemaDrift: it cannot be read, or there is nothing to stand for it.
    """
    raw = item.get(name)
    if raw is None and default is not None:
        return default
    try:
        return decode(raw)
    except ValueError as error:
        raise SchemaDrift(
            f"{name} of an answer cannot be read: {error}",
            fix="the package may have changed; what the answer was about stays as it was, and is asked again",
        ) from error


class Answer(NamedTuple):
    items: list[dict[str, Any]]
    following: str | None
    """The address of the next page."""


def answer(body: Any) -> Answer:
    """Every envelope in use: results, results with a next page, a plain array, one entity (sheet 3.1).

    Raises:
        SourceDown: something else, such as the page of a gateway.
    """
    match body:
        case {"d": {"results": list(items), "__next": str(following)}}:
            found = Answer(items, following)
        case {"d": {"results": list(items)}} | {"d": list(items)}:
            found = Answer(items, None)
        case {"d": {"__metadata": dict()} as item}:
            found = Answer([item], None)
        case _:
            raise SourceDown("the package answered in a form that is not a list of items", fix="it is tried again")
    if not all(isinstance(item, dict) for item in found.items):
        raise SourceDown("the package answered with a list that does not hold items", fix="it is tried again")
    return found


def iso_day(value: str | None) -> date | None:
    """The date that a row's field holds."""
    return None if value is None else date.fromisoformat(value)
