"""How SnelStart writes values, and the plain JSON values that rows keep of them (sheet 4).

What says nothing (absent, null, blank text, a link to the nil UUID) becomes None and is left out of the row. Days are
ISO days, amounts decimal strings with two digits, links the id alone.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from connector.decoding import Decode, decimal, decoder, expect, guid, text
from connector.errors import SourceDown

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?").match
_TICK: Final = 7
"""Digits of a second's fraction, of which trailing zeros are not written."""
_LIMIT: Final = 10**12


def link(value: Any) -> str | None:
    """The id in a reference such as `{"id": ..., "uri": ...}`."""
    key = expect(dict, value, "a reference").get("id")
    return None if key is None else guid(key)


def links(value: Any) -> list[str] | None:
    return [key for one in expect(list, value, "a list") if one is not None and (key := link(one)) is not None] or None


def words(value: Any) -> list[str] | None:
    return [word for one in expect(list, value, "a list") if (word := text(one)) is not None] or None


def amount(value: Any) -> str:
    """Often with four decimals; what is really finer than a cent keeps its digits."""
    exact = decimal(value)
    if not exact.is_finite() or abs(exact) >= _LIMIT:
        raise ValueError(f"{value!r} is not an amount")
    cents = exact.quantize(Decimal("0.01"))
    return f"{cents + 0:.2f}" if cents == exact else f"{exact.normalize():f}"


def whole(value: Any) -> int:
    exact = decimal(value)
    if not exact.is_finite() or exact != int(exact) or abs(exact) >= _LIMIT:
        raise ValueError(f"{value!r} is not a whole number")
    return int(exact)


def flag(value: Any) -> bool:
    return expect(bool, value, "true or false")


def day(value: Any) -> str | None:
    """A business date is the first ten characters, in no zone (sheet 4)."""
    found = date.fromisoformat(expect(str, value, "a date")[:10])
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
        return decode(expect(dict, value, "an object")) or None

    return convert


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
