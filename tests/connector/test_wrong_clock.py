"""A machine's clock was ahead and is set right: what it noted meanwhile holds nothing up. On both databases."""

import contextlib
import random
from datetime import timedelta

import pytest

from connector.adapter import CallLimits, Feed
from connector.budget import CallBudget
from connector.clock import FAR
from connector.destinations import Outcome
from connector.errors import Busy, Throttled
from connector.http import Circuit
from connector.judgement import judge
from connector.reader import is_due
from connector.store import connections, destinations
from connector.store.connections import LostLease
from connector.store.destinations import Health
from connector.store.engine import Store
from connector.store.feeds import FeedState
from tests.clocks import ManualClock, WrongClock
from tests.memory_engine import Bench
from tests.tokens import Make

AHEAD = timedelta(hours=2)
TTL = timedelta(minutes=2)
NOW = ManualClock().now()


def test_a_connection_left_by_a_dead_process_is_taken_over(store: Store) -> None:
    Bench(store)
    linked = connections.find(store, "acme")
    dead = connections.claim(store, linked.id, owner="dead", now=NOW + AHEAD, ttl=TTL)
    assert connections.due(store, ["acme"], NOW, 1) == ["acme"]
    ours = connections.claim(store, linked.id, owner="ours", now=NOW, ttl=TTL)
    with pytest.raises(LostLease), store.write() as connection:
        connections.fence(connection, dead, now=NOW + AHEAD, ttl=TTL)
    with pytest.raises(Busy):
        connections.claim(store, linked.id, owner="a little behind", now=NOW - timedelta(minutes=2), ttl=TTL)
    connections.release(store, ours, due_at=NOW)


def test_so_is_a_destination(store: Store) -> None:
    dead = destinations.claim(store, "backend", owner="dead", now=NOW + AHEAD, ttl=TTL)
    destinations.claim(store, "backend", owner="ours", now=NOW, ttl=TTL)
    with pytest.raises(LostLease), store.write() as connection:
        destinations.fence(connection, dead, now=NOW + AHEAD, ttl=TTL)
    with pytest.raises(Busy):
        destinations.claim(store, "backend", owner="a little behind", now=NOW - timedelta(minutes=2), ttl=TTL)


async def test_the_next_cycle_is_due_once(store: Store) -> None:
    bench = Bench(store)
    bench.clock.advance(AHEAD.total_seconds())
    await bench.cycle()
    bench.clock.advance(-AHEAD.total_seconds())
    assert connections.due(store, ["acme"], bench.clock.now(), 1) == ["acme"]
    await bench.cycle()
    assert connections.due(store, ["acme"], bench.clock.now(), 1) == []


def test_a_feed_is_read_again() -> None:
    feed = Feed(name="open", kind="sweep", fills="item", every=timedelta(hours=1))
    for noted, due in ((-AHEAD, True), (timedelta(0), False), (AHEAD, True)):
        at = NOW + noted
        assert is_due(feed, FeedState(name="open", completed_at=at), NOW) is due
        assert is_due(feed, FeedState(name="open", status="failed", attempted_at=at, completed_at=at), NOW) is due


async def test_a_pause_of_the_call_budget_is_over(store: Store) -> None:
    clock = WrongClock(ManualClock())
    budget = CallBudget(store, clock, app="a", administration="1", limits=CallLimits(per_minute=60, per_day=5000))
    clock.ahead_s = AHEAD.total_seconds()
    await budget.acquire()
    assert await budget.told(429, {"retry-after": "600"}) is not None
    clock.ahead_s = 0
    for _ in range(3):
        await budget.acquire()
    assert clock.now() == NOW, "nothing was waited for"


def test_a_backend_that_refused_its_timestamps_is_asked_at_once() -> None:
    """And by the schedule afterwards."""
    refused = Outcome(kind="retry", delivery_id="d", status=401, reason="its clock is behind")
    health = Health()
    for _ in range(4):
        health = judge([], refused, health, refusals=0, now=NOW + AHEAD, rng=random.Random(1)).health
    assert not health.ready(NOW + AHEAD)
    assert health.ready(NOW)
    again = judge([], refused, health, refusals=0, now=NOW, rng=random.Random(1)).health
    assert (again.ready(NOW), again.failing_since) == (False, NOW)


def test_an_endpoint_that_refused_is_asked_again() -> None:
    clock = WrongClock(ManualClock())
    circuit = Circuit(clock, refusals=1)
    clock.ahead_s = AHEAD.total_seconds()
    circuit.refused("items")
    clock.ahead_s = 0
    circuit.check("items", "here")


@pytest.mark.parametrize("noted", ["granted", "tried"])
async def test_a_token_is_refreshed_and_not_too_early(bench: Make, noted: str) -> None:
    """Whatever was noted by the wrong clock; the fake counts refreshes before 570 seconds by the right one."""
    async with bench(refresh_margin_s=25, not_before_s=570, refresh_token_days=30) as b:
        wrong = WrongClock(b.clock)
        b.clock.advance(580)
        if noted == "granted":
            wrong.ahead_s = AHEAD.total_seconds()
            assert (await b.manager(wrong).access_token()).reveal() == "access-token-2"
        else:
            from_the_future = b.clock.now() + AHEAD
            assert b.tokens.claim(b.stored(), "dead", from_the_future, from_the_future + FAR / 2)
        wrong.ahead_s = 0
        ours, used = b.manager(wrong), []
        for _ in range(20):
            b.clock.advance(120)
            with contextlib.suppress(Throttled):  # what was tried and not answered may have been a grant, just now
                used.append((await ours.access_token()).reveal())
        assert len(used) >= 15
        assert len(set(used)) > 2
        assert b.fake.violations == b.fake.rejected == 0
        dies_at = b.stored().refresh_expires_at
        assert dies_at is not None
        assert dies_at <= b.clock.now() + timedelta(days=30)
