"""Reads TOML tables into typed structs and collects every mistake on the way instead of stopping at the first.

A struct's fields are the allowed keys; their types, defaults and msgspec constraints are the rules. Beyond msgspec's
own types a field may be a `timedelta` (written "15m"), a `Path` (relative to the file) or a `SecretSource` (written
as `NAME_env` or `NAME_file`, never as the secret itself).
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from connector.errors import ConfigurationError, Problem
from connector.secrets import Secret

S = TypeVar("S", bound=msgspec.Struct)
Table = Mapping[str, Any]

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_DURATION = re.compile(r"(?:(?P<days>\d+)d)?(?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m)?(?:(?P<seconds>\d+)s)?")
_WORDS: dict[Any, str] = {
    str: "a text in quotes",
    int: "a whole number",
    bool: "true or false",
    timedelta: 'a duration such as "30s", "15m" or "1h30m"',
    Path: "a path in quotes",
    tuple: "a list in square brackets",
}


@dataclass(frozen=True)
class SecretSource:
    """Where a secret is kept. It is read when it is used, so that `status` works without any secret."""

    key: str
    env: str | None
    file: Path | None
    environ: Mapping[str, str] = field(repr=False)

    def read(self) -> Secret:
        """The secret itself.

        Raises:
            ConfigurationError: it is not there; names the variable or file.
        """
        if self.file is not None:
            try:
                text = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(
                    f"the secret file {self.file} cannot be read ({_reason(error)})",
                    where=self.key,
                    fix="create it, readable for the user that runs the program only",
                ) from error
            missing, fix = f"the secret file {self.file} is empty", "write the secret into it"
        else:
            text = self.environ.get(self.env or "", "").strip()
            missing, fix = f"the environment variable {self.env} is not set", "set it before starting the program"
        if not text:
            raise ConfigurationError(missing, where=self.key, fix=fix)
        return Secret(text)


class TomlReader:
    """One file being read; `problems` grows until `finish` raises them together."""

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self.file = file
        self.folder = file.absolute().parent
        self.environ = environ
        self.problems: list[Problem] = []

    def parse(self) -> dict[str, Any]:
        """The whole file as plain values.

        Raises:
            ConfigurationError: the file is missing, unreadable or no TOML.
        """
        try:
            return tomllib.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the configuration cannot be read ({_reason(error)})",
                where=str(self.file),
                fix="run `connector init` to write one, or point --config at yours",
            ) from error
        except tomllib.TOMLDecodeError as error:
            message, _, place = str(error).rpartition(" (at ")
            self.add(place.rstrip(")"), message, "correct the TOML there")
            self.finish()
            raise

    def add(self, key: str, what: str, fix: str) -> None:
        self.problems.append(Problem(file=str(self.file), key=key, what=what, fix=fix))

    def finish(self) -> None:
        """Raise what was found, if anything was."""
        if self.problems:
            count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
            raise ConfigurationError(
                f"{count} in the configuration", where=str(self.file), problems=tuple(self.problems)
            )

    def unknown(self, table: Table, where: str, known: Collection[str]) -> None:
        """Report the keys of `table` that are none of `known`; their values are not shown."""
        for key in table:
            literal_secret = f"{key}_env" in known  # reported by `struct`, with its own fix
            if key not in known and not literal_secret:
                self.add(_dotted(where, key), "this key is unknown", suggest(key, known))

    def struct(self, type_: type[S], table: Table, where: str) -> S | None:
        """An instance of `type_` from the keys that are its own, or None after reporting what is wrong."""
        before = len(self.problems)
        values = {info.name: self._field(info, table, where) for info in fields(type_)}
        if len(self.problems) > before:
            return None
        try:
            return type_(**values)
        except ValueError as error:
            self.add(where, str(error), "correct these keys")
            return None

    def _field(self, info: FieldInfo, table: Table, where: str) -> Any:
        key = _dotted(where, info.encode_name)
        present = [name for name in keys_of_field(info) if name in table]
        if _is_secret(info) and info.encode_name in table and info.encode_name not in present:
            self.add(key, "a secret does not belong in this file", _secret_fix(info.encode_name))
        elif len(present) > 1:
            self.add(key, f"{' and '.join(present)} say the same thing", "keep one of them")
        elif present and present[0] != info.encode_name:
            return self._secret(key, present[0], table[present[0]])
        elif present:
            return self._value(info.type, table[info.encode_name], key)
        elif info.required:
            self.add(
                key, "this is missing", _secret_fix(info.encode_name) if _is_secret(info) else _expected(info.type)
            )
        else:
            default = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
            return self.folder / default if isinstance(default, Path) else default
        return None

    def _value(self, type_: Any, value: Any, key: str) -> Any:
        try:
            if timedelta in _alternatives(type_):
                return duration(value)
            return msgspec.convert(value, type_, dec_hook=self._path)
        except (msgspec.ValidationError, ValueError):
            self.add(key, f"{_shown(value)} cannot be used", _expected(type_, value))
            return None

    def _path(self, type_: Any, value: Any) -> Any:
        if type_ is Path and isinstance(value, str) and value:
            return self.folder / value
        raise ValueError

    def _secret(self, key: str, name: str, value: Any) -> SecretSource | None:
        in_file = name.endswith("_file")
        place = f"{key}_file" if in_file else f"{key}_env"
        if not isinstance(value, str) or not value:
            self.add(place, "this is not a text", "write the name in quotes")
            return None
        if in_file:
            return SecretSource(key=key, env=None, file=self.folder / value, environ=self.environ)
        if not _VARIABLE.fullmatch(value):
            self.add(
                place,
                "this is not the name of an environment variable",
                "write a name in capitals (not the secret itself) and set the variable",
            )
            return None
        return SecretSource(key=key, env=value, file=None, environ=self.environ)


def keys(type_: type[msgspec.Struct]) -> list[str]:
    """The keys that a table read into `type_` may have."""
    return [key for info in fields(type_) for key in keys_of_field(info)]


def keys_of_field(info: FieldInfo) -> list[str]:
    name = info.encode_name
    if not _is_secret(info):
        return [name]
    plain = [name] if str in _alternatives(info.type) else []
    return [*plain, f"{name}_env", f"{name}_file"]


def duration(value: Any) -> timedelta:
    """The time span that a text such as "90s", "15m", "1h30m" or "1d" says; raises ValueError."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not value or match is None:
        raise ValueError
    return timedelta(**{unit: int(count) for unit, count in match.groupdict(default="0").items()})


def suggest(word: str, words: Collection[str]) -> str:
    """The fix for a mistyped word: the nearest valid one, or all of them."""
    nearest = difflib.get_close_matches(word, sorted(words), n=1)
    if nearest:
        return f'did you mean "{nearest[0]}"?'
    return f"use one of: {', '.join(sorted(words))}" if words else "remove it"


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _alternatives(type_: Any) -> tuple[Any, ...]:
    """The members of a union without None, each without its annotations."""
    if get_origin(type_) is Annotated:
        return _alternatives(get_args(type_)[0])
    if get_origin(type_) in {Union, UnionType}:
        return tuple(plain for arg in get_args(type_) if arg is not NoneType for plain in _alternatives(arg))
    return (type_,)


def _is_secret(info: FieldInfo) -> bool:
    return SecretSource in _alternatives(info.type)


def _secret_fix(name: str) -> str:
    return f'write {name}_env = "THE_VARIABLE" or {name}_file = "path/to/file" instead'


def _expected(type_: Any, value: Any = None) -> str:
    """What belongs there, in words: the constraint's own description, the allowed words, or the kind of value."""
    if get_origin(type_) is Annotated:
        for meta in get_args(type_)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.description:
                return f"write {meta.description}"
    if get_origin(type_) in {Union, UnionType}:
        return _expected(next(arg for arg in get_args(type_) if arg not in {NoneType, SecretSource}), value)
    if get_origin(type_) is Literal:
        return suggest(str(value or ""), [str(word) for word in get_args(type_)])
    plain = get_origin(_alternatives(type_)[0]) or _alternatives(type_)[0]
    return f"write {_WORDS.get(plain, 'a ' + getattr(plain, '__name__', str(plain)))}"


def _shown(value: Any) -> str:
    """The value as its author wrote it, short, and without the credentials that an address may hold."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if "://" in text and "@" in text:
        return "this address"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is not UTF-8 text"
