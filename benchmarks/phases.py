"""The phases of a run: when each begins on the clock of everybody who takes part, and what happens in it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connector.clock import SystemClock

BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
"""When the client is linked. Later phases begin so long after it that each finds the same feeds due, however long
the phase before took: what is read hourly is left alone in `quiet` and due in those after it."""


WARM_UP = 5
"""Cycles before those that are counted, where there are many."""


@dataclass(frozen=True)
class Phase:
    name: str
    title: str
    after: timedelta
    full: bool = False
    changed: float = 0.0
    """The share of items that bookkeeping touches before it."""


PHASES = (
    Phase("first", "first load", timedelta(minutes=1)),
    Phase("quiet", "no change", timedelta(minutes=20)),
    Phase("hourly", "no change, hourly feeds", timedelta(minutes=100)),
    Phase("changed", "1 % changed", timedelta(minutes=180), changed=0.01),
    Phase("reread", "full re-read", timedelta(minutes=260), full=True),
)
LINK = Phase("link", "linking", timedelta())
BY_NAME = {phase.name: phase for phase in (LINK, *PHASES)}


class PhaseClock(SystemClock):
    """Begins at the moment of a phase and goes on as fast as the machine's clock."""

    def __init__(self, phase: Phase) -> None:
        self._begin = BEGIN + phase.after
        self._started = time.monotonic()

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=time.monotonic() - self._started)
