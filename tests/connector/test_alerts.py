"""What is told about a sign-in, and when: the decision by itself."""

from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import alerts
from connector.store.connections import Linked
from connector.store.tokens import LINKED, NEEDS_REAUTH, SignIn
from tests.clocks import ManualClock

NOW = ManualClock().now()
LIFE = timedelta(days=30)
SIGN_IN = SignIn(
    connection_id=1,
    generation=3,
    signed_in_at=NOW - timedelta(days=90),
    expires_at=NOW,
    refreshed_at=NOW,
    refresh_expires_at=NOW + LIFE,
    lease_until=None,
    retry_at=None,
    failures=0,
    calls_on=NOW.date(),
    calls=1,
    status=LINKED,
    reason="the endpoint is away",
)


def linked(alerted: int) -> Linked:
    return Linked(
        **dict.fromkeys(Linked.__struct_fields__)
        | {"id": 1, "name": "acme", "package": "books", "administration": "1", "initial_done": True, "alerted": alerted}
    )


def told(alerted: int, after: timedelta, sign_in: SignIn = SIGN_IN) -> int | None:
    news = alerts.news(linked(alerted), sign_in, NOW + after)
    return None if news is None else news.percent


@pytest.mark.parametrize(
    ("days", "percent"),
    [(0, None), (14.9, None), (15, 50), (22.4, 50), (22.5, 25), (26.9, 25), (27, 10), (30, 10), (400, 10)],
)
def test_half_a_quarter_and_a_tenth_of_a_life_are_news(days: float, percent: int | None) -> None:
    assert told(alerts.FINE, timedelta(days=days)) == percent


def test_the_news_says_since_when_and_why_and_until_when() -> None:
    news = alerts.news(linked(alerts.FINE), SIGN_IN, NOW + timedelta(days=23))
    assert news is not None
    assert news.reason == "the sign-in could not be renewed since 2026-11-20 09:00 UTC: the endpoint is away"
    assert news.ends_at == NOW + LIFE


def test_a_sign_in_that_does_not_die_by_itself_is_never_near_its_end() -> None:
    assert told(alerts.FINE, timedelta(days=9999), msgspec.structs.replace(SIGN_IN, refresh_expires_at=None)) is None


def test_a_refused_one_needs_a_person_whatever_was_said_before() -> None:
    refused = msgspec.structs.replace(SIGN_IN, status=NEEDS_REAUTH)
    assert [told(said, timedelta(0), refused) for said in (100, 50, 25, 10, 0)] == [0, 0, 0, 0, None]


def test_a_renewed_one_is_well_again_but_a_person_is_needed_until_the_package_has_answered() -> None:
    assert [told(said, timedelta(days=1)) for said in (100, 50, 25, 10, 0)] == [None, 100, 100, 100, None]


@given(st.lists(st.floats(min_value=0, max_value=60), max_size=40).map(sorted))
def test_each_step_is_told_once_and_downwards(looks: list[float]) -> None:
    said, last = [], alerts.FINE
    for days in looks:
        percent = told(last, timedelta(days=days))
        if percent is not None:
            said.append(percent)
            last = percent
    assert said == sorted(set(said), reverse=True)
    assert set(said) <= set(alerts.STEPS)


def keep_alive_at(connection_id: int, refreshed_at: datetime = NOW) -> datetime:
    at = msgspec.structs.replace(SIGN_IN, connection_id=connection_id, refreshed_at=refreshed_at).keep_alive_at
    assert at is not None
    return at


def test_keep_alive_comes_after_a_third_of_the_life_spread_over_a_day() -> None:
    after = [(keep_alive_at(number) - NOW - LIFE / 3) / timedelta(days=1) for number in range(500)]
    assert 0 <= min(after) < 0.02
    assert 0.98 < max(after) < 1
    by_quarter = [sum(quarter / 4 <= one < (quarter + 1) / 4 for one in after) for quarter in range(4)]
    assert min(by_quarter) > 60
