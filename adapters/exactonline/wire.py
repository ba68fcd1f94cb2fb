"""How Exact Online writes values, and the plain JSON values that rows keep of them (sheet 3.1, 3.2).

Text is trimmed (codes come padded), guids are lower case, dates are ISO days, amounts are decimal strings with two
digits. What says nothing (null, empty text, the empty guid, the year 1) becomes None and is left out of the row.
"""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from connector.decoding import decimal, expect
from connector.errors import SourceDown

_DATE = re.compile(r"/Date\((-?\d{1,15})([+-]\d{4})?\)/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOISE = Decimal("0.000001")
_ZERO = Decimal(0)
_LIMIT = 10**12
_COUNTER_LIMIT = 2**63
_SHORT = 19
"""Digits that always fit into a counter."""


def amount(value: Any) -> str:
    """Double noise beyond a millionth is dropped; an amount that is really finer than a cent keeps its digits."""
    if type(value) is Decimal:  # most amounts have one or two digits after the point and need no arithmetic
        plain = str(value)
        if plain[-3:-2] == "." and (value or plain == "0.00"):
            return plain
        if plain[-2:-1] == "." and value:
            return f"{plain}0"
    elif type(value) is int and -_LIMIT < value < _LIMIT:
        return f"{value}.00"
    exact = decimal(value)
    if not exact.is_finite() or abs(exact) >= _LIMIT:
        raise ValueError(f"{value!r} is not an amount")
    rounded = exact.quantize(_NOISE).normalize()
    exponent = rounded.as_tuple().exponent
    return f"{rounded:f}" if isinstance(exponent, int) and exponent < -2 else f"{rounded + _ZERO:.2f}"


def number(value: Any) -> str:
    """Rates and percentages: the digits as they came."""
    if type(value) is int:
        return str(value)
    found = decimal(value)
    if not found.is_finite():
        raise ValueError(f"{value!r} is not a number")
    return f"{found:f}"


def whole(value: Any) -> int:
    """Int16 to Int64; the largest ones come as strings."""
    if type(value) is int and -_COUNTER_LIMIT < value < _COUNTER_LIMIT:
        return value
    if type(value) is str and len(value) < _SHORT and value.isascii() and value.isdigit():
        return int(value)
    exact = decimal(value)
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
    return _day(expect(str, value, "a date"))


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
