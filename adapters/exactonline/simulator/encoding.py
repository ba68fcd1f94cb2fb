"""How values look on the wire: Edm types in JSON, the dates that are not what they seem, the envelopes."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

import msgspec

EMPTY_GUID = "00000000-0000-0000-0000-000000000000"
_json = msgspec.json.Encoder(decimal_format="number")


def to_json(value: Any) -> bytes:
    return _json.encode(value)


def padded(code: int | str) -> str:
    """An account code: eighteen characters, blanks in front."""
    return f"{code:>18}"


def derived_id(of: str) -> str:
    """Another id that goes with this one, the same every time."""
    digits = sha256(of.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-b{digits[17:20]}-{digits[20:32]}"


def milliseconds(moment: date | datetime) -> str:
    """`/Date(ms)/` of a zone-less moment read as if it were UTC."""
    if not isinstance(moment, datetime):
        return f"/Date({(moment.toordinal() - 719_163) * 86_400_000})/"
    return f"/Date({int(moment.replace(tzinfo=UTC).timestamp() * 1000)})/"


def number(amount: Decimal | int) -> Decimal | int:
    """A Double: whole amounts without a point, others without trailing zeros."""
    whole = int(amount)
    return whole if whole == amount else Decimal(amount).normalize()


class WallClock:
    """The server's own time, which it writes down as if it were UTC (sheet 3.3)."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)

    def local(self, instant: datetime) -> datetime:
        """The zone-less wall time of an instant, to the millisecond as the wire shows it."""
        wall = instant.astimezone(self._zone).replace(tzinfo=None)
        return wall.replace(microsecond=wall.microsecond // 1000 * 1000)

    def offset(self, instant: datetime) -> int:
        """Seconds the server is ahead of UTC at that instant."""
        offset = instant.astimezone(self._zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())


def encoder(edm: str) -> Callable[[Any], Any]:
    """The function that writes a value of this Edm type; missing values stay null."""
    if edm == "Int64":
        return _optional(str)
    if edm == "Double":
        return _optional(number)
    if edm == "DateTime":
        return _optional(milliseconds)
    return lambda value: value


def _optional(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else write(value)


def error_body(text: str) -> dict[str, Any]:
    return {"error": {"code": "", "message": {"lang": "", "value": text}}}


def atom(title: str, rows: list[dict[str, Any]]) -> bytes:
    """The Atom feed that a client gets which did not ask for JSON."""
    entries = "".join(
        '<entry><content type="application/xml"><m:properties>'
        + "".join(
            f"<d:{name}>{escape(str(value))}</d:{name}>"
            for name, value in row.items()
            if name != "__metadata" and value is not None and not isinstance(value, dict)
        )
        + "</m:properties></content></entry>"
        for row in rows
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"'
        ' xmlns:d="http://schemas.microsoft.com/ado/2007/08/dataservices"'
        ' xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">'
        f"<title>{escape(title)}</title>{entries}</feed>"
    ).encode()
