"""Delivery: retries, pauses, isolation of bad events, and crashes at the worst moment."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from connector.delivery import LEASE_TTL, Deliverer, DeliveryReport
from connector.destinations import Outcome, Result, Sendable
from connector.destinations.webhook import Webhook
from connector.errors import Busy
from connector.judgement import DAILY, GIVE_UP, JITTER, SCHEDULE, delay, judge
from connector.receiver import Fault, Receiver
from connector.secrets import Secret
from connector.store import backlog, connections, destinations, outbox
from connector.store.backlog import Selection
from connector.store.destinations import Health
from connector.store.engine import Store, open_store
from connector.store.outbox import Claimed, NewEvent
from tests.clocks import ManualClock
from tests.servers import serve, serve_raw

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE="
SOURCE = "urn:connector:acme:simulated:1"
NAME = "dunning"

Answer = Callable[[Sequence[Sendable]], Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'connector.db'}")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def accept(batch: Sequence[Sendable]) -> Outcome:
    return Outcome(
        kind="answered", delivery_id="d", status=200, results={e.event_id: Result("accepted") for e in batch}
    )


def fail(_: Sequence[Sendable]) -> Outcome:
    return Outcome(kind="retry", delivery_id="d", status=503, reason="HTTP 503")


def refuse(_: Sequence[Sendable]) -> Outcome:
    return Outcome(kind="refused", delivery_id="d", status=400, reason="HTTP 400")


def pause(_: Sequence[Sendable]) -> Outcome:
    return Outcome(kind="pause", delivery_id="d", status=410, reason="HTTP 410")


class Scripted:
    """Gives the scripted answers, then accepts everything; remembers what it got."""

    batch_events = 64
    batch_bytes = 1_000_000

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.otherwise: Answer = accept
        self.batches: list[list[Sendable]] = []

    async def send(self, batch: Sequence[Sendable]) -> Outcome:
        self.batches.append(list(batch))
        return (self.answers.pop(0) if self.answers else self.otherwise)(batch)

    async def close(self) -> None: ...

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def deliverer(store: Store, clock: ManualClock, destination: Scripted | Webhook, owner: str = "one") -> Deliverer:
    return Deliverer(store, {NAME: destination}, clock, rng=random.Random(7), owner=owner)


def write(store: Store, clock: ManualClock, *subjects: str, version: int = 1, size: int = 0) -> None:
    """One invoice for each `customer/invoice`."""
    linked = connections.register(
        store, name="acme", package="simulated", administration="1", destination=NAME, now=clock.now()
    )
    new = [
        NewEvent(
            type="ar.invoice.upserted.v1",
            entity="invoice",
            external_id=subject.partition("/")[2],
            entity_version=version,
            ordering_key=f"1/{subject.partition('/')[0]}",
            data=b'{"meta":{"entity_version":%d},"record":{"currency":"EUR","note":"%s"}}' % (version, b"x" * size),
        )
        for subject in subjects
    ]
    with store.write() as connection:
        outbox.append(connection, connection_id=linked.id, destination=NAME, source=SOURCE, events=new, now=clock.now())


def health(store: Store) -> Health:
    with store.read() as connection:
        return destinations.health(connection, NAME)


def subjects(batch: Sequence[Sendable]) -> list[str]:
    return [event.external_id for event in batch if isinstance(event, Claimed)]


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


class TestOutage:
    async def test_nothing_is_lost_in_days_of_silence_and_the_backlog_follows_a_probe(
        self, store: Store, clock: ManualClock
    ) -> None:
        names = [f"c{n}/i{n}" for n in range(200)]
        write(store, clock, *names)
        other = Scripted(*[fail] * 8)
        sender = deliverer(store, clock, other)
        for _ in range(8):
            report = await sender.deliver_once(NAME)
            assert report.ended == "failing"
            assert (await sender.deliver_once(NAME)).ended == "waiting"
            due = health(store).due_at
            assert due is not None
            clock.advance((due - clock.now()).total_seconds())
        report = await sender.deliver_once(NAME)
        assert (report.ended, report.delivered) == ("drained", 200)
        assert other.sizes == [64, *[1] * 7, 1, 4, 16, 64, 64, 51]
        assert [name for batch in other.batches[8:] for name in subjects(batch)] == [f"i{n}" for n in range(200)]

    async def test_it_is_paused_after_five_days_and_resumes_where_it_was(
        self, store: Store, clock: ManualClock
    ) -> None:
        write(store, clock, "c/i")
        other = Scripted()
        other.otherwise = fail
        sender = deliverer(store, clock, other)
        started = clock.now()
        while not health(store).paused:
            await sender.deliver_once(NAME)
            due = health(store).due_at
            assert due is not None
            clock.advance((due - clock.now()).total_seconds())
        assert GIVE_UP <= clock.now() - started < GIVE_UP + timedelta(days=2.2)
        assert 10 <= len(other.batches) <= 13
        clock.advance(30 * DAILY)
        report = await sender.deliver_once(NAME)
        assert (report.ended, report.requests) == ("paused", 0)
        assert "failing for 5 days" in report.reason
        other.otherwise = accept
        destinations.resume(store, NAME)
        assert (await sender.deliver_once(NAME)).delivered == 1
        assert health(store) == Health()

    async def test_a_changed_item_is_told_once_after_an_outage(self, store: Store, clock: ManualClock) -> None:
        write(store, clock, "c/i", "d/j")
        other = Scripted(fail)
        sender = deliverer(store, clock, other)
        await sender.deliver_once(NAME)
        for version in (2, 3, 4):
            write(store, clock, "c/i", version=version)
        clock.advance(10)
        assert (await sender.deliver_once(NAME)).delivered == 3
        sent = [event for batch in other.batches[1:] for event in batch]
        assert len(sent) == 3, "version 1 was sent before and stands; 2 and 3 went up in 4"

    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    async def test_a_fault_of_the_endpoint_pauses_and_keeps_everything(
        self, store: Store, clock: ManualClock, status: int
    ) -> None:
        receiver = Receiver([SECRET], clock=clock)
        receiver.faults = [Fault(status=status)]
        write(store, clock, "c/i", "d/j")
        async with serve(receiver.app) as url:
            hook = Webhook(f"{url}/events", [Secret(SECRET)], clock=_Today(), allow_private=True)
            receiver.clock = _Today()
            sender = deliverer(store, clock, hook)
            first = await sender.deliver_once(NAME)
            second = await sender.deliver_once(NAME)
            destinations.resume(store, NAME)
            third = await sender.deliver_once(NAME)
            await hook.close()
        assert (first.ended, second.ended, second.requests) == ("paused", "paused", 0)
        assert f"HTTP {status}" in first.reason
        assert third.delivered == 2

    async def test_a_receiver_with_a_wrong_clock_is_retried_and_named(self, store: Store, clock: ManualClock) -> None:
        async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 401 No\r\ndate: Fri, 20 Nov 2026 08:50:00 GMT\r\ncontent-length: 0\r\n\r\n")

        write(store, clock, "c/i")
        async with serve_raw(handler) as url:
            hook = Webhook(url, [Secret(SECRET)], clock=clock, allow_private=True)
            report = await deliverer(store, clock, hook).deliver_once(NAME)
            await hook.close()
        assert report.ended == "failing"
        assert "its clock is 10 min behind" in report.reason
        assert [event.state for event in backlog.pending(store)] == ["pending"]

    async def test_a_person_can_pause_in_the_middle_of_a_drain(self, store: Store, clock: ManualClock) -> None:
        write(store, clock, *(f"c{n}/i{n}" for n in range(100)))

        def pausing(batch: Sequence[Sendable]) -> Outcome:
            destinations.pause(store, NAME, "maintenance")
            return accept(batch)

        other = Scripted(pausing)
        report = await deliverer(store, clock, other).deliver_once(NAME)
        assert (report.ended, report.reason, report.delivered) == ("paused", "maintenance", 64)
        assert health(store).paused


class _Today(ManualClock):
    """Stands still at the time the web server's Date header tells."""

    def __init__(self) -> None:
        from connector.clock import SystemClock

        super().__init__(SystemClock().now())


class TestBadEvents:
    async def test_one_bad_event_is_found_held_and_dead_while_others_flow(
        self, store: Store, clock: ManualClock
    ) -> None:
        def picky(batch: Sequence[Sendable]) -> Outcome:
            return refuse(batch) if "bad" in subjects(batch) else accept(batch)

        write(store, clock, *(f"c{n}/i{n}" for n in range(6)), "x/bad", "x/after", *(f"d{n}/j{n}" for n in range(6)))
        other = Scripted()
        other.otherwise = picky
        sender = deliverer(store, clock, other)
        first = await sender.deliver_once(NAME)
        assert (first.delivered, first.postponed, first.requests) == (12, 1, 9)
        for _ in range(2):
            clock.advance(700)
            last = await sender.deliver_once(NAME)
            assert last.requests == 1, "it travels alone"
        assert (last.dead, health(store)) == (1, Health())
        (dead,) = backlog.dead(store)
        assert (dead.external_id, dead.reason.startswith("HTTP 400")) == ("bad", True)
        write(store, clock, "x/more", "y/other")
        assert (await sender.deliver_once(NAME)).delivered == 1, "its key is held, others are not"
        other.otherwise = accept
        backlog.replay(store, Selection(dead_only=True))
        assert (await sender.deliver_once(NAME)).delivered == 3
        assert subjects(other.batches[-1]) == ["bad", "after", "more"]

    async def test_what_lies_behind_a_bad_event_does_not_slip_past_it_while_it_is_searched(
        self, store: Store, clock: ManualClock
    ) -> None:
        def picky(batch: Sequence[Sendable]) -> Outcome:
            return refuse(batch) if "bad" in subjects(batch) else accept(batch)

        write(store, clock, "x/bad", "c/i", "x/after", "d/j")
        other = Scripted()
        other.otherwise = picky
        await deliverer(store, clock, other).deliver_once(NAME)
        alone = [subjects(batch) for batch in other.batches].index(["bad"])
        assert "after" not in [name for batch in other.batches[alone:] for name in subjects(batch)]

    async def test_a_receiver_that_refuses_everything_does_not_kill_the_backlog(
        self, store: Store, clock: ManualClock
    ) -> None:
        write(store, clock, *(f"c{n}/i{n}" for n in range(60)))
        other = Scripted()
        other.otherwise = refuse
        report = await deliverer(store, clock, other).deliver_once(NAME)
        assert (report.ended, report.postponed, report.dead) == ("paused", 20, 0)
        assert "refused 20 events in a row" in report.reason
        assert backlog.dead(store) == []

    async def test_batches_shrink_to_what_a_receiver_takes_and_a_giant_is_dead_with_its_size(
        self, store: Store, clock: ManualClock
    ) -> None:
        write(store, clock, *(f"c{n}/i{n}" for n in range(40)), size=500)
        write(store, clock, "x/giant", size=20_000)
        receiver = Receiver([SECRET], clock=clock, max_body=10_000)
        async with serve(receiver.app) as url:
            hook = Webhook(f"{url}/events", [Secret(SECRET)], clock=clock, allow_private=True)
            sender = deliverer(store, clock, hook)
            reports = []
            for _ in range(3):
                reports.append(await sender.deliver_once(NAME))
                clock.advance(700)
            await hook.close()
        assert [(report.delivered, report.dead) for report in reports] == [(40, 0), (0, 0), (0, 1)]
        (dead,) = backlog.dead(store)
        assert dead.external_id == "giant"
        assert dead.reason.startswith("HTTP 413")
        assert "20" in dead.reason.rpartition("(")[2]

    async def test_a_verdict_of_the_receiver_holds_its_key_only(self, store: Store, clock: ManualClock) -> None:
        receiver = Receiver([SECRET], clock=clock)
        receiver.faults = [
            Fault(match="invoice/late", verdict="retry_later"),
            Fault(match="invoice/no", verdict="rejected"),
        ]
        write(store, clock, "c/late", "c/i", "d/j")
        write(store, clock, "e/no")
        async with serve(receiver.app) as url:
            hook = Webhook(f"{url}/events", [Secret(SECRET)], clock=clock, allow_private=True)
            sender = deliverer(store, clock, hook)
            hook.batch_events = 3
            first = await sender.deliver_once(NAME)
            clock.advance(10)
            second = await sender.deliver_once(NAME)
            await hook.close()
        assert (first.delivered, first.postponed, first.dead) == (1, 2, 1)
        assert second.delivered == 2
        assert [
            seen.subject for delivery in receiver.history for seen in delivery.events if seen.verdict == "accepted"
        ] == [
            "invoice/j",
            "invoice/late",
            "invoice/i",
        ]


class TestCrash:
    async def test_death_between_the_answer_and_the_mark_repeats_the_same_bytes(
        self, store: Store, clock: ManualClock
    ) -> None:
        write(store, clock, "c/i", "d/j")
        receiver = Receiver([SECRET], clock=clock)
        async with serve(receiver.app) as url:
            hook = Webhook(f"{url}/events", [Secret(SECRET)], clock=clock, allow_private=True)

            class Dying(Scripted):
                async def send(self, batch: Sequence[Sendable]) -> Outcome:
                    await hook.send(batch)
                    raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await deliverer(store, clock, Dying(), "dead").deliver_once(NAME)
            write(store, clock, "c/i", version=2)
            report = await deliverer(store, clock, hook).deliver_once(NAME)
            await hook.close()
        assert report.delivered == 3
        first, second, third = receiver.history
        assert (first.id, first.digest) == (second.id, second.digest)
        assert [seen.digest for seen in first.events] == [seen.digest for seen in second.events]
        assert [seen.verdict for seen in second.events] == ["duplicate", "duplicate"]
        assert [seen.entity_version for seen in third.events] == [2]

    @pytest.mark.parametrize("fault", [Fault(broken=True), Fault(status=500, applied=True), Fault(status=502)])
    async def test_an_answer_that_got_lost_does_no_harm(self, store: Store, clock: ManualClock, fault: Fault) -> None:
        write(store, clock, "c/i", "d/j")
        receiver = Receiver([SECRET], clock=clock)
        receiver.faults = [fault]
        async with serve(receiver.app) as url:
            hook = Webhook(f"{url}/events", [Secret(SECRET)], clock=clock, allow_private=True)
            sender = deliverer(store, clock, hook)
            assert (await sender.deliver_once(NAME)).ended == "failing"
            clock.advance(10)
            assert (await sender.deliver_once(NAME)).delivered == 2
            await hook.close()
        assert receiver.mirror()[SOURCE]["counts"]["invoice"] == 2

    async def test_one_deliverer_at_a_time_and_a_late_one_marks_nothing(self, store: Store, clock: ManualClock) -> None:
        write(store, clock, "c/i")
        other = Scripted()
        reports: list[DeliveryReport] = []
        second = deliverer(store, clock, other, "two")

        class Slow(Scripted):
            async def send(self, batch: Sequence[Sendable]) -> Outcome:
                reports.append(await second.deliver_once(NAME))
                clock.advance(LEASE_TTL.total_seconds() + 1)
                reports.append(await second.deliver_once(NAME))
                return fail(batch)

        with pytest.raises(Busy):
            await deliverer(store, clock, Slow()).deliver_once(NAME)
        assert [(report.ended, report.delivered) for report in reports] == [("busy", 0), ("drained", 1)]
        assert health(store) == Health()
        assert backlog.pending(store) == []

    async def test_a_stop_ends_the_drain_after_the_batch_in_hand(self, store: Store, clock: ManualClock) -> None:
        write(store, clock, *(f"c{n}/i{n}" for n in range(100)))
        stop = asyncio.Event()
        stop.set()
        report = await deliverer(store, clock, Scripted()).deliver_once(NAME, stop)
        assert (report.ended, report.delivered) == ("stopped", 64)


class TestRun:
    async def test_one_destination_that_hangs_delays_no_other(self, store: Store, clock: ManualClock) -> None:
        write(store, clock, "c/i")
        with store.write() as connection:
            connection.execute(outbox.OUTBOX.update().values(destination="hanging"))
        write(store, clock, "d/j")
        arrived, hung = asyncio.Event(), asyncio.Event()

        class Hanging(Scripted):
            async def send(self, batch: Sequence[Sendable]) -> Outcome:
                hung.set()
                await asyncio.Event().wait()
                return accept(batch)

        class Working(Scripted):
            async def send(self, batch: Sequence[Sendable]) -> Outcome:
                arrived.set()
                return accept(batch)

        sender = Deliverer(store, {"hanging": Hanging(), NAME: Working()}, clock)
        running = asyncio.create_task(sender.run(asyncio.Event()))
        async with asyncio.timeout(20):
            await hung.wait()
            await arrived.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    async def test_new_events_wake_it_and_a_bug_in_a_destination_does_not_end_it(self, store: Store) -> None:
        class Patient(ManualClock):
            async def sleep(self, seconds: float) -> None:
                await asyncio.Event().wait()

        clock = Patient()
        tried, arrived, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        class Buggy(Scripted):
            async def send(self, batch: Sequence[Sendable]) -> Outcome:
                if not tried.is_set():
                    tried.set()
                    raise KeyError("a bug")
                arrived.set()
                return accept(batch)

        sender = deliverer(store, clock, Buggy())
        write(store, clock, "c/i")
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(sender.run(stop))
            await tried.wait()
            sender.wake(NAME)
            await arrived.wait()
            stop.set()

    async def test_every_request_is_in_the_log_of_attempts(self, store: Store, clock: ManualClock) -> None:
        write(store, clock, "c/i", "d/j")
        sender = deliverer(store, clock, Scripted(fail))
        await sender.deliver_once(NAME)
        clock.advance(10)
        await sender.deliver_once(NAME)
        found = destinations.attempts(store, NAME)
        assert [(attempt.outcome, attempt.events) for attempt in found] == [
            ("answered", 1),
            ("answered", 1),
            ("retry", 2),
        ]
        assert found[2].reason == "HTTP 503"


async def test_random_failures_never_break_the_order_of_an_entity(store: Store, clock: ManualClock) -> None:
    """F8: a third of the requests fail, before or after they were taken in."""
    rng = random.Random(3)
    names = [f"c{n % 40}/i{n}" for n in range(600)]
    write(store, clock, *names)
    receiver = Receiver([SECRET], clock=clock)
    receiver.faults = [
        Fault(times=None, match=f"/i{n}", status=500, applied=n % 2 == 0) for n in rng.sample(range(600), 40)
    ]
    for fault in receiver.faults:
        fault.times = 1
    async with serve(receiver.app) as url:
        hook = Webhook(f"{url}/events", [Secret(SECRET)], clock=clock, allow_private=True)
        hook.batch_events = 50
        sender = deliverer(store, clock, hook)
        for version in (2, 3):
            await sender.deliver_once(NAME)
            write(store, clock, *rng.sample(names, 200), version=version)
            clock.advance(DAILY)
        while (await sender.deliver_once(NAME)).ended != "drained" or backlog.pending(store):
            clock.advance(DAILY)
        await hook.close()
    taken: dict[str, list[int]] = {}
    for delivery in receiver.history:
        for seen in delivery.events:
            if seen.verdict == "accepted":
                taken.setdefault(seen.subject, []).append(seen.entity_version)
    assert len(taken) == 600
    assert all(versions == sorted(set(versions)) for versions in taken.values())
    assert any(delivery.status == 500 for delivery in receiver.history)
