"""What a delivery's outcome means for its events and for the destination. Pure, with the schedules as data."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from connector.destinations import TAKEN, Outcome, Result
from connector.store.destinations import Health
from connector.store.outbox import Claimed, Mark

SCHEDULE: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""Seconds before the n-th attempt; from then on daily."""
DAILY: Final = 86_400
GIVE_UP: Final = timedelta(days=5)
REFUSED: Final = (300, 600)
"""Seconds until an event that was refused alone is tried again; after the last it is dead."""
JITTER: Final = 0.1
REFUSED_IN_A_ROW: Final = 20
"""So many events refused one after the other: the destination is at fault, and pauses before all of them are dead."""


class Judgement(Struct, frozen=True, kw_only=True):
    """What an outcome means: for each event, for the destination, and whether to send the halves apart."""

    health: Health
    marks: Sequence[Mark] = ()
    split: bool = False


def judge(
    batch: Sequence[Claimed],
    outcome: Outcome,
    health: Health,
    *,
    refusals: int,
    now: datetime,
    rng: random.Random,
) -> Judgement:
    """Judge one request; `refusals` counts the events refused one after the other before this one.

    Events without a mark stay as they are: to be sent again, unchanged, when the destination is ready.
    """
    if outcome.kind == "retry":
        return Judgement(health=_failed(health, outcome, now, rng))
    if outcome.kind == "pause":
        return Judgement(health=Health(paused=True, reason=outcome.reason, failing_since=health.failing_since or now))
    if outcome.kind == "answered":
        marks = [_mark(event, outcome.results[event.event_id], now, rng) for event in batch]
        return Judgement(health=Health(), marks=marks)
    if len(batch) > 1:
        return Judgement(health=Health(), split=True)
    health = Health()
    if refusals + 1 >= REFUSED_IN_A_ROW:
        health = Health(paused=True, reason=f"refused {REFUSED_IN_A_ROW} events in a row: {outcome.reason}")
    return Judgement(health=health, marks=[_refused(batch[0], outcome.reason, now, rng)])


def delay(failures: int) -> int:
    """Seconds to wait after the n-th failure in a row."""
    return SCHEDULE[failures] if failures < len(SCHEDULE) else DAILY


def _failed(health: Health, outcome: Outcome, now: datetime, rng: random.Random) -> Health:
    failures = health.failures + 1
    since = min(health.failing_since or now, now)
    wait = _jittered(delay(failures), rng) if outcome.retry_after is None else timedelta(seconds=outcome.retry_after)
    gave_up = now - since >= GIVE_UP
    return Health(
        paused=gave_up,
        reason=f"failing for {GIVE_UP.days} days: {outcome.reason}" if gave_up else outcome.reason,
        failures=failures,
        failing_since=since,
        due_at=now + wait,
    )


def _mark(event: Claimed, result: Result, now: datetime, rng: random.Random) -> Mark:
    if result.verdict in TAKEN:
        return Mark(id=event.id, state="delivered")
    if result.verdict == "rejected":
        return Mark(id=event.id, state="dead", refused=event.refused + 1, reason=result.reason or "rejected")
    postponed = event.postponed + 1
    return Mark(
        id=event.id,
        state="waiting",
        due_at=now + _jittered(delay(postponed), rng),
        refused=event.refused,
        postponed=postponed,
        reason=result.reason or "retry later",
    )


def _refused(event: Claimed, reason: str, now: datetime, rng: random.Random) -> Mark:
    refused = event.refused + 1
    dead = refused > len(REFUSED)
    if dead:
        reason = f"{reason} ({len(event.body)} bytes)"
    return Mark(
        id=event.id,
        state="dead" if dead else "waiting",
        due_at=None if dead else now + _jittered(REFUSED[refused - 1], rng),
        refused=refused,
        postponed=event.postponed,
        reason=reason,
    )


def _jittered(seconds: float, rng: random.Random) -> timedelta:
    return timedelta(seconds=seconds * rng.uniform(1 - JITTER, 1 + JITTER))
