"""Delivery: events that a receiver does not take."""

from collections.abc import Iterator, Sequence

import pytest

from connector.destinations import Outcome, Sendable
from connector.receiver import Fault, Receiver
from connector.store import backlog
from connector.store.backlog import Selection
from connector.store.destinations import Health
from connector.store.engine import Store, open_store
from tests.clocks import ManualClock
from tests.sending import NAME, SECRET, Scripted, accept, deliverer, health, local, refuse, subjects, write
from tests.servers import serve


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """SQLite only."""
    opened = open_store(sqlite_url)
    yield opened
    opened.close()


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
            hook = local(f"{url}/events", clock=clock)
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
            hook = local(f"{url}/events", clock=clock)
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
