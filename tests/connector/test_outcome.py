"""How a cycle's end is named, and when the next one comes."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from connector import errors
from connector.errors import ConnectorError, ExitCode, Throttled
from connector.outcome import BACKOFF, CycleReport, Outcome, classify, next_wait
from tests.clocks import ManualClock

NOW = ManualClock().now()
EVERY = timedelta(minutes=15)


def report(outcome: str, error: Exception | None = None, *, agrees: bool | None = None) -> CycleReport:
    closing: Any = None if agrees is None else SimpleNamespace(agrees=agrees)
    return CycleReport(connection="acme", started_at=NOW, outcome=outcome, error=error, closing=closing)


def wait(of: CycleReport, *, failures: int = 0, before: str = "ok") -> timedelta:
    known: Any = SimpleNamespace(failures=failures, outcome=before)
    return next_wait(of, every=EVERY, before=known, now=NOW)


def every_error(root: type[ConnectorError] = ConnectorError) -> list[type[ConnectorError]]:
    return [root, *(one for child in root.__subclasses__() for one in every_error(child))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_known_failure_has_an_outcome_and_an_exit_code_that_agree(kind: type[ConnectorError]) -> None:
    made = Throttled("x", until=NOW) if issubclass(kind, Throttled) else kind.__new__(kind)
    outcome = classify(made)
    assert outcome in get_args(Outcome)
    expected = {
        ExitCode.RECONNECT: {"needs_reconnect"},
        ExitCode.UNAVAILABLE: {"unavailable", "throttled"},
        ExitCode.PARTLY_FAILED: {"stopped"},
        ExitCode.CONFIGURATION: {"stopped"},
        ExitCode.BUG: {"bug"},
    }
    assert outcome in expected[kind.exit_code]
    assert report(outcome, made).exit_code == kind.exit_code


def test_the_exit_code_says_how_it_ended() -> None:
    assert report("ok").exit_code == ExitCode.DONE
    assert report("partial").exit_code == report("interrupted").exit_code == ExitCode.PARTLY_FAILED
    assert report("bug", ZeroDivisionError()).exit_code == ExitCode.BUG


def test_after_a_success_it_comes_back_in_time_and_after_an_interruption_at_once() -> None:
    assert wait(report("ok")) == EVERY
    assert wait(report("interrupted")) == timedelta(0)


def test_failures_wait_longer_and_longer_up_to_an_hour() -> None:
    waits = [wait(report("unavailable", errors.SourceDown("x")), failures=count) for count in range(10)]
    assert [each.total_seconds() for each in waits[: len(BACKOFF)]] == list(BACKOFF)
    assert set(waits[len(BACKOFF) :]) == {timedelta(hours=1)}


def test_a_call_limit_is_waited_for_exactly_and_one_that_has_passed_not_at_all() -> None:
    for ahead, expected in ((timedelta(hours=7), timedelta(hours=7)), (-timedelta(hours=1), timedelta(seconds=1))):
        assert wait(report("throttled", Throttled("x", until=NOW + ahead)), failures=9) == expected


def test_a_bug_waits_a_quarter_of_an_hour_at_least_and_a_person_a_day() -> None:
    assert wait(report("bug", ZeroDivisionError())) == timedelta(minutes=15)
    assert wait(report("bug", ZeroDivisionError()), failures=9) == timedelta(hours=1)
    assert wait(report("needs_reconnect", errors.NeedsReconnect("x"))) == timedelta(days=1)


@pytest.mark.parametrize(("before", "expected"), [("ok", timedelta(minutes=1)), ("partial", EVERY)])
def test_a_first_difference_with_the_ledger_is_looked_at_again_soon(before: str, expected: timedelta) -> None:
    assert wait(report("partial", agrees=False), before=before) == expected
    assert wait(report("partial", agrees=True), before=before) == EVERY
