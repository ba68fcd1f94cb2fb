"""From the outbox to the destinations: claim in a transaction, send outside of any, mark in another.

A crash in between repeats the same events with the same bytes. A destination that fails is left alone for longer and
longer, then probed with one event before the backlog follows; after five days it is paused. Nothing is dropped.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog

from connector.clock import Clock
from connector.destinations import Destination
from connector.errors import Busy, ConnectorError
from connector.failpoints import failpoint
from connector.judgement import Judgement, judge
from connector.store import destinations, outbox
from connector.store.destinations import Attempt, Health, Lease
from connector.store.engine import Store
from connector.store.outbox import Claimed, Mark

RAMP: Final = 4
"""After a failure batches start with one event and grow by this factor."""
LEASE_TTL: Final = timedelta(seconds=120)
IDLE_S: Final = 5.0
BUG_PAUSE_S: Final = 900.0

log = structlog.get_logger()


@dataclass(kw_only=True)
class DeliveryReport:
    """What one call of `deliver_once` did. `ended`: drained | failing | paused | waiting | busy | stopped."""

    destination: str
    ended: str = "drained"
    reason: str = ""
    requests: int = 0
    delivered: int = 0
    postponed: int = 0
    dead: int = 0


@dataclass(kw_only=True)
class _Drain:
    """The state of one drain: how large the next batch may be, and what went wrong so far."""

    lease: Lease
    destination: Destination
    report: DeliveryReport
    limit: int = 0
    refusals: int = 0
    health: Health = field(default_factory=Health)


class Deliverer:
    """Delivers to the configured destinations; one process at a time to each."""

    def __init__(
        self,
        store: Store,
        destinations: Mapping[str, Destination],
        clock: Clock,
        *,
        rng: random.Random | None = None,
        owner: str | None = None,
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._owner = owner or uuid4().hex
        self._woken = {name: asyncio.Event() for name in destinations}

    def wake(self, destination: str) -> None:
        """There are new events: `run` looks at once."""
        self._woken[destination].set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until told to stop; each destination on its own, so that one that hangs delays no other."""
        async with asyncio.TaskGroup() as group:
            for name in self._destinations:
                group.create_task(self._keep(name, stop))

    async def _keep(self, name: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            pause = IDLE_S
            try:
                await self.deliver_once(name, stop)
            except ConnectorError as error:
                log.warning("delivery.failed", destination=name, error=str(error))
            except Exception:
                log.exception("delivery.bug", destination=name)
                pause = BUG_PAUSE_S
            await self._rest(name, stop, pause)

    async def _rest(self, name: str, stop: asyncio.Event, seconds: float) -> None:
        woken = self._woken[name]
        waits = [asyncio.ensure_future(wait) for wait in (stop.wait(), woken.wait(), self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        woken.clear()

    async def deliver_once(self, name: str, stop: asyncio.Event | None = None) -> DeliveryReport:
        """Send everything that is due now.

        Raises:
            Busy: another process took the destination over in the middle; it repeats what was not marked.
            StoreUnavailable: the database cannot be used; what was sent and not marked is sent again.
        """
        report = DeliveryReport(destination=name)
        health, work = await asyncio.to_thread(self._look, name)
        if not health.ready(self._clock.now()):
            report.ended, report.reason = "paused" if health.paused else "waiting", health.reason
            return report
        if not work:
            return report
        try:
            lease = await asyncio.to_thread(
                destinations.claim, self._store, name, owner=self._owner, now=self._clock.now(), ttl=LEASE_TTL
            )
        except Busy as error:
            report.ended, report.reason = "busy", str(error)
            return report
        try:
            drain = _Drain(lease=lease, destination=self._destinations[name], report=report, health=health)
            await self._drain(drain, stop or asyncio.Event())
        finally:
            await asyncio.to_thread(destinations.release, self._store, lease)
        log.info("delivery.finished", **vars(report))
        return report

    async def _drain(self, drain: _Drain, stop: asyncio.Event) -> None:
        largest = drain.destination.batch_events
        drain.limit = 1 if drain.health.failures else largest
        while events := await asyncio.to_thread(self._claim, drain):
            failpoint("outbox.after_claim")
            if not await self._deliver(drain, events):
                return
            if stop.is_set():
                drain.report.ended = "stopped"
                return

    async def _deliver(self, drain: _Drain, events: Sequence[Claimed]) -> bool:
        """Send one claimed batch, in halves where its content is refused; False when the destination must wait."""
        parts = [events]
        held: set[tuple[int, str]] = set()
        while parts:
            part = [event for event in parts.pop() if event.lane not in held]
            if not part:
                continue
            judgement = await self._attempt(drain, part)
            if judgement.split:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
                drain.limit = middle
                continue
            if not drain.health.ready(self._clock.now()):
                drain.report.ended = "paused" if drain.health.paused else "failing"
                drain.report.reason = drain.health.reason
                return False
            held |= {event.lane for event, mark in zip(part, judgement.marks, strict=True) if mark.state != "delivered"}
            drain.limit = min(drain.limit * RAMP, drain.destination.batch_events)
        return True

    async def _attempt(self, drain: _Drain, batch: Sequence[Claimed]) -> Judgement:
        started, ticks = self._clock.now(), self._clock.monotonic()
        outcome = await drain.destination.send(batch)
        failpoint("deliver.after_post")
        now = self._clock.now()
        judgement = judge(batch, outcome, drain.health, refusals=drain.refusals, now=now, rng=self._rng)
        attempt = Attempt(
            destination=drain.lease.destination,
            delivery_id=outcome.delivery_id,
            started_at=started,
            duration_ms=round((self._clock.monotonic() - ticks) * 1000),
            events=len(batch),
            first_event=batch[0].id,
            last_event=batch[-1].id,
            status=outcome.status,
            outcome=outcome.kind,
            reason=outcome.reason,
        )
        await asyncio.to_thread(self._settle, drain, judgement, attempt, now)
        failpoint("deliver.after_mark")
        drain.health = judgement.health
        if outcome.kind == "refused":
            drain.refusals += not judgement.split
        elif outcome.kind == "answered":
            drain.refusals = 0
        _count(drain.report, judgement.marks)
        if outcome.kind != "answered":
            log.warning("delivery.attempt", destination=attempt.destination, outcome=outcome.kind, error=outcome.reason)
        return judgement

    def _look(self, name: str) -> tuple[Health, bool]:
        with self._store.read() as connection:
            return destinations.health(connection, name), outbox.any_due(connection, name, self._clock.now())

    def _claim(self, drain: _Drain) -> list[Claimed]:
        now = self._clock.now()
        name, size = drain.lease.destination, drain.destination.batch_bytes
        with self._store.write() as connection:
            destinations.fence(connection, drain.lease, now=now, ttl=LEASE_TTL)
            drain.health = destinations.health(connection, name)
            if not drain.health.ready(now):
                drain.report.ended, drain.report.reason = "paused", drain.health.reason
                return []
            return outbox.claim(connection, name, drain.limit, size, now)

    def _settle(self, drain: _Drain, judgement: Judgement, attempt: Attempt, now: datetime) -> None:
        with self._store.write() as connection:
            destinations.fence(connection, drain.lease, now=now, ttl=LEASE_TTL)
            destinations.record(connection, attempt)
            destinations.fared(connection, attempt.destination, drain.health, judgement.health)
            outbox.mark(connection, judgement.marks, now)
            failpoint("deliver.before_mark")


def _count(report: DeliveryReport, marks: Sequence[Mark]) -> None:
    report.requests += 1
    for mark in marks:
        match mark.state:
            case "delivered":
                report.delivered += 1
            case "dead":
                report.dead += 1
            case _:
                report.postponed += 1
