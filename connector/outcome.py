"""How a cycle ended, and when the next one is due."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from connector.adapter import Identity
from connector.assembly import Tally
from connector.closing import Closing
from connector.errors import (
    BadRecord,
    ConfigurationError,
    ConnectorError,
    ExitCode,
    NeedsReconnect,
    Stopped,
    Throttled,
    Unavailable,
)
from connector.reader import FeedReport
from connector.store.connections import Linked

BACKOFF = (60, 120, 300, 900, 1800, 3600)
"""Seconds until the next try after the n-th failure in a row."""
BUG_PAUSE_S = 900

Outcome = Literal["ok", "partial", "interrupted", "throttled", "unavailable", "stopped", "needs_reconnect", "bug"]


@dataclass(kw_only=True)
class CycleReport:
    """How a cycle ended."""

    connection: str
    started_at: datetime
    finished_at: datetime | None = None
    outcome: Outcome = "ok"
    error: Exception | None = None
    identity: Identity | None = None
    feeds: list[FeedReport] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    closing: Closing | None = None

    @property
    def exit_code(self) -> int:
        if isinstance(self.error, ConnectorError):
            return self.error.exit_code
        if self.error is not None:
            return ExitCode.BUG
        return ExitCode.DONE if self.outcome == "ok" else ExitCode.PARTLY_FAILED


def classify(error: Exception) -> Outcome:
    match error:
        case NeedsReconnect():
            return "needs_reconnect"
        case Throttled():
            return "throttled"
        case Unavailable():
            return "unavailable"
        case Stopped() | BadRecord() | ConfigurationError():
            return "stopped"
        case _:
            return "bug"


def next_wait(report: CycleReport, *, every: timedelta, before: Linked, now: datetime) -> timedelta:
    """How long to wait before the next cycle. Pure.

    A first difference with the ledger is looked at again soon: a booking may have come in between two calls.
    """
    backoff = timedelta(seconds=BACKOFF[min(before.failures, len(BACKOFF) - 1)])
    if report.outcome == "partial" and report.closing is not None and not report.closing.agrees:
        return every if before.outcome == "partial" else min(every, timedelta(seconds=BACKOFF[0]))
    if isinstance(report.error, Throttled):
        return max(report.error.until - now, timedelta(seconds=1))
    fixed = {
        "ok": every,
        "partial": every,
        "interrupted": timedelta(0),
        "bug": max(timedelta(seconds=BUG_PAUSE_S), backoff),
        "needs_reconnect": timedelta(days=1),
    }
    return fixed.get(report.outcome, backoff)
