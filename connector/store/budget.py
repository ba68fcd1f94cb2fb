"""Calls made by one app on one administration, counted across processes in calendar minutes and days."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from connector.clock import FAR
from connector.store.engine import Store
from connector.store.tables import BudgetRow

# SQLModel types __table__ loosely; this is the table itself.
_budget = cast("sa.Table", BudgetRow.__table__)  # type: ignore[attr-defined]

_LONGEST_PAUSE_S = 3600


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an answer's headers say; None where they say nothing."""

    minute_limit: int | None = None
    minute_remaining: int | None = None
    day_limit: int | None = None
    day_remaining: int | None = None
    day_ends_at: datetime | None = None


class BudgetStore:
    """The row of one (app, administration)."""

    def __init__(
        self, store: Store, app: str, administration: str, *, per_minute: int | None, per_day: int | None
    ) -> None:
        self._store = store
        self._insert = sqlite.insert if store.is_sqlite else postgresql.insert
        self._key = {"app": app, "administration": administration}
        self._mine = (_budget.c.app == app) & (_budget.c.administration == administration)
        self._limits = {"minute": per_minute, "day": per_day}
        self._known: sa.Row[Any] | None = None
        """The row as our last call left it; others may have counted more since."""

    def take(self, now: datetime, *, priority: bool) -> datetime | None:
        """Take one call, in one statement; None when taken, else when to ask again.

        Without priority a tenth of each limit is left alone.
        """
        values = {
            **self._key,
            "now": now,
            "this_minute": _floor(now),
            "far": now + FAR,
            "today": now.astimezone(UTC).date(),
            "tenths": 10 if priority else 9,
            "minute_default": self._limits["minute"],
            "day_default": self._limits["day"],
        }
        with self._store.write() as connection:
            self._known = connection.execute(_taken(self._insert), values).one_or_none()
            if self._known is not None:
                return None
            row = connection.execute(sa.select(_budget).where(self._mine)).one()
        return self._opens_at(row, now, priority=priority)

    def told(self, now: datetime, told: Told) -> None:
        """Believe the package about its limits, and about the calls left when it counted more than we did.

        Most answers say nothing new, and cost nothing.
        """
        if self._known is not None and not _is_news(told, self._known, now):
            return
        values: dict[str, Any] = {"refusals": 0}
        for window, limit, left, current in (
            ("minute", told.minute_limit, told.minute_remaining, _budget.c.minute == _floor(now)),
            ("day", told.day_limit, told.day_remaining, sa.true()),
        ):
            if limit is None:
                continue
            values[f"{window}_limit"] = limit
            if left is not None:
                used = _budget.c[f"{window}_used"]
                values[f"{window}_used"] = sa.case((current & (used < limit - left), limit - left), else_=used)
        if told.day_ends_at is not None:
            values["day_ends_at"] = told.day_ends_at
        with self._store.write() as connection:
            connection.execute(sa.update(_budget).where(self._mine).values(values))

    def pause(self, now: datetime, until: datetime | None) -> datetime:
        """Stop everybody after a refusal; returns until when. Refusals that name no time wait twice as long each."""
        self._known = None
        with self._store.write() as connection:
            counted = sa.update(_budget).where(self._mine).values(refusals=_budget.c.refusals + 1)
            refusals = connection.scalar(counted.returning(_budget.c.refusals)) or 1
            if until is None:
                until = now + timedelta(seconds=min(60 * 2 ** min(refusals - 1, 10), _LONGEST_PAUSE_S))
            later = sa.or_(_budget.c.paused_until.is_(None), _budget.c.paused_until < until)
            connection.execute(sa.update(_budget).where(self._mine, later).values(paused_until=until))
        return until

    def _opens_at(self, row: sa.Row[Any], now: datetime, *, priority: bool) -> datetime:
        if row.paused_until is not None and row.paused_until > now >= row.minute - FAR:
            return cast("datetime", row.paused_until)
        limit = self._limits["day"] if row.day_limit is None else row.day_limit
        if limit is not None and row.day_used >= _usable(limit, priority=priority):
            midnight = datetime.combine(row.day, time(), UTC) + timedelta(days=1)
            ends_at = row.day_ends_at or midnight
            if ends_at > now:
                return cast("datetime", ends_at)
        return _floor(now) + timedelta(minutes=1)


@cache
def _taken(insert: Callable[[sa.Table], sqlite.Insert | postgresql.Insert]) -> sa.Executable:
    """The statement that takes a call if there is one; built once, because it is used for each call."""
    now = sa.bindparam("now", type_=_budget.c.paused_until.type)
    minute = sa.bindparam("this_minute", type_=_budget.c.minute.type)
    today = sa.bindparam("today", type_=_budget.c.day.type)
    same_minute = _budget.c.minute == minute
    same_day = sa.case((_budget.c.day_ends_at.is_not(None), _budget.c.day_ends_at > now), else_=_budget.c.day == today)
    tenths = sa.bindparam("tenths", type_=sa.Integer)
    # The minute is that of the last call: where it lies ahead, a clock was wrong that also said how long to pause.
    far = sa.bindparam("far", type_=_budget.c.minute.type)
    open_ = sa.or_(_budget.c.paused_until.is_(None), _budget.c.paused_until <= now, _budget.c.minute > far)
    room = [
        sa.or_(sa.not_(same), limit.is_(None), _budget.c[f"{window}_used"] < (limit * tenths + 9) // 10)
        for window, same in (("minute", same_minute), ("day", same_day))
        for limit in [
            sa.func.coalesce(_budget.c[f"{window}_limit"], sa.bindparam(f"{window}_default", type_=sa.Integer))
        ]
    ]
    first = insert(_budget).values(
        app=sa.bindparam("app"),
        administration=sa.bindparam("administration"),
        minute=minute,
        minute_used=1,
        day=today,
        day_used=1,
        refusals=0,
    )
    return first.on_conflict_do_update(
        index_elements=["app", "administration"],
        set_={
            "minute": minute,
            "paused_until": sa.null(),
            "minute_used": sa.case((same_minute, _budget.c.minute_used + 1), else_=1),
            "day": sa.case((same_day, _budget.c.day), else_=today),
            "day_used": sa.case((same_day, _budget.c.day_used + 1), else_=1),
            "day_ends_at": sa.case((same_day, _budget.c.day_ends_at), else_=sa.null()),
        },
        where=sa.and_(open_, *room),
    ).returning(*_budget.c)


def _is_news(told: Told, known: sa.Row[Any], now: datetime) -> bool:
    """Whether the row has to change: another limit, or more calls counted than by us."""
    this_minute = known.minute == _floor(now)
    return (
        known.refusals > 0
        or told.minute_limit not in {None, known.minute_limit}
        or told.day_limit not in {None, known.day_limit}
        or told.day_ends_at not in {None, known.day_ends_at}
        or (this_minute and _used(told.minute_limit, told.minute_remaining) > known.minute_used)
        or _used(told.day_limit, told.day_remaining) > known.day_used
    )


def _used(limit: int | None, remaining: int | None) -> int:
    """Calls used, as the package counts them; none where it does not say."""
    return 0 if limit is None or remaining is None else limit - remaining


def _usable(limit: int, *, priority: bool) -> int:
    """A limit without its reserve: nine tenths, rounded up."""
    return limit if priority else (limit * 9 + 9) // 10


def _floor(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(second=0, microsecond=0)
