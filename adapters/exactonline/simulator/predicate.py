"""From a filter's tree to what the tables need: a predicate, and hints where the rows can be found."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from adapters.exactonline.simulator.odata import (
    SYNTAX,
    Both,
    Compare,
    Either,
    Field,
    Literal,
    Node,
    Not,
    QueryError,
    Test,
)

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "gt": lambda left, right: left is not None and left > right,
    "ge": lambda left, right: left is not None and left >= right,
    "lt": lambda left, right: left is not None and left < right,
    "le": lambda left, right: left is not None and left <= right,
}
_TEXT: dict[str, Callable[[str], str]] = {
    "trim": lambda text: text.strip(),
    "tolower": lambda text: text.lower(),
    "toupper": lambda text: text.upper(),
}
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "substringof": lambda text, part: part.lower() in text.lower(),
    "startswith": lambda text, part: text.lower().startswith(part.lower()),
    "endswith": lambda text, part: text.lower().endswith(part.lower()),
}
_LARGEST_PLAIN = 2**31 - 1


def names(node: Node) -> set[str]:
    """The fields a filter looks at."""
    match node:
        case Compare(field=field) | Test(field=field):
            return {field.name}
        case Not(inner=inner):
            return names(inner)
        case Both(left=left, right=right) | Either(left=left, right=right):
            return names(left) | names(right)


def wanted(node: Node, field: str) -> set[Any] | None:
    """The only values of a field that can pass the filter, or None when it does not say."""
    match node:
        case Compare(field=Field(name, None), operator="eq", literal=literal) if name == field:
            return {literal.value}
        case Both(left=left, right=right):
            first, second = wanted(left, field), wanted(right, field)
            return first if second is None else second if first is None else first & second
        case Either(left=left, right=right):
            first, second = wanted(left, field), wanted(right, field)
            return None if first is None or second is None else first | second
        case _:
            return None


def conditions(node: Node) -> list[Compare]:
    """The comparisons that every passing row fulfils."""
    match node:
        case Compare():
            return [node]
        case Both(left=left, right=right):
            return conditions(left) + conditions(right)
        case _:
            return []


def compile_filter(
    node: Node, types: Mapping[str, str], columns: Mapping[str, Callable[[Any], Any]]
) -> Callable[[Any], bool]:
    """A predicate over rows. Raises `QueryError` for fields and literals that do not fit."""
    match node:
        case Compare(field=field, operator=operator, literal=literal):
            return _compile_compare(field, operator, literal, types, columns)
        case Test():
            return _compile_test(node, types, columns)
        case Not(inner=inner):
            passes = compile_filter(inner, types, columns)
            return lambda row: not passes(row)
        case Both(left=left, right=right):
            first, second = (compile_filter(side, types, columns) for side in (left, right))
            return lambda row: first(row) and second(row)
        case Either(left=left, right=right):
            chain = _values_of_chain(node)
            if chain is not None:  # a long list of ids: one look-up instead of one test each
                return _compile_chain(*chain, types, columns)
            first, second = (compile_filter(side, types, columns) for side in (left, right))
            return lambda row: first(row) or second(row)


def _compile_test(
    node: Test, types: Mapping[str, str], columns: Mapping[str, Callable[[Any], Any]]
) -> Callable[[Any], bool]:
    _type_of(node.field.name, types, "String")
    read = _reader(node.field, types, columns)
    test, text = _TESTS[node.name], node.text
    return lambda row: test(read(row) or "", text)


def _compile_chain(
    name: str, kept: set[Any], types: Mapping[str, str], columns: Mapping[str, Callable[[Any], Any]]
) -> Callable[[Any], bool]:
    _check(Literal("guid", None), _type_of(name, types))
    read = _reader(Field(name), types, columns)
    return lambda row: read(row) in kept


def _values_of_chain(node: Node) -> tuple[str, set[Any]] | None:
    names_seen, values, waiting = set(), set(), [node]
    while waiting:
        match waiting.pop():
            case Either(left=left, right=right):
                waiting += (left, right)
            case Compare(field=Field(name, None), operator="eq", literal=Literal("guid", value)):
                names_seen.add(name)
                values.add(value)
            case _:
                return None
    return (names_seen.pop(), values) if len(names_seen) == 1 else None


def _compile_compare(
    field: Field,
    operator: str,
    literal: Literal,
    types: Mapping[str, str],
    columns: Mapping[str, Callable[[Any], Any]],
) -> Callable[[Any], bool]:
    edm = _type_of(field.name, types)
    if literal.kind != "null":
        _check(literal, edm)
    read = _reader(field, types, columns)
    compare, value = _OPERATORS[operator], literal.value
    return lambda row: compare(read(row), value)


def _reader(
    field: Field, types: Mapping[str, str], columns: Mapping[str, Callable[[Any], Any]]
) -> Callable[[Any], Any]:
    read: Callable[[Any], Any] = columns.get(field.name) or _nothing
    if types[field.name] == "DateTime":
        return lambda row: as_moment(read(row))
    if field.through is not None:
        change = _TEXT[field.through]
        return lambda row: change(read(row) or "")
    return read


def _nothing(_: Any) -> None:
    """A field that nothing here ever fills."""


def as_moment(value: Any) -> Any:
    """A date as the midnight it stands for, so that dates and moments compare."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - wall time has no zone
    return value


def _type_of(name: str, types: Mapping[str, str], expected: str | None = None) -> str:
    edm = types.get(name)
    if edm is None:
        raise QueryError(f"No property '{name}' exists in type at position 0.")
    if edm == "Link" or (expected is not None and edm != expected):
        raise QueryError(SYNTAX)
    return edm


def _check(literal: Literal, edm: str) -> None:
    allowed = {
        "Guid": {"guid"},
        "String": {"string"},
        "DateTime": {"datetime"},
        "Boolean": {"bool"},
        "Int64": {"number", "long"},
    }.get(edm, {"number", "long"})
    if literal.kind not in allowed:
        raise QueryError(f"Operator incompatible with operand types 'Edm.{edm}' and '{literal.kind}'.")
    if edm == "Int64" and literal.kind == "number" and abs(literal.value) > _LARGEST_PLAIN:
        raise QueryError(f"Unrecognized 'Edm.Int32' literal '{literal.value}'.")
