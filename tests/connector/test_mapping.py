"""Mapping files: what the language means, and what is said about mistakes."""

from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from connector.adapter import packages
from connector.errors import ConfigurationError
from connector.filters import FILTERS
from connector.mapping import SECTIONS, Mapping, compile_mapping

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(text: str, name: str = "mapping.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def apply(mapping: Mapping, section: str, **source: Any) -> dict[str, Any]:
    return mapping.section(section)(source)


def value_of(write: Any, expression: str, value: Any, field: str = "name", section: str = "customer") -> Any:
    mapping = compile_mapping(write(f'[{section}]\n{field} = "{expression}"\n'))
    return apply(mapping, section, a={"x": value}).get(field)


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("a.x", "Jansen", "Jansen"),
        ("a.x", None, None),
        ("b.x", "Jansen", None),
        ("b.x ?? a.x", "Jansen", "Jansen"),
        ("b.x ?? 'nobody'", "Jansen", "nobody"),
        ("'it''s'", None, "it's"),
        ("a.x | upper", "Jansen", "JANSEN"),
        ("a.x | lower", "Jansen", "jansen"),
        ("a.x | trim", "  x ", "x"),
        ("a.x | trim ?? 'none'", "   ", "none"),
        ("a.x | digits", "+31 (0)20-123", "31020123"),
        ("a.x | split(',;') | first", "a; b , c", "a"),
        ("a.x | emails | first", "Jan <jan@x.nl>; piet@y.nl", "jan@x.nl"),
        ("a.x | emails | first ?? 'none'", "not an address", "none"),
        ("a.x | is('A', 'B') | then('yes') ?? 'no'", "B", "yes"),
        ("a.x | is('A', 'B') | then('yes') ?? 'no'", "C", "no"),
        ("a.x | is_not('A') | then('yes') ?? 'no'", "A", "no"),
        ("a.x | is('true') | then('yes')", True, "yes"),
        ("a.x | starts_with('P', 'Q')", "Quist", "Quist"),
        ("a.x | contains('BV')", "Jansen BV", "Jansen BV"),
        ("a.x | contains('NV')", "Jansen BV", None),
        ("a.x | default('unknown')", None, "unknown"),
        ("a.x | default('unknown') | upper", None, "UNKNOWN"),
        ("a.x | prefix('D')", 12, "D12"),
        ("a.x | replace('-', '')", "1-2", "12"),
        ("a.x | cut('3')", "Jansen", "Jan"),
        ("a.x | nonzero", "0.00", None),
        ("a.x | nonzero", "1.50", "1.50"),
        ("a.x", 42, "42"),
    ],
)
def test_expressions(write: Any, expression: str, value: Any, expected: Any) -> None:
    assert value_of(write, expression, value) == expected


@pytest.mark.parametrize(
    ("section", "field", "value", "expected"),
    [
        ("customer", "credit_limit", "2500.00", Decimal("2500.00")),
        ("customer", "on_hold", True, True),
        ("customer", "on_hold", "1", True),
        ("customer", "party_type", "consumer", "consumer"),
        ("invoice", "due_date", "2026-11-20", date(2026, 11, 20)),
        ("terms", "days", 30, 30),
        ("contact", "roles", "reminder", ("reminder",)),
        ("contact", "cc", ("a@x.nl", "b@x.nl"), ("a@x.nl", "b@x.nl")),
    ],
)
def test_values_become_what_the_record_field_is(
    write: Any, section: str, field: str, value: Any, expected: Any
) -> None:
    assert value_of(write, "a.x", value, field, section) == expected


def test_constants_need_no_quotes_when_they_are_no_text(write: Any) -> None:
    mapping = compile_mapping(write("[customer]\non_hold = true\n[terms]\ndays = 14\n"))
    assert apply(mapping, "customer") == {"on_hold": True}
    assert apply(mapping, "terms") == {"days": 14}


def test_missing_and_present_see_that_there_is_nothing(write: Any) -> None:
    mapping = compile_mapping(write('[customer]\nactive = "a.end | missing"\non_hold = "a.end | present"\n'))
    assert apply(mapping, "customer", a={}) == {"active": True, "on_hold": False}
    assert apply(mapping, "customer", a={"end": "2026-01-01"}) == {"active": False, "on_hold": True}


def test_value_tables_translate_and_give_nothing_for_what_they_lack(write: Any) -> None:
    text = "[tables.method]\n1 = \"cash\"\n[payment]\nmethod = \"a.x | table('method') ?? 'card'\"\n"
    mapping = compile_mapping(write(text))
    assert apply(mapping, "payment", a={"x": 1}) == {"method": "cash"}
    assert apply(mapping, "payment", a={"x": 2}) == {"method": "card"}


def test_custom_fields_are_named_freely(write: Any) -> None:
    mapping = compile_mapping(write('[invoice.custom]\ncost_centre = "a.x"\nempty = "a.y"\n'))
    assert apply(mapping, "invoice", a={"x": 7}) == {"custom": {"cost_centre": "7"}}


def test_a_connections_own_file_replaces_single_keys(write: Any) -> None:
    default = write(
        '[customer]\nname = "a.x"\nemail = "a.y"\n[tables.t]\nA = "1"\nB = "2"\n[journals]\ninclude = ["70"]\n'
    )
    own = write(
        '[customer]\nemail = "a.z"\n[tables.t]\nB = "3"\n[customer.custom]\nt = "a.t | table(\'t\')"\n', "own.toml"
    )
    mapping = compile_mapping(default, own)
    source = {"x": "X", "y": "Y", "z": "Z", "t": "B"}
    assert apply(mapping, "customer", a=source) == {"name": "X", "email": "Z", "custom": {"t": "3"}}
    assert mapping.journals.count("70")
    assert compile_mapping(default).digest != mapping.digest


def test_the_digest_follows_the_meaning(write: Any) -> None:
    one = compile_mapping(write('[customer]\nname = "a.x"\nemail = "a.y"\n', "one.toml"))
    same = compile_mapping(write('# a remark\n[customer]\nemail = "a.y"\nname = "a.x"\n', "two.toml"))
    other = compile_mapping(write('[customer]\nname = "a.x | trim"\nemail = "a.y"\n', "three.toml"))
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("text", "code", "counts"),
    [
        ("", "90", True),
        ('[journals]\ninclude = ["70", "71"]\n', "70", True),
        ('[journals]\ninclude = ["70", "71"]\n', "90", False),
        ('[journals]\nleave_out = ["90"]\n', "90", False),
        ('[journals]\nleave_out = ["90"]\n', "70", True),
        ('[journals]\ninclude = ["70"]\nleave_out = ["70"]\n', "70", False),
    ],
)
def test_journals_that_count(write: Any, text: str, code: str, counts: bool) -> None:
    assert compile_mapping(write(text)).journals.count(code) is counts


def test_customers_are_left_out_by_any_of_the_expressions(write: Any) -> None:
    text = "[customers]\nleave_out = [\"a.group | is('X')\", \"a.code | starts_with('9')\"]\n"
    mapping = compile_mapping(write(text))
    assert mapping.leaves_out({"a": {"group": "X", "code": "1"}})
    assert mapping.leaves_out({"a": {"group": "Y", "code": "901"}})
    assert not mapping.leaves_out({"a": {"group": "Y", "code": "109"}})


def test_a_value_that_the_field_cannot_hold_names_the_field(write: Any) -> None:
    mapping = compile_mapping(write('[invoice]\ndue_date = "a.x"\n'))
    with pytest.raises(ValueError, match=r"^invoice\.due_date: "):
        apply(mapping, "invoice", a={"x": "31 February"})
    mapping = compile_mapping(write('[customer]\nparty_type = "a.x"\n'))
    with pytest.raises(ValueError, match=r"^customer\.party_type: 'firm' is none of "):
        apply(mapping, "customer", a={"x": "firm"})


def problems(*files: Path, **options: Any) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        compile_mapping(*files, **options)
    return {problem.key: f"{problem.what} - {problem.fix}" for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ('[custmer]\nname = "a.x"\n', "custmer.name", "did you mean 'customer'"),
        ('[customer]\nnmae = "a.x"\n', "customer.nmae", "did you mean 'name'"),
        ('[invoice]\nopen = "a.x"\n', "invoice.open", "the program works this field out itself"),
        ('[customer]\nname = "a.x | uper"\n', "customer.name", "there is no filter 'uper' - did you mean 'upper'"),
        ('[customer]\nname = "a.x | table(\'languag\')"\n[tables.language]\nx = "y"\n', "customer.name", "'language'"),
        ('[customer]\nname = "a.x |"\n', "customer.name", "the name of a filter is missing"),
        ('[customer]\nname = "a.x ??"\n', "customer.name", "a path or a quoted text is missing"),
        ('[customer]\nname = "a.x a.y"\n', "customer.name", "'a.y' stands where an alternative ends"),
        ('[customer]\nname = "a.x | is"\n', "customer.name", "the filter 'is' has 0 arguments"),
        ('[customer]\nname = "a.x | is(y)"\n', "customer.name", "an argument is missing"),
        ("[customer]\nname = \"a.x | is('y'\"\n", "customer.name", "the arguments do not end"),
        ("[customer]\nname = \"a.x | cut('three')\"\n", "customer.name", "the filter 'cut' cannot take 'three'"),
        ('[customer]\nname = "a.x + 1"\n', "customer.name", "'+ 1' cannot be understood"),
        ('[customer]\nname = ["a.x"]\n', "customer.name", "this is no expression"),
        ("[customer]\nparty_type = \"a.x | then('firm')\"\n", "customer.party_type", "the field cannot be 'firm'"),
        ("[customer]\nparty_type = \"a.x ?? 'busines'\"\n", "customer.party_type", "did you mean 'business'"),
        ('[tables.t]\na = "firm"\n[customer]\nparty_type = "a.x | table(\'t\')"\n', "customer.party_type", "'firm'"),
        ("[tables.t]\na = 1\n", "tables.t.a", "a value table holds quoted words only"),
        ("[journals]\ninclude = [70]\n", "journals.include", "this is no list of codes"),
        ('[journals]\nexclude = ["70"]\n', "journals.exclude", "did you mean 'include'"),
        ('[customers]\nleave_out = "a.x"\n', "customers.leave_out", "this is no list"),
        ('[customers]\nleave_out = ["a.x | nope"]\n', "customers.leave_out", "there is no filter 'nope'"),
        ('customer = "a.x"\n', "customer", "a section holds fields"),
        ("[customer\n", "-", "this is no TOML"),
    ],
)
def test_each_mistake_is_named_with_its_key_and_the_way_out(write: Any, text: str, key: str, says: str) -> None:
    found = problems(write(text))
    assert list(found) == [key]
    assert says in found[key]


def test_all_mistakes_of_both_files_come_at_once(write: Any) -> None:
    default = write('[customer]\nnmae = "a.x"\nemail = "a.y | uper"\n')
    own = write('[invoice]\ndescription = "a.z |"\n', "own.toml")
    with pytest.raises(ConfigurationError, match="3 mistakes") as caught:
        compile_mapping(default, own)
    assert [(Path(one.file).name, one.key) for one in caught.value.problems] == [
        ("mapping.toml", "customer.nmae"),
        ("mapping.toml", "customer.email"),
        ("own.toml", "invoice.description"),
    ]


def test_a_missing_file_is_a_mistake_too(tmp_path: Path) -> None:
    assert "cannot be read" in problems(tmp_path / "absent.toml")[("-")]


def test_paths_are_checked_against_what_the_package_stores(write: Any) -> None:
    sources = dict.fromkeys(SECTIONS, frozenset({"account.Name", "account.Code"}))
    found = problems(write('[customer]\nname = "account.Nmae"\n'), sources=sources)
    assert found["customer.name"] == "the package has no value 'account.Nmae' - did you mean 'account.Name'?"


def test_every_record_field_can_be_mapped_or_is_worked_out() -> None:
    """A new field of a record is mappable by itself; a reserved name that no record has is a leftover."""
    for record, reserved in SECTIONS.values():
        assert reserved <= set(record.__struct_fields__)


@pytest.mark.parametrize("name", sorted(packages()))
def test_the_mappings_we_ship_are_without_mistakes(name: str) -> None:
    compile_mapping(resources.files("mappings") / f"{name}.toml", sources=packages()[name].sources)


def test_every_filter_is_documented() -> None:
    page = (ROOT / "docs/mapping.md").read_text(encoding="utf-8")
    for name in [*FILTERS, "table"]:
        assert f"| `{name}" in page, name
    for section in SECTIONS:
        assert f"`[{section}]`" in page, section
