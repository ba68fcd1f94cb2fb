"""The `$filter` language as far as Exact speaks it: text to tree."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<guid>guid'(?P<guid_text>[^']*)')
    | (?P<datetime>datetime'(?P<datetime_text>[^']*)')
    | (?P<string>'(?P<string_text>(?:[^']|'')*)')
    | (?P<number>-?\d+(?:\.\d+)?(?P<suffix>[LlDdMmFf]?))(?![\w.])
    | (?P<name>[A-Za-z_][\w/]*)
    | (?P<sign>[(),])
    )""",
    re.VERBOSE,
)
SYNTAX = "Bad Request - Error in query syntax."
OPERATORS = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
FUNCTIONS = frozenset({"trim", "tolower", "toupper"})
TESTS = frozenset({"substringof", "startswith", "endswith"})
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


class QueryError(ValueError):
    """The query cannot be understood: a 400, which counts as an error."""


class Literal(NamedTuple):
    kind: str
    value: Any


class Field(NamedTuple):
    name: str
    through: str | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    field: Field
    operator: str
    literal: Literal


@dataclass(frozen=True, slots=True)
class Test:
    name: str
    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class Not:
    inner: "Node"


@dataclass(frozen=True, slots=True)
class Both:
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Either:
    left: "Node"
    right: "Node"


Node = Compare | Test | Not | Both | Either


def parse_filter(text: str, zone: ZoneInfo) -> Node:
    """The tree of a `$filter`, or `QueryError`. Times are the server's wall time, in `zone`."""
    parser = _Parser(_tokens(text, zone))
    node = parser.either()
    parser.end()
    return node


def parse_literals(text: str, zone: ZoneInfo) -> list[Any]:
    """The values of a `$skiptoken`: literals with commas between."""
    values = []
    for part in _tokens(text, zone):
        if isinstance(part, Literal):
            values.append(part.value)
        elif part != ",":
            raise QueryError(SYNTAX)
    return values


def parse_key(text: str, zone: ZoneInfo) -> Any:
    """The one value between the brackets of a key lookup."""
    values = parse_literals(text, zone)
    if len(values) != 1:
        raise QueryError(SYNTAX)
    return values[0]


class _Parser:
    """Recursive descent: `or` binds weakest, then `and`, then `not`."""

    def __init__(self, tokens: list[Literal | str]) -> None:
        self._tokens = tokens
        self._place = 0

    def either(self) -> Node:
        node = self._both()
        while self._accept("or"):
            node = Either(node, self._both())
        return node

    def end(self) -> None:
        if self._place != len(self._tokens):
            raise QueryError(SYNTAX)

    def _both(self) -> Node:
        node = self._single()
        while self._accept("and"):
            node = Both(node, self._single())
        return node

    def _single(self) -> Node:
        if self._accept("not"):
            return Not(self._single())
        if self._accept("("):
            node = self.either()
            self._expect(")")
            return node
        if self._peek() in TESTS:
            return self._test()
        field = self._field()
        operator = self._next()
        literal = self._next()
        if not isinstance(operator, str) or operator not in OPERATORS:
            raise QueryError(SYNTAX)
        if not isinstance(literal, Literal):  # two fields cannot be compared
            raise QueryError(SYNTAX)
        return Compare(field, operator, literal)

    def _test(self) -> Node:
        name = self._next()
        self._expect("(")
        sides = [self._operand()]
        self._expect(",")
        sides.append(self._operand())
        self._expect(")")
        text, field = sides if name == "substringof" else reversed(sides)
        if not isinstance(field, Field) or not isinstance(text, Literal) or text.kind != "string":
            raise QueryError(SYNTAX)
        test = Test(str(name), field, text.value)
        if not self._accept("eq"):
            return test
        return test if self._next() == Literal("bool", True) else Not(test)

    def _operand(self) -> Field | Literal:
        token = self._peek()
        if isinstance(token, Literal):
            self._place += 1
            return token
        return self._field()

    def _field(self) -> Field:
        name = self._next()
        if not isinstance(name, str) or "/" in name:  # nothing behind a navigation property
            raise QueryError(SYNTAX)
        if name not in FUNCTIONS:
            return Field(name)
        self._expect("(")
        inner = self._next()
        self._expect(")")
        if not isinstance(inner, str):
            raise QueryError(SYNTAX)
        return Field(inner, name)

    def _peek(self) -> Literal | str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _next(self) -> Literal | str:
        token = self._peek()
        if token is None:
            raise QueryError(SYNTAX)
        self._place += 1
        return token

    def _accept(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._place += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise QueryError(SYNTAX)


def _instant(text: str, zone: ZoneInfo) -> datetime:
    """A `datetime'...'` literal in the server's wall time; a `Z` is taken as UTC and shifts."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise QueryError(f"Unrecognized 'Edm.DateTime' literal 'datetime'{text}''.") from error
    return moment.astimezone(zone).replace(tzinfo=None) if moment.tzinfo else moment


def _tokens(text: str, zone: ZoneInfo) -> list[Literal | str]:
    tokens: list[Literal | str] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise QueryError(SYNTAX)
        position = found.end()
        tokens.append(_token(found, zone))
    return tokens


def _token(found: re.Match[str], zone: ZoneInfo) -> Literal | str:
    match found.lastgroup:
        case "guid":
            if not _GUID.match(found["guid_text"]):
                raise QueryError(f"Unrecognized 'Edm.Guid' literal '{found['guid']}'.")
            return Literal("guid", found["guid_text"].lower())
        case "datetime":
            return Literal("datetime", _instant(found["datetime_text"], zone))
        case "string":
            return Literal("string", found["string_text"].replace("''", "'"))
        case "number":
            return _number(found["number"], found["suffix"])
        case _:
            word: str = found["name"] or found["sign"]
            return _WORDS.get(word, word)


def _number(digits: str, suffix: str) -> Literal:
    if suffix in ("L", "l"):
        return Literal("long", int(digits[:-1]))
    plain = digits[:-1] if suffix else digits
    return Literal("number", Decimal(plain) if "." in plain or suffix else int(plain))


_WORDS = {
    "true": Literal("bool", True),
    "false": Literal("bool", False),
    "null": Literal("null", None),
}
