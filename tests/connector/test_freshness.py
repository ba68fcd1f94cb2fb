"""How far the books can be trusted for chasing somebody today."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.freshness import DORMANT, is_dormant, previous_business_day, safe_as_of, today

FRIDAY = date(2026, 11, 20)
DAYS = st.dates(date(2000, 1, 1), date(2050, 1, 1))


@pytest.mark.parametrize(
    ("day", "before"),
    [
        (FRIDAY, date(2026, 11, 19)),
        (date(2026, 11, 21), FRIDAY),
        (date(2026, 11, 22), FRIDAY),
        (date(2026, 11, 23), FRIDAY),
    ],
)
def test_the_business_day_before_skips_the_weekend(day: date, before: date) -> None:
    assert previous_business_day(day) == before


def test_the_day_is_that_of_the_administration() -> None:
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    assert today(late, "Europe/Amsterdam") == date(2026, 11, 21)
    assert today(late, "UTC") == FRIDAY


def test_the_slowest_bank_decides() -> None:
    assert safe_as_of({"a": FRIDAY, "b": date(2026, 11, 12)}, read_on=FRIDAY, blocking=()) == date(2026, 11, 12)


def test_a_bank_that_nobody_books_any_more_holds_nobody_back() -> None:
    last = FRIDAY - DORMANT
    assert not is_dormant(last, FRIDAY)
    assert is_dormant(last - timedelta(days=1), FRIDAY)
    old = {"a": FRIDAY, "closed": last - timedelta(days=1)}
    assert safe_as_of(old, read_on=FRIDAY, blocking=()) == FRIDAY


def test_without_any_bank_or_with_a_doubt_nothing_is_known() -> None:
    assert safe_as_of({}, read_on=FRIDAY, blocking=()) is None
    assert safe_as_of({"closed": date(2020, 1, 1)}, read_on=FRIDAY, blocking=()) is None
    assert safe_as_of({"a": FRIDAY}, read_on=FRIDAY, blocking=["feed lines failed"]) is None


@given(st.dictionaries(st.text(max_size=3), DAYS, max_size=5), DAYS)
def test_it_never_promises_more_than_any_active_bank_or_than_today(booked: dict[str, date], read_on: date) -> None:
    safe = safe_as_of(booked, read_on=read_on, blocking=())
    if safe is None:
        assert all(is_dormant(day, read_on) for day in booked.values())
    else:
        assert safe <= read_on
        assert all(safe <= day or is_dormant(day, read_on) for day in booked.values())
