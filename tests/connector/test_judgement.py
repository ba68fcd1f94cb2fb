"""What each kind of outcome means for events and destination, without anything else."""

import random
from datetime import timedelta

import pytest

from connector.destinations import Outcome, Result
from connector.judgement import DAILY, GIVE_UP, JITTER, SCHEDULE, delay, judge
from connector.store.destinations import Health
from connector.store.outbox import Claimed
from tests.clocks import ManualClock
from tests.sending import (
    fail,
    pause,
    refuse,
)


class TestJudgement:
    """Each kind of outcome, without anything else."""

    NOW = ManualClock().now()
    EVENT = Claimed(
        id=1,
        connection_id=1,
        sequence=1,
        event_id="e1",
        type="ar.invoice.upserted.v1",
        entity="invoice",
        external_id="i",
        ordering_key="1/c",
        refused=0,
        postponed=0,
        body=b"{}",
    )

    class Steady(random.Random):
        """No jitter."""

        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    def of(self, outcome: Outcome, before: Health | None = None, refusals: int = 0, **event: int) -> object:
        claimed = Claimed(**{name: getattr(self.EVENT, name) for name in Claimed.__struct_fields__} | event)
        judged = judge([claimed], outcome, before or Health(), refusals=refusals, now=self.NOW, rng=self.Steady())
        wait = judged.marks[0].due_at or judged.health.due_at if judged.marks else judged.health.due_at
        seconds = (wait - self.NOW).total_seconds() if wait else None
        state = judged.marks[0].state if judged.marks else None
        return state, seconds, judged.health.failures, judged.health.paused

    def outcome(self, verdict: str) -> Outcome:
        return Outcome(kind="answered", delivery_id="d", results={"e1": Result(verdict)})  # type: ignore[arg-type]  # parametrized

    @pytest.mark.parametrize(
        ("verdict", "expected"),
        [
            ("accepted", ("delivered", None, 0, False)),
            ("duplicate", ("delivered", None, 0, False)),
            ("superseded", ("delivered", None, 0, False)),
            ("rejected", ("dead", None, 0, False)),
            ("retry_later", ("waiting", 5, 0, False)),
        ],
    )
    def test_a_verdict_is_about_the_event_and_heals_the_destination(self, verdict: str, expected: object) -> None:
        assert self.of(self.outcome(verdict), Health(failures=3, failing_since=self.NOW)) == expected

    @pytest.mark.parametrize(("before", "seconds"), [(0, 5), (1, 300), (6, 36_000), (7, DAILY), (100, DAILY)])
    def test_later_becomes_later_and_later_but_never_dead(self, before: int, seconds: int) -> None:
        assert self.of(self.outcome("retry_later"), postponed=before) == ("waiting", seconds, 0, False)

    @pytest.mark.parametrize(
        ("before", "expected"),
        [(0, ("waiting", 300, 0, False)), (1, ("waiting", 600, 0, False)), (2, ("dead", None, 0, False))],
    )
    def test_a_refused_event_is_dead_after_three_attempts_in_fifteen_minutes(
        self, before: int, expected: object
    ) -> None:
        assert self.of(refuse([]), refused=before) == expected

    @pytest.mark.parametrize(
        ("failures", "seconds"),
        [(0, 5), (1, 300), (2, 1800), (3, 7200), (4, 18_000), (5, 36_000), (6, 36_000), (7, DAILY), (50, DAILY)],
    )
    def test_a_failing_destination_is_left_alone_for_longer(self, failures: int, seconds: int) -> None:
        before = Health(failures=failures, failing_since=self.NOW - timedelta(hours=1))
        assert self.of(fail([]), before) == (None, seconds, failures + 1, False)

    def test_it_is_paused_after_five_days_and_not_before(self) -> None:
        for age, paused in ((GIVE_UP - timedelta(seconds=1), False), (GIVE_UP, True)):
            before = Health(failures=12, failing_since=self.NOW - age)
            assert self.of(fail([]), before) == (None, DAILY, 13, paused)

    def test_a_wait_that_was_asked_for_is_kept(self) -> None:
        outcome = Outcome(kind="retry", delivery_id="d", status=429, retry_after=77.0)
        assert self.of(outcome) == (None, 77, 1, False)

    def test_a_fault_of_the_endpoint_pauses_at_once(self) -> None:
        assert self.of(pause([])) == (None, None, 0, True)

    def test_refusing_everything_is_a_fault_of_the_endpoint(self) -> None:
        assert self.of(refuse([]), refusals=18) == ("waiting", 300, 0, False)
        assert self.of(refuse([]), refusals=19) == ("waiting", 300, 0, True)

    def test_jitter_stays_within_a_tenth(self) -> None:
        waits = set()
        for seed in range(50):
            judged = judge(
                [self.EVENT], fail([]), Health(failures=1), refusals=0, now=self.NOW, rng=random.Random(seed)
            )
            assert judged.health.due_at is not None
            waits.add((judged.health.due_at - self.NOW).total_seconds())
        assert len(waits) > 40
        assert min(waits) >= 300 * (1 - JITTER)
        assert max(waits) <= 300 * (1 + JITTER)

    def test_the_schedule_covers_more_than_a_day(self) -> None:
        assert sum(SCHEDULE) > 27 * 3600
        assert [delay(n) for n in range(1, 4)] == [5, 300, 1800]
