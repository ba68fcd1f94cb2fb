"""The clock, passed in wherever time matters, so that a test can own it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

FAR: Final = timedelta(minutes=5)
"""What was noted as "now" further ahead than this, or granted to last longer, is by a clock that was wrong.

Leases are shorter than that, and machines that share a database are not so far apart.
"""


class Clock(Protocol):
    """Wall time in aware UTC, monotonic seconds for durations, and a way to wait."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
