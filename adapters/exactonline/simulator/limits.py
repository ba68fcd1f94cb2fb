"""What Exact lets an app do: calls a minute and a day per division, and errors per hour (sheet 9)."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.exactonline.simulator.settings import SimulatorSettings
from connector.clock import Clock

COUNTED_ERRORS = frozenset({400, 401, 403, 404})


@dataclass(slots=True)
class _Window:
    ends: datetime
    used: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call may go on, and the headers that tell what is left."""

    refused: str | None
    headers: dict[str, str] = field(default_factory=dict)


class CallLimits:
    """Counts calls per division in calendar minutes and UTC days."""

    def __init__(self, clock: Clock, settings: SimulatorSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._minutes: dict[int, _Window] = {}
        self._days: dict[int, _Window] = {}

    def admit(self, division: int) -> Admission:
        """Count one call. A refusal carries only the headers of the limit that was hit."""
        now = self._clock.now()
        minute = _current(self._minutes, division, now, timedelta(minutes=1), now.replace(second=0, microsecond=0))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        day = _current(self._days, division, now, timedelta(days=1), midnight)
        minute_limit, day_limit = self._settings.minute_limit, self._settings.day_limit
        refused = "minute" if minute.used >= minute_limit else "day" if day.used >= day_limit else None
        if refused is None:
            minute.used += 1
            day.used += 1
        minutely = {
            "X-RateLimit-Minutely-Limit": str(minute_limit),
            "X-RateLimit-Minutely-Remaining": str(max(0, minute_limit - minute.used)),
            "X-RateLimit-Minutely-Reset": _milliseconds(minute.ends),
        }
        daily = {
            "X-RateLimit-Limit": str(day_limit),
            "X-RateLimit-Remaining": str(max(0, day_limit - day.used)),
            "X-RateLimit-Reset": _milliseconds(day.ends),
        }
        if refused == "minute":
            return Admission(refused, minutely)
        return Admission(refused, daily if refused == "day" else {**daily, **minutely})

    def spend(self, division: int, calls: int) -> None:
        """Let some other job of the same app use up calls."""
        for _ in range(calls):
            self.admit(division)


class ErrorBudget:
    """Too many errors on one endpoint within an hour block the app's key, each time for longer."""

    def __init__(self, clock: Clock, settings: SimulatorSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._errors: defaultdict[tuple[int, str], list[datetime]] = defaultdict(list)
        self._blocks = 0
        self._blocked_until: datetime | None = None

    @property
    def blocked(self) -> bool:
        return self._blocked_until is not None and self._clock.now() < self._blocked_until

    def count(self, division: int, endpoint: str, status: int) -> bool:
        """Whether this answer counted as an error."""
        if status not in COUNTED_ERRORS:
            return False
        now = self._clock.now()
        recent = [at for at in self._errors[division, endpoint] if now - at < timedelta(hours=1)]
        recent.append(now)
        self._errors[division, endpoint] = recent
        if len(recent) >= self._settings.error_limit and not self.blocked:
            self._blocks += 1
            self._blocked_until = now + timedelta(hours=self._blocks)
            self._errors.clear()
        return True


def _current(windows: dict[int, _Window], division: int, now: datetime, length: timedelta, began: datetime) -> _Window:
    window = windows.get(division)
    if window is None or now >= window.ends:
        window = windows[division] = _Window(began + length)
    return window


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
