"""One run for one connection: feeds in order, records, control totals, freshness, and when to come back."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import structlog

from connector.adapter import REFERENCE_GROUP, Adapter, Assembler, Feed, Identity, Package, References, Remembering
from connector.assembly import Assembly, Destiny
from connector.clock import Clock
from connector.closing import Closer
from connector.domain.events import Origin
from connector.errors import BadRecord, ConnectorError, Stopped, StoreUnavailable, Unavailable, WrongAdministration
from connector.freshness import today
from connector.mapping import Mapping
from connector.outcome import CycleReport, classify, next_wait
from connector.reader import LOOK_UP, RETRY_FAILED, FeedReport, Interrupted, Reader, is_due
from connector.recall import Recall
from connector.store import connections, feeds, groups, quarantine, rows
from connector.store.connections import Lease, Linked
from connector.store.engine import Store
from connector.store.feeds import FeedState
from connector.vault import Vault

LEASE_TTL = timedelta(seconds=120)
HEARTBEAT_S = 30.0
JITTER = 0.1

log = structlog.get_logger()


@dataclass(kw_only=True)
class Progress:
    """What an onlooker may want to draw; every hook is optional."""

    feed: Callable[[Feed], None] = lambda _: None
    page: Callable[[FeedReport], None] = lambda _: None
    assembling: Callable[[int], None] = lambda _: None
    assembled: Callable[[int], None] = lambda _: None
    events: Callable[[], None] = lambda: None


@dataclass(kw_only=True)
class Cycle:
    """Everything one run needs; `run` never raises except when cancelled."""

    store: Store
    vault: Vault
    clock: Clock
    package: Package
    adapter: Adapter
    mapping: Mapping
    connection: Linked
    owner: str
    every: timedelta
    full: bool = False
    accept_removals: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    progress: Progress = field(default_factory=Progress)
    rng: random.Random = field(default_factory=random.SystemRandom)
    _known: References | None = None
    """The reference rows, until a stage has changed them."""
    _states: dict[str, FeedState] = field(default_factory=dict)
    _waiting: dict[str, list[str]] = field(default_factory=dict)
    _pending: bool = False
    """Whether an earlier cycle has left groups to be assembled."""

    async def run(self) -> CycleReport:
        """Claim the lease, read, assemble, close; whatever happens, say when the next cycle is due."""
        report = CycleReport(connection=self.connection.name, started_at=self.clock.now())
        try:
            lease = await asyncio.to_thread(
                connections.claim,
                self.store,
                self.connection.id,
                owner=self.owner,
                now=report.started_at,
                ttl=LEASE_TTL,
            )
        except Unavailable as error:
            report.outcome, report.error, report.finished_at = "unavailable", error, self.clock.now()
            return report
        cancelled: asyncio.CancelledError | None = None
        with structlog.contextvars.bound_contextvars(connection=self.connection.name, run=lease.epoch):
            log.info("cycle.started")
            try:
                async with self._heartbeat(lease):
                    await self._work(lease, report)
            except Interrupted:
                report.outcome = "interrupted"
            except asyncio.CancelledError as error:  # raised again below, once the lease is given back
                report.outcome, cancelled = "interrupted", error
            except Exception as error:  # the edge that handles it: a cycle always ends normally
                report.outcome, report.error = classify(error), error
                if report.outcome == "bug":
                    log.exception("cycle.bug")
                else:
                    log.warning("cycle.failed", outcome=report.outcome, error=str(error))
            report.finished_at = self.clock.now()
            await self._tell(lease, report)
            await self._finish(lease, report)
            log.info(
                "cycle.finished",
                outcome=report.outcome,
                seconds=round((report.finished_at - report.started_at).total_seconds(), 3),
                rows=sum(feed.rows for feed in report.feeds),
                created=report.tally.created,
                changed=report.tally.changed,
                removed=report.tally.removed,
            )
        if cancelled is not None:
            raise cancelled
        return report

    async def _work(self, lease: Lease, report: CycleReport) -> None:
        if isinstance(self.adapter, Remembering):
            self.adapter.remember(Recall(self.store, self.connection.id))
        identity = report.identity = await self.adapter.identify()
        if identity.administration != self.connection.administration:
            raise WrongAdministration(
                f"the package answered for administration {identity.administration} ({identity.name})",
                where=f"connection {self.connection.name}, configured for {self.connection.administration}",
                fix="correct `administration` in the configuration, or sign in to the right books",
            )
        await asyncio.to_thread(self._begin, lease, identity)
        reader = self._reader(lease)
        for stage in self.package.stages:
            await self._read_stage(stage, reader, report)
            await self._assemble(lease, report, marked=bool(reader.touched))
            reader.touched.clear()
        await reader.settle()
        references = await self._references()
        report.closing = await self._closer(lease, report).close(
            self.adapter, self._assembler(references), references, report.tally
        )
        self.progress.events()
        if report.closing.blocking:
            report.outcome = "partial"

    def _reader(self, lease: Lease) -> Reader:
        return Reader(
            store=self.store,
            vault=self.vault,
            clock=self.clock,
            lease=lease,
            lease_ttl=LEASE_TTL,
            adapter=self.adapter,
            package=self.package,
            connection=self.connection,
            states=self._states,
            waiting=self._waiting,
            accept_removals=self.accept_removals,
            stop=self.stop,
            on_page=self.progress.page,
        )

    async def _read_stage(self, stage: str, reader: Reader, report: CycleReport) -> None:
        """Read what is due; a feed that must be looked at does not stop the others."""
        references = await self._references()
        opened: set[str] = set()
        listed = self.adapter.feeds(stage, references)
        for feed in listed:
            known = self._states.get(feed.name)
            if not is_due(feed, known, self.clock.now()):
                continue
            self.progress.feed(feed)
            try:
                report.feeds.append(await reader.read(feed, references))
            except (Stopped, BadRecord) as error:
                if isinstance(error, WrongAdministration) or (known is None and stage == self.package.stages[0]):
                    raise
                log.warning("feed.failed", feed=feed.name, error=str(error))
                await reader.failed(feed, str(error))
                report.feeds.append(FeedReport(name=feed.name, status="failed", reason=str(error)))
                report.error = report.error or error
            if feed.kind == "sweep":
                opened.add(feed.fills)
        await _ask("quarantine.retry_failed", reader.retry({feed.fills for feed in listed}, references))
        if opened:
            anchor = self.package.anchor
            lonely = await asyncio.to_thread(
                rows.without_anchor, self.store, self.connection.id, anchor, sorted(opened)
            )
            await _ask("anchors.look_up_failed", reader.look_up(anchor, lonely, references))
        if REFERENCE_GROUP in reader.touched:
            self._known = None

    async def _assemble(self, lease: Lease, report: CycleReport, *, marked: bool) -> None:
        """Assemble what this stage has marked, what an earlier cycle has left, or everything under a new context."""
        references = await self._references()
        assembler = self._assembler(references)
        context = f"{self.package.version}/{self.mapping.digest}/{assembler.digest}"
        if not (marked or self._pending or context != self.connection.context):
            return
        touched = await asyncio.to_thread(self._prepare, lease, context)
        self.progress.assembling(touched)
        assembly = Assembly(
            store=self.store,
            vault=self.vault,
            clock=self.clock,
            lease=lease,
            lease_ttl=LEASE_TTL,
            assembler=assembler,
            destiny=self._destiny(lease),
            tally=report.tally,
        )
        while done := await asyncio.to_thread(assembly.batch):
            self.progress.assembled(done)
            self.progress.events()
            if self.stop.is_set():
                raise Interrupted
        self._pending = False

    def _begin(self, lease: Lease, identity: Identity) -> None:
        """Note whose books these are and learn where the last cycle has left them."""
        now, mine = self.clock.now(), lease.connection_id
        said = {"title": identity.name, "currency": identity.currency, "time_zone": identity.time_zone}
        with self.store.read() as connection:
            known = connections.get(connection, mine)
        if self.full or any(getattr(known, name) != value for name, value in said.items()):
            with self.store.write() as connection:
                connections.fence(connection, lease, now=now, ttl=LEASE_TTL)
                connections.identified(connection, mine, **said)
                if self.full:
                    feeds.restart_all(connection, mine)
        with self.store.read() as connection:
            self.connection = connections.get(connection, mine)
            self._states = feeds.states(connection, mine)
            self._waiting = quarantine.waiting(
                connection, mine, before=now - RETRY_FAILED, version=self.package.version, limit=LOOK_UP
            )
            self._pending = groups.count_touched(connection, mine) > 0

    def _prepare(self, lease: Lease, context: str) -> int:
        """Touch every group when what assembly depends on has changed; returns how many wait."""
        with self.store.write() as connection:
            connections.fence(connection, lease, now=self.clock.now(), ttl=LEASE_TTL)
            if context != self.connection.context:
                groups.touch_all(connection, lease.connection_id)
                connections.assembled_under(connection, lease.connection_id, context)
                self.connection = connections.get(connection, lease.connection_id)
            return groups.count_touched(connection, lease.connection_id)

    def _destiny(self, lease: Lease) -> Destiny:
        connection = self.connection
        linked_at = connection.linked_at or self.clock.now()
        return Destiny(
            connection_id=connection.id,
            administration=connection.administration,
            destination=connection.destination,
            source=connection.source,
            currency=connection.currency,
            linked_on=today(linked_at, connection.time_zone),
            origin=self._origin(),
            run_id=self._run_id(lease),
            adapter_version=self.package.version,
            mapping_version=self.mapping.digest,
        )

    def _closer(self, lease: Lease, report: CycleReport) -> Closer:
        return Closer(
            store=self.store,
            clock=self.clock,
            lease=lease,
            lease_ttl=LEASE_TTL,
            package=self.package,
            connection=self.connection,
            run_id=self._run_id(lease),
            origin=self._origin(),
            mapping_version=self.mapping.digest,
            started_at=report.started_at,
            states=self._states,
        )

    def _origin(self) -> Origin:
        if not self.connection.initial_done:
            return "initial"
        return "resync" if self.full else "incremental"

    def _run_id(self, lease: Lease) -> str:
        return f"{self.connection.name}-{lease.epoch}"

    async def _references(self) -> References:
        if self._known is None:
            self._known = await asyncio.to_thread(rows.references, self.store, self.connection.id)
        return self._known

    def _assembler(self, references: References) -> Assembler:
        return self.package.assembler(references, self.mapping, self.connection.administration)

    @contextlib.asynccontextmanager
    async def _heartbeat(self, lease: Lease) -> AsyncIterator[None]:
        """Keep the lease while a page or a call limit makes us wait; losing it cancels the work."""
        work = asyncio.current_task()
        lost: list[Exception] = []

        async def beat() -> None:
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                try:
                    await asyncio.to_thread(self._renew, lease)
                except ConnectorError as error:
                    lost.append(error)
                    if work is not None:
                        work.cancel()
                    return

        task = asyncio.create_task(beat())
        try:
            yield
        except asyncio.CancelledError:
            if lost:
                raise lost[0] from None
            raise
        finally:
            task.cancel()

    def _renew(self, lease: Lease) -> None:
        with self.store.write() as connection:
            connections.fence(connection, lease, now=self.clock.now(), ttl=LEASE_TTL)

    async def _tell(self, lease: Lease, report: CycleReport) -> None:
        if isinstance(report.error, ConnectorError):
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(self._closer(lease, report).failed, report.error)
                self.progress.events()

    async def _finish(self, lease: Lease, report: CycleReport) -> None:
        now = self.clock.now()
        succeeded = report.outcome in {"ok", "partial"}
        wait = next_wait(report, every=self.every, before=self.connection, now=now)
        wait *= 1 + self.rng.uniform(-JITTER, JITTER)
        try:
            await asyncio.to_thread(
                connections.finish,
                self.store,
                lease,
                now=now,
                next_due_at=now + wait,
                outcome=report.outcome,
                reason=str(report.error or ""),
                succeeded=succeeded,
            )
        except StoreUnavailable as error:
            log.warning("cycle.outcome_not_stored", error=str(error))
            report.outcome, report.error = "unavailable", report.error or error


async def _ask(event: str, question: Awaitable[object]) -> None:
    """A refused question does not stop the feeds, which bring by themselves most of what it asks for."""
    try:
        await question
    except WrongAdministration:
        raise
    except (Stopped, BadRecord) as error:
        log.warning(event, error=str(error))


def new_owner() -> str:
    """Names this process in a lease."""
    return uuid4().hex
