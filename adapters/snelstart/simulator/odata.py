"""The `$filter` language as SnelStart speaks it, OData version 3: text to tree (sheet 3.3)."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

_TOKEN = re.compile(
    r"""\s*(?:
      guid'(?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})'
    | datetime'(?P<datetime>[^']*)'
    | '(?P<string>(?:[^']|'')*)'
    | (?P<number>-?\d+(?:\.\d+)?)[LlDdMmFf]?(?![\w.])
    | (?P<name>[A-Za-z_][\w]*(?:/[A-Za-z_]\w*)*)
    | (?P<sign>[(),:])
    )""",
    re.VERBOSE,
)
OPERATORS = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
TESTS = frozenset({"substringof", "startswith", "endswith"})
PARTS = frozenset({"year", "month", "day", "tolower", "toupper", "length"})
_WORDS = {"null": ("null", None), "true": ("boolean", True), "false": ("boolean", False)}
_MOMENT = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(?:T(?P<time>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,7}))?)?\Z")


class QueryError(ValueError):
    """The query is refused: by the framework in its own words, or by SnelStart with a code (sheet 6)."""

    def __init__(self, text: str, *, by_framework: bool = False) -> None:
        super().__init__(text)
        self.by_framework = by_framework


class Literal(NamedTuple):
    kind: str
    value: Any


class Path(NamedTuple):
    """A property, the first name being a lambda's variable where there is one; `part` is a function around it."""

    names: tuple[str, ...]
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    path: Path
    operator: str
    literal: Literal


@dataclass(frozen=True, slots=True)
class Test:
    name: str
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Some:
    """Some element of a collection passes."""

    path: Path
    variable: str
    inner: "Node"


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


Node = Compare | Test | Some | Not | Both | Either


def parse_filter(text: str) -> Node:
    """The tree of a `$filter`, or `QueryError`."""
    parser = _Parser(_tokens(text))
    node = parser.either()
    parser.end()
    return node


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
            raise _broken()

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
            return self._maybe_compared(self._test())
        path = self._path()
        if path.names[-1] == "any" and len(path.names) > 1:
            return self._maybe_compared(self._any(path))
        operator, literal = self._next(), self._literal()
        if not isinstance(operator, str) or operator not in OPERATORS:
            raise _broken()
        return Compare(path, operator, literal)

    def _maybe_compared(self, node: Node) -> Node:
        """A truth may be compared with true or false, as the documented examples do."""
        if not self._accept("eq"):
            return node
        literal = self._literal()
        if literal.kind != "boolean":
            raise _broken()
        return node if literal.value else Not(node)

    def _test(self) -> Node:
        name = self._next()
        self._expect("(")
        sides: list[Path | Literal] = [self._operand()]
        self._expect(",")
        sides.append(self._operand())
        self._expect(")")
        text, path = sides if name == "substringof" else reversed(sides)
        if not isinstance(path, Path) or not isinstance(text, Literal) or text.kind != "string":
            raise _broken()
        return Test(str(name), path, text.value)

    def _any(self, path: Path) -> Node:
        self._expect("(")
        variable = self._next()
        self._expect(":")
        inner = self.either()
        self._expect(")")
        return Some(Path(path.names[:-1]), str(variable), inner)

    def _operand(self) -> Path | Literal:
        return self._literal() if isinstance(self._peek(), Literal) else self._path()

    def _path(self) -> Path:
        name = self._next()
        if not isinstance(name, str) or name in {"(", ")", ",", ":"}:
            raise _broken()
        if name not in PARTS:
            return Path(tuple(name.split("/")))
        self._expect("(")
        inner = self._path()
        self._expect(")")
        return Path(inner.names, name)

    def _literal(self) -> Literal:
        if self._accept("("):  # parentheses around a value have been seen
            literal = self._literal()
            self._expect(")")
            return literal
        token = self._next()
        if not isinstance(token, Literal):
            raise _broken()
        return token

    def _peek(self) -> Literal | str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _next(self) -> Literal | str:
        token = self._peek()
        if token is None:
            raise _broken()
        self._place += 1
        return token

    def _accept(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._place += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise _broken()


def _broken() -> QueryError:
    return QueryError("Ongeldig OData filter")


def _moment(text: str) -> str:
    """A `datetime'...'` as rows show theirs, so that the two compare as text. It has no zone."""
    found = _MOMENT.match(text)
    try:
        datetime.fromisoformat(text[:10] if found is None else found["day"])
    except ValueError:
        found = None
    if found is None:
        raise QueryError(f"Unrecognized 'Edm.DateTime' literal 'datetime'{text}''.", by_framework=True)
    time, fraction = found["time"] or "00:00:00", (found["fraction"] or "").rstrip("0")
    time = f"{time}:00" if len(time) == len("00:00") else time
    return f"{found['day']}T{time}.{fraction}" if fraction else f"{found['day']}T{time}"


def _tokens(text: str) -> list[Literal | str]:
    tokens: list[Literal | str] = []
    place, text = 0, text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None or found.end() == place:
            raise _broken()
        place = found.end()
        tokens.append(_token(found))
    return tokens


def _token(found: re.Match[str]) -> Literal | str:
    if found["guid"] is not None:
        return Literal("guid", found["guid"].lower())
    if found["datetime"] is not None:
        return Literal("datetime", _moment(found["datetime"]))
    if found["string"] is not None:
        return Literal("string", found["string"].replace("''", "'"))
    if found["number"] is not None:
        return Literal("number", Decimal(found["number"]))
    name = found["name"] or found["sign"]
    return Literal(*_WORDS[name]) if name in _WORDS else name
