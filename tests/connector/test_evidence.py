"""What the package's answer says about rows that a complete read did not hold."""

import pytest

from connector.adapter import BadRow, Removal, Row
from connector.errors import Held
from connector.evidence import HOLD_COUNT, check_size, weigh


def row(key: str, kind: str = "item") -> Row:
    return Row(kind=kind, key=key, group="c1", fields={})


def test_only_what_the_answer_does_not_hold_is_gone() -> None:
    verdict = weigh("item", ["a", "b", "c"], [row("b")])
    assert verdict.found == [row("b")]
    assert verdict.gone == [Removal(kind="item", key="a"), Removal(kind="item", key="c")]


def test_what_cannot_be_read_is_there() -> None:
    bad = BadRow(kind="item", key="a", reason="no amount", payload=None)
    verdict = weigh("item", ["a"], [bad])
    assert (verdict.bad, verdict.gone) == ([bad], [])


def test_what_has_turned_into_something_else_is_gone_as_what_it_was() -> None:
    verdict = weigh("item", ["a"], [row("a", kind="payment")])
    assert verdict.found == [row("a", kind="payment")]
    assert verdict.gone == [Removal(kind="item", key="a")]


def test_nothing_asked_nothing_gone() -> None:
    verdict = weigh("item", [], [])
    assert (verdict.found, verdict.bad, verdict.gone) == ([], [], [])


@pytest.mark.parametrize(
    ("gone", "stored", "held"),
    [
        (0, 0, False),
        (HOLD_COUNT, HOLD_COUNT, False),  # few, though all of them
        (HOLD_COUNT + 1, (HOLD_COUNT + 1) * 5, False),  # many, but a fifth
        (HOLD_COUNT + 1, (HOLD_COUNT + 1) * 5 - 1, True),
        (10_000, 10_000, True),
    ],
)
def test_a_mass_disappearance_waits_for_a_person(gone: int, stored: int, held: bool) -> None:
    if not held:
        check_size(gone, stored, kind="item", connection="acme")
        return
    with pytest.raises(Held, match="cannot be found") as caught:
        check_size(gone, stored, kind="item", connection="acme")
    assert "connector sync acme --accept-removals" in caught.value.fix
