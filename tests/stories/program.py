"""One process of the program on a real database, which can die at any transaction."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import sqlalchemy as sa

from connector import config
from connector.adapter import packages
from connector.clock import Clock
from connector.cycle import Progress
from connector.delivery import Deliverer, DeliveryReport
from connector.errors import Busy
from connector.outcome import CycleReport
from connector.runtime import Runtime
from connector.store import connections, destinations
from connector.store.engine import Store

NAME = "acme"
DESTINATION = "backend"

Work = Literal["cycle", "deliver"]
LEASES: dict[Work, sa.Table] = {"cycle": connections.TABLE, "deliver": destinations.TABLE}


class Crash(BaseException):
    """The process is gone: nothing of ours runs any more."""


class Mortal(Store):
    """A database whose process dies at a chosen write transaction and then stays dead."""

    left: int | None = None
    """Transactions until then; None lives."""
    place = "before"
    """before | inside (rolled back) | after (committed)"""
    dead = False

    def die(self, *, at: int, place: str) -> None:
        self.left, self.place = at, place

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._check()
        last = self._last()
        self._end(last and self.place == "before")
        with super().write() as connection:
            yield connection
            self._end(last and self.place == "inside")
        self._end(last)

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        self._check()
        with super().read() as connection:
            yield connection

    def _last(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left <= 0

    def _end(self, now: bool) -> None:
        self.dead = self.dead or now
        self._check()

    def _check(self) -> None:
        if self.dead:
            raise Crash


class Program:
    """What one process has in memory; close it, or let it die."""

    def __init__(self, settings: config.Settings, clock: Clock, seed: int) -> None:
        self._seed = seed
        self.ended: list[str] = []
        """How each piece of `work` did; `lost` to another process, in the middle of a delivery."""
        self.runtime = Runtime.open(settings, packages(), clock)
        self.store = self.runtime.store = Mortal(self.runtime.store.engine)
        self._destinations = self.runtime.destinations()
        self.deliverer = Deliverer(
            self.store, self._destinations, clock, owner=self.runtime.owner, rng=random.Random(seed)
        )

    async def cycle(self, **options: Any) -> CycleReport:
        rng = random.Random(self._seed)
        async with self.runtime.cycle(NAME, progress=Progress(), rng=rng, **options) as cycle:
            report = await cycle.run()
        if report.outcome == "bug":
            raise AssertionError("a cycle ended as a bug") from report.error
        return report

    async def deliver(self) -> DeliveryReport:
        return await self.deliverer.deliver_once(DESTINATION)

    async def work(self, tasks: Sequence[Work]) -> None:
        """One after the other; another process may take each of them over."""
        for task in tasks:
            if task == "cycle":
                self.ended.append((await self.cycle()).outcome)
                continue
            try:
                self.ended.append((await self.deliver()).ended)
            except Busy:
                self.ended.append("lost")

    @property
    def busy_with(self) -> Work | None:
        """For what this process holds a lease."""
        with self.store.read() as connection:
            for task, table in LEASES.items():
                mine = sa.select(table.c.lease_epoch).where(table.c.lease_owner == self.runtime.owner)
                if connection.execute(mine).first() is not None:
                    return task
        return None

    async def close(self) -> None:
        for destination in self._destinations.values():
            await destination.close()
        if not self.store.dead:
            await self.runtime.close()
        self.store.engine.dispose()
