"""From a filter's tree to a predicate over rows as the wire shows them."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.snelstart.simulator.encoding import Json
from adapters.snelstart.simulator.odata import Both, Compare, Either, Literal, Node, Not, Path, QueryError, Some, Test
from adapters.snelstart.simulator.schema import PREFIX, fields_of, models

Reader = Callable[[Any], Any]
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "gt": lambda left, right: left is not None and left > right,
    "ge": lambda left, right: left is not None and left >= right,
    "lt": lambda left, right: left is not None and left < right,
    "le": lambda left, right: left is not None and left <= right,
}
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "substringof": lambda text, part: part.lower() in text.lower(),
    "startswith": lambda text, part: text.lower().startswith(part.lower()),
    "endswith": lambda text, part: text.lower().endswith(part.lower()),
}
_PARTS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "year": ("datetime", "number", lambda text: int(text[:4])),
    "month": ("datetime", "number", lambda text: int(text[5:7])),
    "day": ("datetime", "number", lambda text: int(text[8:10])),
    "tolower": ("string", "string", str.lower),
    "toupper": ("string", "string", str.upper),
    "length": ("string", "number", len),
}
"""By function: the type it takes, the type it gives, and what it does."""
_EDM = {
    "string": "Edm.String", "guid": "Edm.Guid", "datetime": "Edm.DateTime", "number": "Edm.Decimal",
    "integer": "Edm.Int32", "boolean": "Edm.Boolean",
}  # fmt: skip


class Types:
    """What a name stands for: properties of the model, and of the element a lambda is about.

    Properties start with a capital here, although rows do not. `refused` are those that exist and cannot be used.
    """

    def __init__(self, model: str, refused: frozenset[str]) -> None:
        self._model = model
        self._refused = refused
        self._elements: dict[str, str] = {}

    def of_element(self, variable: str, kind: str) -> "Types":
        inner = Types(self._model, self._refused)
        inner._elements = {**self._elements, variable: kind}
        return inner

    def resolve(self, path: Path) -> tuple[str, Reader]:
        """The type of a path's end and how to read it from a row; from the element itself in a lambda."""
        names = path.names
        element = self._elements.get(names[0])
        if element is None:
            kind, model, fields = self._model, self._model, fields_of(self._model)
        else:
            names, kind, model, fields = names[1:], element, element, fields_of(element)
        keys: list[str] = []
        for name in names:
            key = name[0].lower() + name[1:]
            if fields is None or name[0].islower() or key not in fields:
                text = f"Could not find a property named '{name}' on type '{PREFIX}{model}'."
                raise QueryError(text, by_framework=True)
            if name in self._refused or key.endswith(("uri", "Uri")):
                raise QueryError("Ongeldig OData filter")
            kind = model = fields[key]
            fields = fields_of(kind)
            keys.append(key)
        return _around(path, kind, _reader(tuple(keys)))


def compile_filter(node: Node, types: Types) -> Callable[[Any], bool]:
    """Raises `QueryError` for names and literals that do not fit."""
    match node:
        case Compare(path=path, operator=operator, literal=literal):
            kind, read = types.resolve(path)
            _check(literal, kind)
            compare, value = _OPERATORS[operator], literal.value
            return lambda row: compare(read(row), value)
        case Test(name=name, path=path, text=text):
            kind, read = types.resolve(path)
            _check(Literal("string", text), kind)
            test = _TESTS[name]
            return lambda row: test(read(row) or "", text)
        case Some(path=path, variable=variable, inner=inner):
            kind, read = types.resolve(path)
            if not kind.startswith("["):
                raise QueryError("Ongeldig OData filter")
            passes = compile_filter(inner, types.of_element(variable, kind.strip("[]")))
            return lambda row: any(passes(element) for element in read(row) or ())
        case Not(inner=inner):
            passes = compile_filter(inner, types)
            return lambda row: not passes(row)
        case Both(left=left, right=right):
            first, second = compile_filter(left, types), compile_filter(right, types)
            return lambda row: first(row) and second(row)
        case Either(left=left, right=right):
            first, second = compile_filter(left, types), compile_filter(right, types)
            return lambda row: first(row) or second(row)


def since(node: Node) -> str | None:
    """The moment before which no passing row was modified, as far as the filter says so by itself."""
    match node:
        case Compare(path=Path(("ModifiedOn",), None), operator="gt" | "ge", literal=Literal("datetime", moment)):
            return str(moment)
        case Both(left=left, right=right):
            moments = [moment for moment in (since(left), since(right)) if moment is not None]
            return max(moments, default=None)
        case _:
            return None


def selected(text: str, model: str) -> list[str]:
    """The keys that a `$select` asks for, written with capitals as in a filter."""
    types, found = Types(model, frozenset()), []
    for name in text.split(","):
        types.resolve(Path((name.strip() or " ",)))
        found.append(name.strip()[0].lower() + name.strip()[1:])
    return found


def ordered(text: str, model: str) -> list[tuple[Reader, bool]]:
    """For each part of an `$orderby` how to read it and whether it descends."""
    types, order = Types(model, frozenset()), []
    for part in text.split(","):
        words = part.split()
        if not words or words[1:] not in ([], ["asc"], ["desc"]):
            raise QueryError("Ongeldig OData filter")
        order.append((types.resolve(Path(tuple(words[0].split("/"))))[1], words[1:] == ["desc"]))
    return order


def is_property(name: str, model: str) -> bool:
    fields: Mapping[str, str] = models()[model]
    return name[:1].isupper() and name[0].lower() + name[1:] in fields


def _reader(keys: tuple[str, ...]) -> Reader:
    if not keys:
        return lambda element: element
    first, rest = keys[0], keys[1:]

    def read(row: Json) -> Any:
        value = row.get(first)
        for key in rest:
            value = value.get(key) if value is not None else None
        return value

    return read


def _around(path: Path, kind: str, read: Reader) -> tuple[str, Reader]:
    if path.part is None:
        return kind, read
    takes, gives, do = _PARTS[path.part]
    _check(Literal(takes, None), kind)

    def part(row: Any) -> Any:
        value = read(row)
        return None if value is None else do(value)

    return gives, part


def _check(literal: Literal, kind: str) -> None:
    wanted = "number" if kind == "integer" else kind
    if literal.kind not in {wanted, "null"}:
        one, other = _EDM.get(kind, kind), _EDM[literal.kind]
        text = f"A binary operator with incompatible types was detected. Found operand types '{one}' and '{other}'."
        raise QueryError(text, by_framework=True)
