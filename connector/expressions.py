"""The expressions of a mapping: `path | filter('argument') ?? 'other'`, parsed once into closures."""

import difflib
import re
from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from typing import Any, NamedTuple, NoReturn

from connector.filters import FILTERS, Apply, as_text

Source = MappingOf[str, Any]
"""What paths walk: the rows that make one record, by kind."""

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<word>[A-Za-z_]\w*(?:\.\w+)*)|(?P<sign>\?\?|[|(),]))")


class Compiled(NamedTuple):
    get: Apply
    texts: frozenset[str] | None
    """The only texts that can come out; None where that is not known beforehand."""
    paths: tuple[tuple[str, str], ...] = ()
    """Set where the expression is nothing but paths of two names, as nearly all are: whoever applies it can walk them
    without a call each."""


class Mistake(Exception):
    """What is wrong with an expression, and the way out."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


class Parser:
    """expression = alternative { '??' alternative };  alternative = (path | 'text') { '|' filter }."""

    def __init__(self, text: str, tables: MappingOf[str, dict[str, str]], paths: Collection[str] | None) -> None:
        self.tables = tables
        self.paths = paths
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            if (match := _TOKEN.match(text, position)) is None:
                _wrong(
                    f"{text[position:].strip()!r} cannot be understood", "see docs/mapping.md for what may be written"
                )
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind]))
            position = match.end()
        self.tokens.reverse()

    def parse(self) -> Compiled:
        alternatives = [self._alternative()]
        while self._take("??"):
            alternatives.append(self._alternative())
        if self.tokens:
            _wrong(f"{self.tokens[-1][1]!r} stands where an alternative ends", "join with ?? or |")
        if len(alternatives) == 1:
            return alternatives[0]
        texts = [alternative.texts for alternative in alternatives if alternative.texts is not None]
        return Compiled(
            _first([alternative.get for alternative in alternatives]),
            frozenset[str]().union(*texts) if texts else None,
            tuple(path for alternative in alternatives for path in alternative.paths)
            if all(alternative.paths for alternative in alternatives)
            else (),
        )

    def _alternative(self) -> Compiled:
        kind, word = self.tokens.pop() if self.tokens else ("", "")
        if kind == "text":
            compiled = constant(_unquoted(word))
        elif kind == "word":
            if self.paths is not None and word not in self.paths:
                _wrong(f"the package has no value {word!r}", nearest(word, sorted(self.paths)))
            first, _, rest = word.partition(".")
            compiled = Compiled(_path(word), None, ((first, rest),) if rest and "." not in rest else ())
        else:
            _wrong("a path or a quoted text is missing", "see docs/mapping.md for what may be written")
        while self._take("|"):
            compiled = self._filter(compiled)
        return compiled

    def _filter(self, before: Compiled) -> Compiled:
        kind, name = self.tokens.pop() if self.tokens else ("", "")
        if kind != "word":
            _wrong("the name of a filter is missing after |", nearest(name, _filter_names()))
        arguments = self._arguments()
        if name == "table":
            return self._table(before, arguments)
        if (found := FILTERS.get(name)) is None:
            _wrong(f"there is no filter {name!r}", nearest(name, _filter_names()))
        if len(arguments) < found.fewest or (found.most is not None and len(arguments) > found.most):
            _wrong(f"the filter {name!r} has {len(arguments)} arguments", "see docs/mapping.md for how many it takes")
        try:
            apply = found.make(*arguments)
        except ValueError:
            _wrong(f"the filter {name!r} cannot take {arguments[0]!r}", "see docs/mapping.md for what it takes")
        get = before.get
        texts = found.gives(*arguments) if found.gives is not None else None
        if found.sees_none:
            return Compiled(lambda source: apply(get(source)), texts)
        return Compiled(lambda source: None if (value := get(source)) is None else apply(value), texts)

    def _table(self, before: Compiled, arguments: list[str]) -> Compiled:
        if len(arguments) != 1:
            _wrong("the filter 'table' takes one name", "write table('name')")
        if (table := self.tables.get(arguments[0])) is None:
            _wrong(f"there is no table {arguments[0]!r}", nearest(arguments[0], sorted(self.tables)))
        get = before.get
        return Compiled(
            lambda source: None if (value := get(source)) is None else table.get(as_text(value)),
            frozenset(table.values()),
        )

    def _arguments(self) -> list[str]:
        arguments: list[str] = []
        if not self._take("("):
            return arguments
        while True:
            kind, word = self.tokens.pop() if self.tokens else ("", "")
            if kind != "text":
                _wrong("an argument is missing", "write arguments in single quotes, with commas between them")
            arguments.append(_unquoted(word))
            if self._take(")"):
                return arguments
            if not self._take(","):
                _wrong("the arguments do not end", "close them with )")

    def _take(self, sign: str) -> bool:
        if self.tokens and self.tokens[-1] == ("sign", sign):
            self.tokens.pop()
            return True
        return False


def _first(gets: list[Apply]) -> Apply:
    """The value of the first alternative that has one."""

    def first(source: Source) -> Any:
        for get in gets:
            if (value := get(source)) is not None:
                return value
        return None

    return first


def _path(dotted: str) -> Apply:
    names = dotted.split(".")
    if len(names) == 2:
        first, second = names
        return lambda source: None if (inner := source.get(first)) is None else inner.get(second)

    def walk(source: Any) -> Any:
        for name in names:
            if source is None:
                return None
            source = source.get(name)
        return source

    return walk


def constant(value: Any) -> Compiled:
    return Compiled(lambda _: value, frozenset((value,)) if isinstance(value, str) else None)


def _unquoted(word: str) -> str:
    return word[1:-1].replace("''", "'")


def _filter_names() -> list[str]:
    return sorted([*FILTERS, "table"])


def nearest(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}"


def _wrong(what: str, fix: str) -> NoReturn:
    raise Mistake(what, fix)
