"""Delivery: retries, pauses, and crashes at the worst moment."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from connector.delivery import LEASE_TTL, Deliverer, DeliveryReport
from connector.destinations import Outcome, Sendable
from connector.errors import Busy
from connector.judgement import DAILY, GIVE_UP
from connector.receiver import Fault, Receiver
from connector.store import backlog, destinations, outbox
from connector.store.destinations import Health
from connector.store.engine import Store, open_store
from tests.clocks import ManualClock
from tests.sending import (
    NAME,
    SECRET,
    SOURCE,
    Scripted,
    accept,
    deliverer,
    fail,
    health,
    local,
    subjects,
    write,
)
from tests.servers import serve, serve_raw


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """SQLite only."""
    opened = open_store(sqlite_url)
    yield opened
    opened.close()


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
            hook = local(f"{url}/events", clock=_Today())
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
            hook = local(url, clock=clock)
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


class TestCrash:
    async def test_death_between_the_answer_and_the_mark_repeats_the_same_bytes(
        self, store: Store, clock: ManualClock
    ) -> None:
        write(store, clock, "c/i", "d/j")
        receiver = Receiver([SECRET], clock=clock)
        async with serve(receiver.app) as url:
            hook = local(f"{url}/events", clock=clock)

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
            hook = local(f"{url}/events", clock=clock)
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
        hook = local(f"{url}/events", clock=clock)
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
