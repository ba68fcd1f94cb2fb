"""How far the books can be trusted for chasing somebody today. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

DORMANT = timedelta(days=90)
"""A bank journal without a booking for so long does not hold back the others."""


def previous_business_day(day: date) -> date:
    """Monday to Friday; national holidays are not known here, so the day may be one too late, never too early."""
    day -= timedelta(days=1)
    while day.weekday() >= 5:
        day -= timedelta(days=1)
    return day


def today(now: datetime, time_zone: str) -> date:
    return now.astimezone(ZoneInfo(time_zone)).date()


def is_dormant(booked_until: date, read_on: date) -> bool:
    return read_on - booked_until > DORMANT


def safe_as_of(booked_until: Mapping[str, date], *, read_on: date, blocking: Sequence[str]) -> date | None:
    """The day up to which it is known who paid; None when it is not known.

    `booked_until` is the newest booking per bank journal, `blocking` what makes the mirror doubtful (a feed that
    fails, a difference with the ledger). Without any bank booking nothing is known.
    """
    active = [day for day in booked_until.values() if not is_dormant(day, read_on)]
    if blocking or not active:
        return None
    return min(*active, read_on)
