"""How values look on the wire: timestamps without a zone, decimals as numbers, links, and what is not there."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec

from adapters.snelstart.simulator.settings import SimulatorSettings

NIL = "00000000-0000-0000-0000-000000000000"
_FINEST = 7
"""Digits of a .NET tick."""
_json = msgspec.json.Encoder(decimal_format="number")

Json = dict[str, Any]


def to_json(value: Any) -> bytes:
    return _json.encode(value)


def derived_id(of: str) -> str:
    """Another id that goes with this one, the same every time."""
    digits = sha256(of.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-b{digits[17:20]}-{digits[20:32]}"


def day(on: date) -> str:
    return f"{on.isoformat()}T00:00:00"


class Pen:
    """Writes values as the settings want them; what differs by row differs the same way every time."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings

    def stamp(self, instant: datetime, key: str) -> str:
        """The server's wall clock, to a precision of 0 to 7 digits, without trailing zeros."""
        wall = instant.astimezone(ZoneInfo(self._settings.server_zone))
        digits, mark = self._settings.fraction_digits, crc32(key.encode())
        if digits is None:
            digits = mark % (_FINEST + 1)
        fraction = f"{wall.microsecond:06d}{mark % 9 + 1}"[:digits].rstrip("0")
        whole = wall.strftime("%Y-%m-%dT%H:%M:%S")
        return f"{whole}.{fraction}" if fraction else whole

    def money(self, amount: Decimal, key: str) -> Decimal:
        style = self._settings.decimals
        choice = {"two": 0, "four": 1}.get(style, crc32(key.encode()) % 3)
        if choice == 1:
            return amount.quantize(Decimal("0.0001"))
        return amount.quantize(Decimal("0.01")) if choice == 0 else _shortest(amount)

    def link(self, collection: str, key: str | None) -> Json | None:
        return None if key is None else {"id": key, "uri": f"/{collection}/{key}"}

    def row(self, collection: str, key: str, fields: Json, kinds: Mapping[str, str]) -> Json:
        """A resource: its fields, its id and address, and some of what it has not left out."""
        written = {**fields, "id": key, "uri": f"/{collection}/{key}"}
        marks = crc32(key.encode())
        for place, (name, value) in enumerate(list(written.items())):
            if value is None:
                self._nothing(written, name, kinds[name], marks >> place % 16)
        return written

    def _nothing(self, row: Json, name: str, kind: str, marks: int) -> None:
        if kind != "link":
            if self._settings.drop_nulls and marks % 2:
                del row[name]
            return
        styles = ("null", "absent", "nil")
        style = styles[marks % 3] if self._settings.nothing == "mixed" else self._settings.nothing
        if style == "absent":
            del row[name]
        elif style == "nil":
            row[name] = {"id": NIL, "uri": f"/{name}/{NIL}"}


def _shortest(amount: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent."""
    whole = amount.to_integral_value()
    return whole if whole == amount else amount.normalize()
