"""In which language a client reads our pages, and what they say in it (`texts/`, one file each)."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("nl", "en", "fr", "da")
DEFAULT = "en"

_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[\w-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?))?\s*")


@dataclass(frozen=True)
class Texts:
    """One language: each text by its key, `section.name`, with words in braces to fill in."""

    code: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **words: object) -> str:
        return self.texts[key].format(**words)

    def date(self, day: date) -> str:
        return self("date", year=day.year, month=day.month, day=day.day)

    def number(self, number: int) -> str:
        return f"{number:,}".replace(",", self("thousands"))


@cache
def texts(code: str) -> Texts:
    file = resources.files("connector.web") / "texts" / f"{code}.toml"
    return Texts(code, dict(_flat(tomllib.loads(file.read_text(encoding="utf-8")))))


def choose(asked: str | None, kept: str | None, accepts: str) -> str:
    """What the person asked for on the page, now or before; else the best of `Accept-Language`."""
    for code in (asked, kept, *_by_preference(accepts)):
        if code in LANGUAGES:
            return code
    return DEFAULT


def _by_preference(accepts: str) -> list[str]:
    """The languages of an Accept-Language header, the most wanted first; what is malformed is left out."""
    found = [match for part in accepts.split(",") if (match := _RANGE.fullmatch(part))]
    wanted = [(float(match[2] or 1), match[1].lower()) for match in found]
    return [code for quality, code in sorted(wanted, key=lambda one: -one[0]) if quality > 0]


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found
