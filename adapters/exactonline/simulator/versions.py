"""Row versions: the counter that sync feeds are read by, and the log of what is gone."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

KEPT = timedelta(days=61)
"""Two months: how long a deletion can be read (sheet 4)."""
_FIRST = 4_000_000_000
_AFTER_A_MOVE = 1_500_000_000
_MUCH_STALE = 1_000


class Counter:
    """Grows with every change in the division's database, in steps that mean nothing."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.value = _FIRST

    def next(self) -> int:
        self.value += 1 + self._random.getrandbits(3)
        return self.value

    def restart(self) -> None:
        """The division now lives in another database, whose counter stands lower."""
        self.value = min(self.value // 2, _AFTER_A_MOVE)


class Feed:
    """The rows of one sync endpoint in the order of their latest change.

    A changed row gets a new place at the end; its old places stay behind, marked stale by holding a version
    that is no longer the row's, and are swept up now and then.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._versions: list[int] = []
        self._keys: list[str] = []
        self._current: dict[str, int] = {}

    def bump(self, key: str) -> None:
        version = self._counter.next()
        self._versions.append(version)
        self._keys.append(key)
        self._current[key] = version
        if len(self._versions) > 2 * len(self._current) + _MUCH_STALE:
            self._sweep()

    def drop(self, key: str) -> None:
        self._current.pop(key, None)

    def version(self, key: str) -> int | None:
        return self._current.get(key)

    def after(self, version: int) -> Iterator[tuple[int, str]]:
        """Versions and keys of the rows changed later than that, in order."""
        for place in range(bisect_right(self._versions, version), len(self._versions)):
            key = self._keys[place]
            if self._current.get(key) == self._versions[place]:
                yield self._versions[place], key

    def renumber(self) -> None:
        """Give every row a new version, in the old order."""
        self._sweep()
        for place, key in enumerate(self._keys):
            self._versions[place] = self._current[key] = self._counter.next()

    def _sweep(self) -> None:
        kept = list(self.after(-1))
        self._versions = [version for version, _ in kept]
        self._keys = [key for _, key in kept]


class Deletion(NamedTuple):
    """One row of `sync/Deleted`: what was deleted and when it was."""

    id: str
    version: int
    kind: int
    key: str
    at: datetime


class Deletions:
    """The log of deletions, which forgets."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._log: list[Deletion] = []

    def add(self, id_: str, kind: int, key: str, at: datetime) -> None:
        self._log.append(Deletion(id_, self._counter.next(), kind, key, at))

    def after(self, version: int, now: datetime) -> list[Deletion]:
        """What was deleted later than that and not too long ago, in order."""
        self._log = [deletion for deletion in self._log if now - deletion.at <= KEPT]
        return [deletion for deletion in self._log if deletion.version > version]

    def renumber(self) -> None:
        self._log = [deletion._replace(version=self._counter.next()) for deletion in self._log]
