"""Which connection is synced when. The truth is `next_due_at` in our own table; APScheduler only says "tick"."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, Protocol

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from connector.clock import Clock
from connector.errors import ConnectorError
from connector.outcome import CycleReport, classify
from connector.store import connections
from connector.store.engine import Store

TICK_S = 1.0
SILENT_S = 30.0
"""Without a tick for so long the loop is stuck, and the program is not live."""

NOT_STARTED_PAUSE = timedelta(minutes=15)
"""Until a cycle that could not start, for want of a secret, say, is tried again."""

log = structlog.get_logger()

Run = Callable[[str, asyncio.Event], Awaitable[CycleReport]]


class Dispatcher(Protocol):
    """Runs cycles of connections, each at most once at a time."""

    def submit(self, name: str, *, reason: str) -> None:
        """Ask for a cycle now; while one runs, at most one more is remembered."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then waits for the cycles under way, which end after their page. Cancelled, it cancels them."""
        ...

    def health(self) -> dict[str, Any]: ...


class InProcessDispatcher:
    """Runs cycles in this process, `concurrency` at a time, the longest waiting first."""

    def __init__(self, store: Store, names: Collection[str], run: Run, *, clock: Clock, concurrency: int) -> None:
        self._store = store
        self._names = sorted(names)
        self._run = run
        self._clock = clock
        self._concurrency = concurrency
        self._running: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._ticking = asyncio.Lock()
        self._ticked_at = clock.monotonic()
        self._blind = False
        """Whether the last look at what is due failed."""
        self._outcomes: dict[str, str] = {}

    def submit(self, name: str, *, reason: str) -> None:
        self._asked.setdefault(name, reason)

    async def run(self, stop: asyncio.Event) -> None:
        self._stop = stop
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every tick
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.add_job(
            self.tick, "interval", seconds=TICK_S, coalesce=True, max_instances=1, misfire_grace_time=None
        )
        scheduler.start()
        try:
            await stop.wait()
            scheduler.remove_all_jobs()
            async with self._ticking:  # the scheduler would cancel it and call that an error
                pass
            await self._idle()
        finally:
            scheduler.shutdown(wait=False)
            for task in self._running.values():
                task.cancel()
            await self._idle()

    async def tick(self) -> None:
        """Start what is due and fits."""
        self._ticked_at = self._clock.monotonic()
        async with self._ticking:
            free = self._concurrency - len(self._running)
            if free <= 0:
                return
            due = await self._due(free + len(self._running))
            if not self._stop.is_set():
                self._start([*self._asked, *due], free)

    def _start(self, wanted: Sequence[str], free: int) -> None:
        for name in [name for name in dict.fromkeys(wanted) if name not in self._running][:free]:
            self._asked.pop(name, None)
            self._running[name] = asyncio.create_task(self._cycle(name))

    async def _due(self, limit: int) -> Sequence[str]:
        """The longest waiting first; none while the database cannot be asked, which is said once."""
        try:
            due = await asyncio.to_thread(connections.due, self._store, self._names, self._clock.now(), limit)
        except ConnectorError as error:
            if not self._blind:
                log.warning("dispatch.failed", error=str(error))
            self._blind = True
            return ()
        if self._blind:
            log.info("dispatch.recovered")
        self._blind = False
        return due

    def health(self) -> dict[str, Any]:
        silent = self._clock.monotonic() - self._ticked_at
        return {
            "live": silent < SILENT_S,
            "seconds_since_tick": round(silent, 1),
            "running": sorted(self._running),
            "outcomes": dict(sorted(self._outcomes.items())),
        }

    async def _idle(self) -> None:
        if self._running:
            await asyncio.wait(self._running.values())

    async def _cycle(self, name: str) -> None:
        try:
            report = await self._run(name, self._stop)
            self._outcomes[name] = report.outcome
        except Exception as error:  # the edge that handles it: one connection does not stop the others
            outcome = self._outcomes[name] = classify(error)
            log.warning("dispatch.cycle_failed", connection=name, error=str(error), exc_info=outcome == "bug")
            await self._postpone(name, outcome, str(error))
        finally:
            del self._running[name]

    async def _postpone(self, name: str, outcome: str, reason: str) -> None:
        until = self._clock.now() + NOT_STARTED_PAUSE
        with contextlib.suppress(ConnectorError):
            await asyncio.to_thread(
                connections.postpone, self._store, name, until=until, outcome=outcome, reason=reason
            )
