"""Whatever a receiver and the processes do: order per entity, the same bytes for the same event, nothing lost."""

import asyncio
import itertools
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Struct

from connector.delivery import Deliverer
from connector.destinations import TAKEN, Outcome, Result, Sendable, Verdict
from connector.domain.events import FRESHNESS
from connector.store import backlog, connections, destinations, outbox
from connector.store.backlog import Selection
from connector.store.engine import open_store
from connector.store.outbox import OUTBOX, Claimed, NewEvent
from tests.clocks import ManualClock

Mood = Literal["well", "lost", "down", "refuse", "gone", "crash", "late", "reject"]
"""How one request ends; `lost` and `crash` are after the events were taken in."""

MOODS: tuple[Mood, ...] = ("well", "well", "well", "lost", "down", "refuse", "gone", "crash", "late", "reject")
ENTITIES = ("a", "b", "c", "d")
KEYS = ("x", "y")

_folder = tempfile.TemporaryDirectory()
_store = open_store(f"sqlite:///{Path(_folder.name) / 'connector.db'}")
_number = itertools.count()


class Written(Struct, frozen=True):
    """One event as it was written, in order."""

    position: int
    entity: str
    version: int
    key: str
    barrier: bool


class Moody:
    """A receiver by the contract, with moods; it checks the order of what it is sent."""

    batch_events = 3
    batch_bytes = 1_000_000

    def __init__(self, machine: "DeliveryOrder") -> None:
        self.machine = machine
        self.moods: list[Mood] = []
        self.versions: dict[str, int] = {}
        self.bytes: dict[str, bytes] = {}

    async def send(self, batch: Sequence[Sendable]) -> Outcome:
        mood = self.moods.pop(0) if self.moods else "well"
        events = [event for event in batch if isinstance(event, Claimed)]
        self.machine.check(events)
        for event in events:
            assert self.bytes.setdefault(event.event_id, event.body) == event.body
        if mood in {"down", "gone", "refuse"}:
            kind: Literal["retry", "pause", "refused"] = {"down": "retry", "gone": "pause"}.get(mood, "refused")  # type: ignore[assignment]  # of these three
            return Outcome(kind=kind, delivery_id="d", reason=mood)
        results = {event.event_id: Result(self._take(event, mood, first=event is events[0])) for event in events}
        if mood == "crash":
            raise RuntimeError("killed")
        if mood == "lost":
            return Outcome(kind="retry", delivery_id="d", reason=mood)
        self.machine.acknowledged |= {event.event_id for event in events if results[event.event_id].verdict in TAKEN}
        return Outcome(kind="answered", delivery_id="d", results=results)

    async def close(self) -> None: ...

    def _take(self, event: Claimed, mood: Mood, *, first: bool) -> Verdict:
        if first and mood in {"late", "reject"}:
            return "retry_later" if mood == "late" else "rejected"
        written = self.machine.written[event.event_id]
        if written.version <= self.versions.get(event.external_id, 0):
            return "superseded"
        self.versions[event.external_id] = written.version
        return "accepted"


class DeliveryOrder(RuleBasedStateMachine):
    """Writes, delivers, crashes, replays and skips in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.name = f"destination-{next(_number)}"
        self.source = f"urn:{self.name}"
        self.other = Moody(self)
        self.written: dict[str, Written] = {}
        self.newest: dict[str, int] = {}
        self.acknowledged: set[str] = set()
        self.deliverer = Deliverer(_store, {self.name: self.other}, self.clock, rng=random.Random(1))

    @initialize()
    def connect(self) -> None:
        self.connection_id = connections.register(
            _store, name=self.name, package="p", administration="1", destination=self.name, now=self.clock.now()
        ).id

    @rule(
        changes=st.lists(
            st.tuples(st.sampled_from(ENTITIES), st.sampled_from(KEYS), st.booleans()), min_size=1, max_size=5
        ),
        closes=st.booleans(),
    )
    def write(self, changes: list[tuple[str, str, bool]], closes: bool) -> None:
        new = [self._event("invoice", name, f"1/{key}", removed) for name, key, removed in changes]
        if closes:
            new.append(self._event("freshness", "1", "1", removed=False))
        with _store.write() as connection:
            outbox.append(
                connection,
                connection_id=self.connection_id,
                destination=self.name,
                source=self.source,
                events=new,
                now=self.clock.now(),
            )
            ids = connection.execute(
                sa.select(OUTBOX.c.event_id)
                .where(OUTBOX.c.connection_id == self.connection_id)
                .order_by(OUTBOX.c.id)
                .offset(len(self.written))
            ).scalars()
            for event, event_id in zip(new, ids, strict=True):
                self.written[event_id] = Written(
                    len(self.written), event.external_id, event.entity_version, event.ordering_key, event.barrier
                )

    def _event(self, entity: str, name: str, key: str, removed: bool) -> NewEvent:
        version = self.newest[name] = self.newest.get(name, 0) + 1
        verb = "removed" if removed else "upserted"
        return NewEvent(
            type=FRESHNESS if entity == "freshness" else f"ar.{entity}.{verb}.v1",
            entity=entity,
            external_id=name,
            entity_version=version,
            ordering_key=key,
            barrier=entity == "freshness",
            data=b'{"meta":{"entity_version":%d}}' % version,
        )

    @rule(moods=st.lists(st.sampled_from(MOODS), max_size=5))
    def deliver(self, moods: list[Mood]) -> None:
        self.other.moods = list(moods)
        try:
            self.runner.run(self.deliverer.deliver_once(self.name))
        except RuntimeError as error:
            assert str(error) == "killed"  # noqa: PT017 - any other error is a failure of this test
            self.clock.advance(150)

    @rule(seconds=st.sampled_from((1, 400, 90_000)))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def resume(self) -> None:
        destinations.resume(_store, self.name)

    @rule(dead_only=st.booleans())
    def replay(self, dead_only: bool) -> None:
        backlog.replay(_store, Selection(destination=self.name, dead_only=dead_only))

    @rule()
    def skip(self) -> None:
        backlog.skip(_store, Selection(destination=self.name))

    def check(self, batch: Sequence[Claimed]) -> None:
        """No event may be sent while an earlier one that it depends on is neither taken nor given up."""
        with _store.read() as connection:
            rows = connection.execute(
                sa.select(OUTBOX.c.event_id, OUTBOX.c.state).where(OUTBOX.c.connection_id == self.connection_id)
            )
            given_up = {event_id for event_id, state in rows if state == "superseded"}
        earlier: set[str] = set()
        for event in batch:
            mine = self.written[event.event_id]
            for event_id, other in self.written.items():
                if other.position >= mine.position or event_id in self.acknowledged | given_up:
                    continue
                assert other.entity != mine.entity, "an older version of the entity is still under way"
                held = other.key == mine.key and not other.barrier
                assert not held or event_id in earlier, "an earlier event of the key was overtaken"
                accompanied = other.barrier and event_id in earlier
                assert not mine.barrier or accompanied, "a barrier passed an earlier event"
            earlier.add(event.event_id)

    @invariant()
    def the_receiver_never_knows_more_than_was_written(self) -> None:
        assert all(version <= self.newest[name] for name, version in self.other.versions.items())

    def teardown(self) -> None:
        """Once the faults are over everything arrives."""
        skipped = self._skipped()
        self.other.moods = []
        self.clock.advance(100_000)
        for _ in range(100):
            destinations.resume(_store, self.name)
            backlog.replay(_store, Selection(destination=self.name, dead_only=True))
            self.runner.run(self.deliverer.deliver_once(self.name))
            self.clock.advance(100_000)
            if not backlog.pending(_store, Selection(destination=self.name)):
                break
        self.runner.close()
        assert not backlog.pending(_store, Selection(destination=self.name))
        assert not backlog.dead(_store, Selection(destination=self.name))
        missing = {name for name, version in self.newest.items() if self.other.versions.get(name) != version}
        assert missing <= skipped

    def _skipped(self) -> set[str]:
        """Entities of which a person gave the newest version up."""
        with _store.read() as connection:
            rows = connection.execute(
                sa.select(OUTBOX.c.external_id, OUTBOX.c.entity_version).where(
                    OUTBOX.c.connection_id == self.connection_id, OUTBOX.c.reason == "skipped"
                )
            )
            return {name for name, version in rows if self.newest[name] == version}


TestDeliveryOrder = DeliveryOrder.TestCase
TestDeliveryOrder.settings = settings(stateful_step_count=25)
