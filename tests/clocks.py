"""A clock that a test moves by hand."""

from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until moved; `sleep` moves it and returns at once."""

    def __init__(self, start: datetime = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class WrongClock:
    """A machine's clock that somebody has set: it is ahead of the true one by some seconds, or behind."""

    def __init__(self, true: ManualClock) -> None:
        self._true = true
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return self._true.now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return self._true.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._true.sleep(seconds)
