"""Compile a mapping file, apply it to a row.

A mapping says field by field which value of the package becomes which field of a record, and makes the choices that
differ per client. The package brings a whole one; a connection's own file replaces single keys of it. Everything is
checked and compiled once, to closures; `docs/mapping.md` is the reference of the language.
"""

import hashlib
import tomllib
from collections.abc import Callable, Collection, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from importlib.resources.abc import Traversable
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from connector.domain.records import (
    Address,
    Administration,
    BankAccount,
    Contact,
    Customer,
    Invoice,
    Mandate,
    Payment,
    PaymentTerms,
)
from connector.errors import ConfigurationError, Problem
from connector.expressions import Compiled, Mistake, Parser, Source, constant, nearest
from connector.filters import Apply, as_text

Section = Callable[[Source], dict[str, Any]]
"""From a source to the record fields that have a value. ValueError: a value that its field cannot hold."""

_COMMON = frozenset({"external_id", "custom", "tags"})
_AMOUNTS = frozenset({"customer", "kind", "currency", "base_currency"})

SECTIONS: Final[MappingOf[str, tuple[type[msgspec.Struct], frozenset[str]]]] = {
    "administration": (Administration, _COMMON | {"package", "currency", "receivable_accounts"}),
    "customer": (
        Customer,
        _COMMON | {"contacts", "addresses", "bank_accounts", "mandates", "terms", "debtor", "merged_into"},
    ),
    "contact": (Contact, frozenset({"external_id"})),
    "address": (Address, frozenset()),
    "bank_account": (BankAccount, frozenset()),
    "mandate": (Mandate, frozenset({"external_id"})),
    "terms": (PaymentTerms, frozenset()),
    "invoice": (
        Invoice,
        _COMMON
        | _AMOUNTS
        | {"debtor", "total", "open", "base_total", "base_open", "payment_status", "settlements", "settled_on"}
        | {"instalments", "collection_state", "terms", "documents", "historical"},
    ),
    "payment": (
        Payment,
        _COMMON | _AMOUNTS | {"amount", "unallocated", "base_amount", "base_unallocated", "reversal_of"},
    ),
}
"""Section -> its record and the fields of it that the program works out itself, so that no mapping may set them."""

_CUSTOM: Final = frozenset({"administration", "customer", "invoice", "payment"})
_CHOICES: Final = {"journals": frozenset({"include", "leave_out"}), "customers": frozenset({"leave_out"})}


@dataclass(frozen=True)
class Journals:
    """Which journals count; an empty `include` means all."""

    include: frozenset[str]
    leave_out: frozenset[str]

    def count(self, code: str | None) -> bool:
        return code not in self.leave_out and (not self.include or code in self.include)


@dataclass(frozen=True)
class Mapping:
    """A compiled mapping. `digest` changes with its meaning, not with comments or order."""

    digest: str
    journals: Journals
    leaves_out: Callable[[Source], bool]
    """Whether a customer, given as the source of its section, is none of the dunning service's business."""
    sections: MappingOf[str, Section]

    def section(self, name: str) -> Section:
        return self.sections[name]


class _Entry(NamedTuple):
    value: Any
    file: str


class _Step(NamedTuple):
    field: str
    value: Compiled
    convert: Apply


def compile_mapping(
    default: Path | Traversable,
    override: Path | None = None,
    *,
    sources: MappingOf[str, Collection[str]] | None = None,
) -> Mapping:
    """The package's mapping with the keys of the connection's own file in place of its own.

    `sources` names, per section, the paths that exist; without it paths are taken on trust.

    Raises:
        ConfigurationError: lists every mistake of both files.
    """
    return _Compiler(default, override, sources).compile()


class _Compiler:
    def __init__(
        self,
        default: Path | Traversable,
        override: Path | None,
        sources: MappingOf[str, Collection[str]] | None,
    ) -> None:
        self.problems: list[Problem] = []
        self.sources = sources
        self.entries: dict[str, _Entry] = {}
        """Dotted key -> value; the connection's own file comes last and wins."""
        for file in filter(None, (default, override)):
            for key, value in _flat(self._parse(file)):
                self.entries[key] = _Entry(value, str(file))
        self.tables = self._tables()

    def compile(self) -> Mapping:
        steps: dict[str, list[_Step]] = {name: [] for name in SECTIONS}
        custom: dict[str, list[tuple[str, Apply]]] = {name: [] for name in _CUSTOM}
        for key, entry in self.entries.items():
            section, _, field = key.partition(".")
            if section == "tables" or (section in _CHOICES and field in _CHOICES[section]):
                continue
            if section in _CUSTOM and field.startswith("custom."):
                compiled = self._expression(key, entry, section)
                custom[section].append((field.removeprefix("custom."), compiled.get))
            elif section in SECTIONS and field:
                if (step := self._field(key, entry, section, field)) is not None:
                    steps[section].append(step)
            else:
                self._unknown(key, entry, section, field)
        journals = Journals(self._codes("journals.include"), self._codes("journals.leave_out"))
        left_out = self._conditions("customers.leave_out")
        if self.problems:
            count = len(self.problems)
            raise ConfigurationError(
                f"{count} {'mistake' if count == 1 else 'mistakes'} in the mapping",
                where=self.problems[0].file,
                fix="correct what is listed",
                problems=tuple(self.problems),
            )
        return Mapping(
            digest=self._digest(),
            journals=journals,
            leaves_out=lambda source: any(condition(source) is not None for condition in left_out),
            sections={name: _section(name, steps[name], custom.get(name, [])) for name in SECTIONS},
        )

    def _parse(self, file: Path | Traversable) -> dict[str, Any]:
        try:
            return tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._problem(
                str(file), "-", f"the file cannot be read ({reason})", "correct the path in the configuration"
            )
        except tomllib.TOMLDecodeError as error:
            self._problem(str(file), "-", f"this is no TOML: {error}", "correct the line")
        return {}

    def _tables(self) -> dict[str, dict[str, str]]:
        tables: dict[str, dict[str, str]] = {}
        for key, entry in self.entries.items():
            head, _, rest = key.partition(".")
            if head != "tables":
                continue
            name, _, word = rest.partition(".")
            if not word or not isinstance(entry.value, str):
                self._problem(entry.file, key, "a value table holds quoted words only", "write WORD = 'other word'")
            else:
                tables.setdefault(name, {})[word] = entry.value
        return tables

    def _field(self, key: str, entry: _Entry, section: str, field: str) -> _Step | None:
        record, reserved = SECTIONS[section]
        known = [info.name for info in msgspec.structs.fields(record) if info.name not in reserved]
        if field not in known:
            what = "the program works this field out itself" if field in reserved else "there is no such field"
            self._problem(entry.file, key, what, nearest(field, known))
            return None
        target = _target(get_type_hints(record, include_extras=False)[field])
        compiled = self._expression(key, entry, section)
        wrong = sorted(compiled.texts - target.choices) if compiled.texts and target.choices else []
        for word in wrong:
            self._problem(entry.file, key, f"the field cannot be {word!r}", nearest(word, sorted(target.choices)))
        return _Step(field, compiled, target.convert)

    def _expression(self, key: str, entry: _Entry, section: str) -> Compiled:
        if isinstance(entry.value, bool | int):
            return constant(entry.value)
        if not isinstance(entry.value, str):
            self._problem(entry.file, key, "this is no expression", "write it in double quotes")
            return constant(None)
        try:
            return Parser(entry.value, self.tables, None if self.sources is None else self.sources[section]).parse()
        except Mistake as error:
            self._problem(entry.file, key, error.what, error.fix)
            return constant(None)

    def _conditions(self, key: str) -> list[Apply]:
        entry = self.entries.get(key)
        if entry is None:
            return []
        if not isinstance(entry.value, list):
            self._problem(entry.file, key, "this is no list", "write the expressions between [ and ]")
            return []
        return [self._expression(key, _Entry(item, entry.file), "customer").get for item in entry.value]

    def _codes(self, key: str) -> frozenset[str]:
        entry = self.entries.get(key, _Entry([], ""))
        if isinstance(entry.value, list) and all(isinstance(code, str) for code in entry.value):
            return frozenset(entry.value)
        self._problem(entry.file, key, "this is no list of codes", 'write them in quotes between [ and ]: ["70", "71"]')
        return frozenset()

    def _unknown(self, key: str, entry: _Entry, section: str, field: str) -> None:
        if section in _CHOICES:
            self._problem(entry.file, key, "there is no such choice", nearest(field, sorted(_CHOICES[section])))
        elif section in SECTIONS:
            self._problem(entry.file, key, "a section holds fields", f"write [{section}] and the fields below it")
        else:
            known = [*SECTIONS, *_CHOICES, "tables"]
            self._problem(entry.file, key, f"there is no section {section!r}", nearest(section, known))

    def _problem(self, file: str, key: str, what: str, fix: str) -> None:
        problem = Problem(file=file, key=key, what=what, fix=fix)
        if problem not in self.problems:
            self.problems.append(problem)

    def _digest(self) -> str:
        meaning = {key: entry.value for key, entry in self.entries.items()}
        return hashlib.sha256(msgspec.json.encode(meaning, order="sorted")).hexdigest()[:16]


def _section(name: str, steps: list[_Step], custom: list[tuple[str, Apply]]) -> Section:
    plan = tuple((field, value.paths, value.get, convert) for field, value, convert in steps)
    extra = tuple(custom)

    def apply(source: Source) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field, paths, get, convert in plan:
            try:
                for kind, key in paths:
                    row = source.get(kind)
                    if row is not None and (value := row.get(key)) is not None:
                        break
                else:
                    if paths or (value := get(source)) is None:
                        continue
                values[field] = value if convert is as_text and value.__class__ is str else convert(value)
            except ValueError as error:
                raise ValueError(f"{name}.{field}: {error}") from error
        if extra:
            found = {field: as_text(value) for field, get in extra if (value := get(source)) is not None}
            if found:
                values["custom"] = found
        return values

    return apply


class _Target(NamedTuple):
    convert: Apply
    choices: frozenset[str]


def _target(hint: Any) -> _Target:
    """How a value becomes one of the record field's type, and the only words that the field may hold, if so."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (member for member in get_args(hint) if member is not type(None))
    if get_origin(hint) is Literal:
        choices = frozenset(get_args(hint))
        return _Target(lambda value: _choice(as_text(value), choices), choices)
    if get_origin(hint) is tuple:
        member = _target(get_args(hint)[0])
        return _Target(
            lambda value: tuple(map(member.convert, value if isinstance(value, tuple) else (value,))), member.choices
        )
    return _Target(_CONVERT[hint], frozenset())


def _choice(word: str, choices: frozenset[str]) -> str:
    if word not in choices:
        raise ValueError(f"{word!r} is none of {', '.join(sorted(choices))}")
    return word


def _decimal(value: Any) -> Decimal:
    try:
        found = Decimal(as_text(value))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a number") from error
    if not found.is_finite():
        raise ValueError(f"{value!r} is not a number")
    return found


def _boolean(value: Any) -> bool:
    match as_text(value):
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise ValueError(f"{value!r} is neither true nor false")


_CONVERT: Final[MappingOf[type, Apply]] = {
    str: as_text,
    bool: _boolean,
    int: lambda value: int(as_text(value)),
    Decimal: _decimal,
    date: lambda value: date.fromisoformat(value if value.__class__ is str else as_text(value)),
    datetime: lambda value: datetime.fromisoformat(as_text(value)),
}


def _flat(table: MappingOf[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, dict):
            yield f"{prefix}{key}", value
