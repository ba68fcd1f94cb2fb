"""The filters that a mapping may use: a fixed table, each a small function from one value to another.

A filter sees only values that are there; `default`, `missing` and `present` also see that there is none (None).
A filter that answers None says "no value", and the next alternative is tried.
"""

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any

Apply = Callable[[Any], Any]

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")


@dataclass(frozen=True)
class Filter:
    """`make` gets the quoted arguments and answers the function that runs."""

    make: Callable[..., Apply]
    fewest: int = 0
    most: int | None = 0
    sees_none: bool = False
    gives: Callable[..., frozenset[str]] | None = None
    """The only texts that can come out, where the arguments tell."""


def as_text(value: Any) -> str:
    """The value as it is written in a mapping: true and false in lower case."""
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is(*words: str) -> Apply:
    return lambda value: value if as_text(value) in words else None


def _is_not(*words: str) -> Apply:
    return lambda value: None if as_text(value) in words else value


def _starts_with(*words: str) -> Apply:
    return lambda value: value if as_text(value).startswith(words) else None


def _contains(*words: str) -> Apply:
    return lambda value: value if any(word in as_text(value) for word in words) else None


def _then(word: str) -> Apply:
    return lambda _: word


def _default(word: str) -> Apply:
    return lambda value: word if value is None else value


def _split(separators: str) -> Apply:
    pattern = re.compile(f"[{re.escape(separators)}]")

    def split(value: Any) -> tuple[str, ...] | None:
        return tuple(part for piece in pattern.split(as_text(value)) if (part := piece.strip())) or None

    return split


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _rest(value: Any) -> Any:
    return value[1:] or None if isinstance(value, tuple) else None


def _emails(value: Any) -> tuple[str, ...] | None:
    return tuple(_EMAIL.findall(as_text(value))) or None


def _digits(value: Any) -> str | None:
    return "".join(letter for letter in as_text(value) if letter.isdecimal()) or None


def _nonzero(value: Any) -> Any:
    """An amount of nothing is written 0, 0.00 or -0.0."""
    return value if as_text(value).strip("-0.") else None


def _replace(old: str, new: str) -> Apply:
    return lambda value: as_text(value).replace(old, new) or None


def _prefix(word: str) -> Apply:
    return lambda value: word + as_text(value)


def _cut(length: str) -> Apply:
    size = int(length)
    return lambda value: as_text(value)[:size]


def _plain(function: Apply) -> Callable[[], Apply]:
    return lambda: function


FILTERS: MappingOf[str, Filter] = {
    "contains": Filter(_contains, 1, None),
    "cut": Filter(_cut, 1, 1),
    "default": Filter(_default, 1, 1, sees_none=True),
    "digits": Filter(_plain(_digits)),
    "emails": Filter(_plain(_emails)),
    "first": Filter(_plain(_first)),
    "is": Filter(_is, 1, None),
    "is_not": Filter(_is_not, 1, None),
    "lower": Filter(_plain(lambda value: as_text(value).lower())),
    "missing": Filter(_plain(lambda value: value is None), sees_none=True),
    "nonzero": Filter(_plain(_nonzero)),
    "prefix": Filter(_prefix, 1, 1),
    "present": Filter(_plain(lambda value: value is not None), sees_none=True),
    "replace": Filter(_replace, 2, 2),
    "rest": Filter(_plain(_rest)),
    "split": Filter(_split, 1, 1),
    "starts_with": Filter(_starts_with, 1, None),
    "then": Filter(_then, 1, 1, gives=lambda word: frozenset((word,))),
    "trim": Filter(_plain(lambda value: as_text(value).strip() or None)),
    "upper": Filter(_plain(lambda value: as_text(value).upper())),
}
"""By name. `table('name')` is the one more filter: it looks its value up in a `[tables.name]` of the mapping."""
