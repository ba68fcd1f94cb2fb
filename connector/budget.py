"""The call budget that clients ask before each call: waits a moment for the next minute, refuses longer waits."""

import asyncio
import itertools
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from connector.adapter import CallLimits
from connector.clock import Clock
from connector.errors import Throttled
from connector.http import RateHeaders
from connector.network import WAIT
from connector.store.budget import BudgetStore, Told
from connector.store.engine import Store

_WORTH_WAITING = timedelta(seconds=65)
_LONGEST_QUEUE = 2
_LONGEST = {"minute": timedelta(minutes=5), "day": timedelta(hours=25)}


class CallBudget:
    """The `http.Budget` of one app on one administration, shared by every process on the database.

    With `priority` (a person waits for the answer) the reserve of each limit may be used as well.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        app: str,
        administration: str,
        limits: CallLimits,
        headers: RateHeaders | None = None,
        priority: bool = False,
    ) -> None:
        self._clock = clock
        self._where = f"{app} on {administration}"
        self._headers = headers or RateHeaders()
        self._priority = priority
        self._row = BudgetStore(store, app, administration, per_minute=limits.per_minute, per_day=limits.per_day)

    async def acquire(self) -> None:
        """Take one call, sleeping into the next minute when that is all it needs.

        Raises:
            Throttled: the day's calls are used up, or the package asked for a long pause.
        """
        for wait in itertools.count(1):
            now = self._clock.now()
            until = await asyncio.to_thread(self._row.take, now, priority=self._priority)
            if until is None:
                return
            if wait > _LONGEST_QUEUE or until - now > _WORTH_WAITING:
                raise Throttled(
                    f"the call budget is used up; it opens again at {until:%Y-%m-%d %H:%M:%S} UTC",
                    until=until,
                    where=self._where,
                    fix=WAIT,
                )
            await self._clock.sleep((until - now).total_seconds())

    async def told(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        """Learn from an answer's headers. After a 429 everybody pauses; returns until when."""
        now = self._clock.now()
        names = self._headers
        told = Told(
            minute_limit=_number(headers, names.minute_limit),
            minute_remaining=_number(headers, names.minute_remaining),
            day_limit=_number(headers, names.day_limit),
            day_remaining=_number(headers, names.day_remaining),
            day_ends_at=_reset(headers, names.day_reset, "day", now),
        )
        if status != 429:
            await asyncio.to_thread(self._row.told, now, told)
            return None
        minute_ends_at = _reset(headers, names.minute_reset, "minute", now)
        day_is_full = told.day_ends_at is not None and (told.day_remaining == 0 or minute_ends_at is None)
        until = told.day_ends_at if day_is_full else minute_ends_at or _retry_after(headers, now)
        if until is not None:
            until += timedelta(milliseconds=1000 + secrets.randbelow(1000))
        return await asyncio.to_thread(self._row.pause, now, until)


def _number(headers: Mapping[str, str], name: str | None) -> int | None:
    text = headers.get(name, "") if name else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _reset(headers: Mapping[str, str], name: str | None, window: str, now: datetime) -> datetime | None:
    """The end of a window, in epoch milliseconds; a time that cannot be its end is not believed."""
    milliseconds = _number(headers, name)
    if milliseconds is None:
        return None
    end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=min(milliseconds, 10**14))
    return end if now < end <= now + _LONGEST[window] else None


def _retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Seconds or an HTTP date."""
    text = headers.get("retry-after", "")
    seconds = _number(headers, "retry-after")
    if seconds is not None:
        return now + min(timedelta(seconds=min(seconds, 10**6)), _LONGEST["day"])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return until if now < until <= now + _LONGEST["day"] else None
