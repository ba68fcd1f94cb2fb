"""What stands before the API: the subscription key, then the limits (sheet 1, 2). It is not the API that answers."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request

from adapters.snelstart.simulator.settings import SimulatorSettings
from connector.clock import Clock

HEADER = "ocp-apim-subscription-key"
QUERY = "subscription-key"
_INVALID = "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."
_MISSING = (
    "Access denied due to missing subscription key. Make sure to include subscription key when making requests to"
    " an API."
)


class Refusal(Exception):
    """An answer other than what was asked for; no body at all when it is None."""

    def __init__(self, status: int, body: Any = None, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


def by_gateway(status: int, text: str, *, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(status, {"statusCode": status, "message": text}, headers=headers)


class Gate:
    """Counts calls per spender in sliding minutes and hours, and how many are under way."""

    def __init__(self, clock: Clock, settings: SimulatorSettings, violations: Counter[str]) -> None:
        self._clock = clock
        self._settings = settings
        self._violations = violations
        self._subscribed = clock.now()
        self._calls: defaultdict[str, deque[datetime]] = defaultdict(deque)
        self._under_way: Counter[str] = Counter()

    def check_subscription(self, request: Request) -> None:
        settings = self._settings
        key = request.headers.get(HEADER) or request.query_params.get(QUERY)
        if key is None:
            raise by_gateway(401, _MISSING)
        days = settings.subscription_days
        lapsed = days is not None and self._clock.now() >= self._subscribed + timedelta(days=days)
        if key not in settings.subscription_keys or settings.subscription_expired or lapsed:
            self._violations["dead_subscription_key"] += 1
            raise by_gateway(401, _INVALID)

    def renew_subscription(self) -> None:
        """The partner asks for its keys again; their days start anew."""
        self._subscribed = self._clock.now()

    @contextmanager
    def passing(self, spender: str) -> Iterator[None]:
        """Count one call and hold its place while it lasts, or refuse."""
        self._admit(spender)
        self._under_way[spender] += 1
        try:
            yield
        finally:
            self._under_way[spender] -= 1

    def spend(self, spender: str, calls: int) -> None:
        """Let some other integration of the same administration use up calls."""
        self._calls[spender].extend([self._clock.now()] * calls)

    def _admit(self, spender: str) -> None:
        limits, now, calls = self._settings.limits, self._clock.now(), self._calls[spender]
        while calls and now - calls[0] >= timedelta(hours=1):
            calls.popleft()
        if self._under_way[spender] >= limits.at_once:
            self._violations["over_concurrency_limit"] += 1
            raise self._too_many(1)
        minute = [at for at in calls if now - at < timedelta(minutes=1)]
        if len(minute) >= limits.minute:
            self._violations["over_minute_limit"] += 1
            raise self._too_many(_seconds(minute[0] + timedelta(minutes=1) - now))
        if len(calls) >= limits.hour:
            self._violations["over_hour_limit"] += 1
            left = calls[0] + timedelta(hours=1) - now
            raise _quota(left) if self._settings.hour_is_quota else self._too_many(_seconds(left))
        calls.append(now)

    def _too_many(self, seconds: int) -> Refusal:
        headers = {"Retry-After": str(seconds)} if self._settings.retry_after else {}
        return by_gateway(429, f"Rate limit is exceeded. Try again in {seconds} seconds.", headers=headers)


def _seconds(left: timedelta) -> int:
    """Whole seconds, never too few."""
    return -(-left // timedelta(seconds=1))


def _quota(left: timedelta) -> Refusal:
    minutes, seconds = divmod(_seconds(left), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours:02d}:{minutes:02d}:{seconds:02d}"
    return by_gateway(403, f"Out of call volume quota. Quota will be replenished in {clock}.")
