"""Positions in the feeds, as they are stored between cycles. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from adapters.exactonline.wire import local_time, whole
from connector.decoding import Decode

DELETIONS_KEPT: Final = timedelta(days=50)
"""The log of deletions goes back two months (sheet 4); an older position may have missed some."""
OVERLAP: Final = timedelta(hours=2)
"""Changes by modification time are read again this far back: summer time ends, and rows come to light late."""
OLDEST: Final = "1900-01-01T00:00:00"

P = TypeVar("P", bound=msgspec.Struct)


class Counted(msgspec.Struct, frozen=True, omit_defaults=True):
    """In a sync feed: everything up to `since` is read; `seen` is the newest on the pages since then.

    Pages are not promised to be in order, so while there is a next page the way on is its link, not `seen`.
    """

    since: int = 1
    seen: int = 1
    next: str | None = None
    whole: bool = True
    """This is still the first read, which is complete by itself."""
    read_at: datetime | None = None
    """Deletions only: when the last read that came to its end had begun."""

    def after(self, newest: int, following: str | None, began: datetime | None = None) -> "Counted":
        """The position after a page, given the newest version on it."""
        seen = max(self.seen, newest)
        if following is not None:
            return Counted(since=self.since, seen=seen, next=following, whole=self.whole, read_at=self.read_at)
        return Counted(since=seen, seen=seen, whole=False, read_at=began)

    def may_have_missed(self, now: datetime) -> bool:
        return self.read_at is not None and now - self.read_at > DELETIONS_KEPT


class Timed(msgspec.Struct, frozen=True, omit_defaults=True):
    """In a feed by modification time, on the server's own clock (sheet 3.3)."""

    since: str = OLDEST
    seen: str = OLDEST
    next: str | None = None

    def after(self, items: Iterable[dict[str, Any]], following: str | None) -> "Timed":
        seen = newest(items, self.seen)
        return Timed(since=self.since, seen=seen, next=following) if following else Timed.behind(seen)

    @classmethod
    def behind(cls, seen: str) -> "Timed":
        """A position that reads the last rows again."""
        if seen == OLDEST:
            return cls()
        return cls(since=(datetime.fromisoformat(seen) - OVERLAP).isoformat(timespec="seconds"), seen=seen)


def newest_version(items: Iterable[dict[str, Any]]) -> int:
    """The highest row version among the items; 0 where none can be read."""
    return max(_readable(whole, (item.get("Timestamp") for item in items)), default=0)


def newest(items: Iterable[dict[str, Any]], known: str = OLDEST) -> str:
    """The latest modification among the items. ISO text orders like time."""
    latest: str = max([known, *_readable(local_time, (item.get("Modified") for item in items))])
    return latest


def _readable(decode: Decode, values: Iterable[Any]) -> Iterator[Any]:
    """An item that cannot be read is quarantined by its decoder; it must not stop the others."""
    for value in values:
        try:
            found = decode(value)
        except ValueError:
            continue
        yield found


def load(cursor: str | None, type_: type[P]) -> P:
    return type_() if cursor is None else msgspec.json.decode(cursor, type=type_)


def dump(position: msgspec.Struct) -> str:
    return msgspec.json.encode(position).decode()
