"""Reading one feed: page by page, each page one transaction, and evidence for what a complete read did not hold."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from connector import evidence
from connector.adapter import UNREAD, Adapter, BadRow, Feed, Package, Page, References, Removal, Row
from connector.clock import Clock
from connector.errors import SchemaDrift
from connector.failpoints import failpoint
from connector.store import connections, feeds, groups, quarantine, rows
from connector.store.connections import Lease, Linked
from connector.store.engine import Store
from connector.store.feeds import FeedState
from connector.vault import Vault

DRIFT_COUNT = 20
DRIFT_SHARE = 0.05
RETRY_FAILED = timedelta(hours=1)
"""A missing right or module does not come back by asking often, and each refusal counts at the package."""
LOOK_UP = 500
"""Keys per look-up; the adapter splits them as its package wants."""


class Interrupted(Exception):
    """The program was asked to stop; everything up to the last page is stored."""


@dataclass(kw_only=True)
class FeedReport:
    """What reading one feed came to."""

    name: str
    pages: int = 0
    rows: int = 0
    bad: int = 0
    looked_up: int = 0
    gone: int = 0
    status: str = "ok"
    reason: str = ""


@dataclass(kw_only=True)
class Reader:
    """Reads the feeds of one connection in one cycle."""

    store: Store
    vault: Vault
    clock: Clock
    lease: Lease
    lease_ttl: timedelta
    adapter: Adapter
    package: Package
    connection: Linked
    states: dict[str, FeedState]
    """Where each feed stands in the database; kept up to date here."""
    waiting: dict[str, list[str]]
    """Kind -> keys of single rows that could not be read and are to be asked for again; taken out as that is done."""
    accept_removals: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    on_page: Callable[[FeedReport], None] = lambda _: None
    _read: list[FeedState] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    """Groups that are marked since the last assembly."""

    async def read(self, feed: Feed, references: References) -> FeedReport:
        """Read a feed to its end; the cursor of each page is stored with its rows.

        A first page that only moves the cursor is all that most feeds bring; it waits for `settle`.
        """
        report = FeedReport(name=feed.name)
        state, renumbered = start(feed, self.states.get(feed.name), self.connection.cycle)
        if renumbered:
            await asyncio.to_thread(self._forget_versions, feed.fills)
        async for answer in self.adapter.read(feed, state.cursor, references):
            failpoint("page.after_fetch")
            page = storable(answer)
            check_drift(feed, page)
            moved = page.cursor != state.cursor
            state = msgspec.structs.replace(
                state, cursor=page.cursor, rows=state.rows + len(page.rows), attempted_at=self.clock.now()
            )
            if page.rows or page.removals or page.bad or (moved and report.pages):
                await asyncio.to_thread(self._commit, page, state)
            failpoint("page.after_commit")
            report.pages += 1
            report.rows += len(page.rows)
            report.bad += len(page.bad)
            self.on_page(report)
            if self.stop.is_set():
                raise Interrupted
        if state.since is not None and feed.kind != "deletions":
            await self._question_absence(feed, state, references, report)
        self._read.append(
            msgspec.structs.replace(
                state,
                since=None,
                swept=state.swept if state.since is None else state.since,
                completed_at=self.clock.now(),
                attempted_at=self.clock.now(),
                status="ok",
                reason="",
            )
        )
        if state.since is not None:
            await self.settle()
        return report

    async def settle(self) -> None:
        """Write down which feeds were read to their end: one transaction for all that brought nothing new.

        A crash before it costs nothing but reading them again.
        """
        if self._read:
            await asyncio.to_thread(self._put, self._read)
            self._read = []

    async def look_up(self, kind: str, keys: Sequence[str], references: References) -> int:
        """Fetch items by key, such as the customers of items that came first; returns how many were found."""
        found = 0
        for chunk in _chunks(keys):
            answer = await self.adapter.look_up(kind, chunk, references)
            verdict = evidence.weigh(kind, chunk, answer)
            page = Page(cursor=None, rows=verdict.found, bad=verdict.bad)
            await asyncio.to_thread(self._commit, page, None)
            found += len(verdict.found)
        return found

    async def retry(self, kinds: Collection[str], references: References) -> None:
        """Ask again for what waits for that."""
        for kind in [kind for kind in self.waiting if kind in kinds]:
            keys = self.waiting.pop(kind)
            stored = await asyncio.to_thread(rows.count, self.store, self.connection.id, kind, open_only=False)
            await self._question(kind, keys, stored, references)

    async def failed(self, feed: Feed, reason: str) -> None:
        """Write down that a feed could not be read; its cursor stays where it was."""
        state = self.states.get(feed.name) or FeedState(name=feed.name, scope=feed.scope)
        state = msgspec.structs.replace(state, attempted_at=self.clock.now(), status="failed", reason=reason)
        await asyncio.to_thread(self._put, [state])

    async def _question_absence(self, feed: Feed, state: FeedState, references: References, report: FeedReport) -> None:
        absent = await self._unseen(feed, state.since)
        if not absent:
            return
        missed_before = frozenset(await self._unseen(feed, state.swept)) if feed.twice else None
        stored = await asyncio.to_thread(
            rows.count, self.store, self.connection.id, feed.fills, open_only=feed.open_only
        )
        report.looked_up += len(absent)
        report.gone += await self._question(feed.fills, absent, stored, references, only=missed_before)

    async def _unseen(self, feed: Feed, since: int | None) -> list[str]:
        """What no read has held since that cycle; nothing where there was no complete read to say so."""
        if since is None:
            return []
        return await asyncio.to_thread(
            rows.unseen, self.store, self.connection.id, feed.fills, since=since, open_only=feed.open_only
        )

    async def _question(
        self, kind: str, keys: Sequence[str], stored: int, references: References, only: frozenset[str] | None = None
    ) -> int:
        """Look up what should be there; remove what the package does not know any more, and say how much that was.

        With `only`, nothing else is removed.
        """
        gone: list[Removal] = []
        for chunk in _chunks(keys):
            answer = await self.adapter.look_up(kind, chunk, references)
            verdict = evidence.weigh(kind, chunk, answer)
            await asyncio.to_thread(self._commit, Page(cursor=None, rows=verdict.found, bad=verdict.bad), None)
            failpoint("sweep.mid")
            gone += [removal for removal in verdict.gone if only is None or removal.key in only]
        if not self.accept_removals:
            evidence.check_size(len(gone), stored, kind=kind, connection=self.connection.name)
        for start_at in range(0, len(gone), LOOK_UP):
            await asyncio.to_thread(self._commit, Page(cursor=None, removals=gone[start_at : start_at + LOOK_UP]), None)
        return len(gone)

    def _commit(self, page: Page, state: FeedState | None) -> None:
        """One transaction: rows, removals, touched groups, quarantine and cursor, fenced by the lease."""
        connection_id = self.connection.id
        now = self.clock.now()
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=now, ttl=self.lease_ttl)
            touched = rows.upsert(
                connection,
                connection_id,
                [*page.rows, *_unread(page.bad)],
                cycle=self.connection.cycle,
                seen=state is None or state.since is not None,
                quiet=self.package.quiet,
            )
            gone = [*page.removals, *self._quarantine(connection, page, now)]
            touched |= rows.remove(connection, connection_id, gone, quiet=self.package.quiet)
            failpoint("page.in_tx")
            groups.touch(connection, connection_id, touched - self.touched)
            if state is not None:
                feeds.put(connection, connection_id, [state])
            failpoint("page.before_commit")
        self.touched |= touched
        if state is not None:
            self.states[state.name] = state

    def _quarantine(self, connection: sa.Connection, page: Page, now: datetime) -> list[Removal]:
        """Set aside what is bad and let go of what is cured; returns the places that were held for the cured."""
        held: list[Removal] = []
        settled: dict[str, list[str]] = {}
        items: list[Row | Removal] = [*page.rows, *page.removals]
        for item in items:
            settled.setdefault(item.kind, []).append(item.key)
        for kind, keys in settled.items():
            cured = quarantine.cured(connection, self.connection.id, kind=kind, keys=keys)
            held += [Removal(kind=UNREAD, key=f"{kind}/{key}") for key in cured]
        quarantine.put(
            connection,
            self.store,
            self.vault,
            self.connection.id,
            page.bad,
            version=self.package.version,
            now=now,
        )
        return held

    def _forget_versions(self, kind: str) -> None:
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=self.clock.now(), ttl=self.lease_ttl)
            rows.forget_versions(connection, self.connection.id, kind)

    def _put(self, states: Sequence[FeedState]) -> None:
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=self.clock.now(), ttl=self.lease_ttl)
            feeds.put(connection, self.connection.id, states)
        self.states |= {state.name: state for state in states}


def start(feed: Feed, known: FeedState | None, cycle: int) -> tuple[FeedState, bool]:
    """Where to start reading, and whether the package has renumbered its versions since. Pure.

    A sweep, a feed never read and a feed whose scope changed start from the beginning; the read is then a complete
    set, and `since` remembers in which cycle it began, through interruptions.
    """
    if known is None:
        return FeedState(name=feed.name, scope=feed.scope, since=cycle), False
    if known.scope != feed.scope:
        return msgspec.structs.replace(known, scope=feed.scope, cursor=None, since=cycle, swept=None), True
    if feed.kind == "sweep" or (known.cursor is None and known.since is None):
        return msgspec.structs.replace(known, cursor=None, since=cycle), False
    return known, False


def is_due(feed: Feed, known: FeedState | None, now: datetime) -> bool:
    """Whether to read a feed in this cycle; one that failed is tried again after a while, not in each cycle. Pure.

    What was read at a moment to come, because the clock was wrong, is due.
    """
    if known is not None and known.status == "failed" and known.attempted_at is not None:
        return not timedelta(0) <= now - known.attempted_at < RETRY_FAILED
    if known is None or known.completed_at is None or feed.every is None or known.scope != feed.scope:
        return True
    return not timedelta(0) <= now - known.completed_at < feed.every


def storable(page: Page) -> Page:
    """The page with the rows whose version is beyond 64 bits among its bad ones. Pure."""
    beyond = [row for row in page.rows if row.version is not None and abs(row.version) >= 2**63]
    if not beyond:
        return page
    bad = [BadRow(kind=row.kind, key=row.key, reason=f"version {row.version}", payload=row.fields) for row in beyond]
    return msgspec.structs.replace(page, rows=[row for row in page.rows if row not in beyond], bad=[*page.bad, *bad])


def check_drift(feed: Feed, page: Page) -> None:
    """Tell one bad row from a package that changed its shape.

    Raises:
        SchemaDrift: more than twenty rows and more than a twentieth of the page are bad.
    """
    total = len(page.rows) + len(page.bad)
    if len(page.bad) > max(DRIFT_COUNT, total * DRIFT_SHARE):
        first: BadRow = page.bad[0]
        raise SchemaDrift(
            f"{len(page.bad)} of {total} rows on one page cannot be read, the first because {first.reason}",
            where=f"feed {feed.name}, {first.kind} {first.key}",
            fix="the package may have changed; nothing of this page was stored, the feed goes on after an update",
        )


def _unread(bad: Sequence[BadRow]) -> list[Row]:
    return [
        Row(kind=UNREAD, key=f"{item.kind}/{item.key}", group=item.group, fields={})
        for item in bad
        if item.group is not None
    ]


def _chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + LOOK_UP] for at in range(0, len(keys), LOOK_UP)]
