"""What every adapter must be able to do, whatever package it speaks to: inherit `AdapterConformance`.

A package's test module supplies the `world` fixture: its simulator on a real socket, serving books of which the truth
is known. `Mirror` is a small engine in memory, with the same rules as the real one, so that what fails here is the
adapter and not the store.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connector.adapter import (
    REFERENCE_GROUP,
    Adapter,
    Assembled,
    BadRow,
    Feed,
    Fields,
    Package,
    Page,
    References,
    Remembering,
    Row,
)
from connector.domain.money import ZERO
from connector.domain.records import Invoice, Payment
from connector.mapping import Mapping
from tests.clocks import ManualClock

Truth = dict[str, Any]


class Stop(Exception):
    """Raised by a test between two pages."""


@dataclass(kw_only=True)
class World:
    """A package's simulator as the conformance suite sees it."""

    package: Package
    mapping: Mapping
    administration: str
    adapter: Callable[[], Awaitable[Adapter]]
    """A fresh adapter, signed in, as each cycle gets one."""
    truth: Callable[[], Truth]
    act: Callable[[], str | None]
    """Do one random act of bookkeeping; its name, or None when the books refused it."""
    clock: ManualClock
    waits: Sequence[timedelta] = (timedelta(minutes=61),)
    """The pauses before the cycles that it takes until everything that happened must be known, deletions included."""


@dataclass
class Mirror:
    """Rows and cursors of one connection, and what is assembled from them."""

    world: World
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    cursors: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Feed -> scope and cursor."""
    completed: dict[str, datetime] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    """Row -> the last cycle in which a page held it."""
    swept: dict[str, int] = field(default_factory=dict)
    """Feed -> the cycle of its last complete read."""
    cycles: int = 0
    pages: int = 0
    stop_after: int | None = None
    """Raise Stop after this many pages."""

    def references(self) -> References:
        found: defaultdict[str, list[Fields]] = defaultdict(list)
        for (kind, _), row in sorted(self.rows.items()):
            if row.group == REFERENCE_GROUP:
                found[kind].append(row.fields)
        return found

    async def cycle(self, *, stages: int | None = None) -> Adapter:
        self.cycles += 1
        adapter = await self.world.adapter()
        if isinstance(adapter, Remembering):
            adapter.remember(Recalled(self))
        await adapter.identify()
        for stage in self.world.package.stages[:stages]:
            references = self.references()
            for feed in adapter.feeds(stage, references):
                await self._read(adapter, feed, references)
            await self._anchors(adapter, references)
        return adapter

    async def _read(self, adapter: Adapter, feed: Feed, references: References) -> None:
        scope, cursor = self.cursors.get(feed.name, (None, None))
        now = self.world.clock.now()
        last = self.completed.get(feed.name)
        if last is not None and feed.every is not None and scope == feed.scope and now - last < feed.every:
            return
        if scope != feed.scope:
            self._forget_versions(feed.fills)
        if scope != feed.scope or feed.kind == "sweep":
            cursor = None
        complete = cursor is None
        async for page in adapter.read(feed, cursor, references):
            self.apply(page)
            self.cursors[feed.name] = (feed.scope, page.cursor)
            self.pages += 1
            if self.stop_after is not None and self.pages >= self.stop_after:
                raise Stop
        if complete and feed.kind != "deletions":
            await self._absent(adapter, feed, references)
            self.swept[feed.name] = self.cycles
        self.completed[feed.name] = now

    def _unseen(self, feed: Feed, since: int) -> list[str]:
        return [
            key
            for (kind, key), row in self.rows.items()
            if kind == feed.fills and self.seen[kind, key] < since and (row.open or not feed.open_only)
        ]

    async def _absent(self, adapter: Adapter, feed: Feed, references: References) -> None:
        absent = self._unseen(feed, self.cycles)
        certain = set(self._unseen(feed, self.swept.get(feed.name, 0))) if feed.twice else set(absent)
        if absent:
            answer = await adapter.look_up(feed.fills, absent, references)
            found = {row.key for row in answer if row.kind == feed.fills}
            self.apply(Page(cursor=None, rows=[row for row in answer if isinstance(row, Row)]))
            for key in absent:
                if key not in found and key in certain:
                    self.rows.pop((feed.fills, key), None)

    async def _anchors(self, adapter: Adapter, references: References) -> None:
        """Fetch the customers of open items that came before them."""
        anchor = self.world.package.anchor
        groups = {row.group for row in self.rows.values() if row.open and row.group}
        lonely = sorted(group for group in groups if (anchor, group) not in self.rows)
        if lonely:
            answer = await adapter.look_up(anchor, lonely, references)
            self.apply(Page(cursor=None, rows=[row for row in answer if isinstance(row, Row)]))

    def apply(self, page: Page) -> None:
        for row in page.rows:
            self.seen[row.kind, row.key] = self.cycles
            before = self.rows.get((row.kind, row.key))
            if before is None or not _older(row.version, before.version):
                self.rows[row.kind, row.key] = row
        for removal in page.removals:
            before = self.rows.get((removal.kind, removal.key))
            if before is not None and not _older(removal.version, before.version):
                del self.rows[removal.kind, removal.key]
        self.bad += page.bad

    def _forget_versions(self, kind: str) -> None:
        for key, row in self.rows.items():
            if key[0] == kind:
                self.rows[key] = Row(**{name: getattr(row, name) for name in row.__struct_fields__} | {"version": None})

    def groups(self) -> dict[str, dict[str, list[Fields]]]:
        groups: defaultdict[str, defaultdict[str, list[Fields]]] = defaultdict(lambda: defaultdict(list))
        for (kind, _), row in sorted(self.rows.items()):
            group = row.group
            if row.parent is not None:
                parent = self.rows.get(row.parent)
                group = parent.group if parent is not None else None
            if group and kind not in self.world.package.quiet:
                groups[group][kind].append(row.fields)
        return groups

    def assemble(self) -> Assembled:
        """All records of all groups together."""
        assembler = self.world.package.assembler(self.references(), self.world.mapping, self.world.administration)
        whole = Assembled()
        for group, rows in self.groups().items():
            part = assembler.assemble(group, rows)
            whole.customers += part.customers
            whole.invoices += part.invoices
            whole.payments += part.payments
            whole.left_out += part.left_out
            whole.bad += part.bad
        return whole


@dataclass(frozen=True)
class Recalled:
    """`connector.adapter.Stored` over a mirror."""

    mirror: Mirror

    async def rows(self, kind: str, keys: Collection[str]) -> dict[str, Fields]:
        return {key: self.mirror.rows[kind, key].fields for key in keys if (kind, key) in self.mirror.rows}

    async def parts(self, kind: str, of: Collection[str]) -> dict[str, Fields]:
        begins = tuple(f"{key}/" for key in of)
        return {key: row.fields for (of_kind, key), row in self.mirror.rows.items()
                if of_kind == kind and key.startswith(begins)}  # fmt: skip

    async def groups(self, groups: Collection[str]) -> dict[str, dict[str, list[Fields]]]:
        known = self.mirror.groups()
        return {group: known.get(group, {}) for group in groups}

    async def open_groups(self, kind: str) -> list[str]:
        return sorted({row.group for (of, _), row in self.mirror.rows.items() if of == kind and row.open and row.group})

    async def count(self, kind: str) -> int:
        return sum(of == kind for of, _ in self.mirror.rows)


def assert_equals_truth(found: Assembled, truth: Truth) -> None:
    """Same customers, same items, same open amounts, to the cent."""
    assert found.bad == []
    customers = {one.external_id: one for one in found.customers}
    assert set(customers) == set(truth["customers"])
    for key, expected in truth["customers"].items():
        one = customers[key]
        assert (one.number, one.name, one.email) == (expected["number"], expected["name"], expected["email"])
    records: dict[str, Invoice | Payment] = {one.external_id: one for one in (*found.invoices, *found.payments)}
    assert set(records) <= set(truth["items"])
    for key, expected in truth["items"].items():
        record = records.get(key)
        if record is None:
            assert Decimal(expected["open"]) == 0, f"open {expected['kind']} {key} is missing"
            assert expected["kind"] not in {"invoice", "credit_note", "opening_balance", "receipt"}, expected
        else:
            assert_equals_item(record, expected)
    assert balance(found) == Decimal(truth["receivable_balance"])
    assert found.left_out == Decimal(truth["unassigned_balance"])


def assert_equals_item(record: Invoice | Payment, expected: Truth) -> None:
    if isinstance(record, Payment):
        ours = (-record.amount, -record.unallocated, -record.base_amount, -record.base_unallocated)
    else:
        ours = (record.total, record.open, record.base_total, record.base_open)
        assert record.due_date is not None
        assert record.due_date.isoformat() == expected["due_date"]
    theirs = tuple(Decimal(expected[name]) for name in ("total", "open", "base_total", "base_open"))
    assert ours == theirs, expected
    assert (record.customer, record.currency) == (expected["customer"], expected["currency"])


def balance(found: Assembled) -> Decimal:
    owed = sum((one.base_open for one in found.invoices), ZERO)
    return owed - sum((one.base_unallocated for one in found.payments), ZERO)


class AdapterConformance:
    """Inherit it in the package's test module and give it a `world`."""

    @pytest.fixture
    def mirror(self, world: World) -> Mirror:
        return Mirror(world)

    async def test_the_administration_is_the_configured_one(self, world: World) -> None:
        identity = await (await world.adapter()).identify()
        assert identity.administration == world.administration
        assert identity.currency == world.truth()["administration"]["currency"]

    async def test_a_first_cycle_mirrors_the_books(self, world: World, mirror: Mirror) -> None:
        await mirror.cycle()
        assert mirror.bad == []
        assert_equals_truth(mirror.assemble(), world.truth())

    async def test_open_items_come_first_and_are_complete(self, world: World, mirror: Mirror) -> None:
        """After the second stage every open amount is known, though no history is."""
        await mirror.cycle(stages=2)
        found = mirror.assemble()
        assert balance(found) == Decimal(world.truth()["receivable_balance"])
        assert found.customers != []

    async def test_our_count_equals_the_ledger(self, world: World, mirror: Mirror) -> None:
        adapter = await mirror.cycle()
        total = await adapter.ledger_total(mirror.references())
        found = mirror.assemble()
        if total is not None:
            assert total.balance == balance(found) + found.left_out + sum(total.explained.values(), ZERO)

    async def test_reading_again_changes_nothing(self, world: World, mirror: Mirror) -> None:
        await mirror.cycle()
        before = {key: (row.fields, row.group, row.open) for key, row in mirror.rows.items()}
        world.clock.advance(timedelta(hours=2).total_seconds())
        await mirror.cycle()
        assert {key: (row.fields, row.group, row.open) for key, row in mirror.rows.items()} == before

    async def test_a_read_that_stops_after_any_page_goes_on_from_there(self, world: World) -> None:
        whole = Mirror(world)
        await whole.cycle()
        parts = Mirror(world, stop_after=1)
        for _ in range(whole.pages + 1):
            try:
                await parts.cycle()
                break
            except Stop:
                parts.stop_after = parts.pages + len(parts.cursors) + 3
        assert parts.rows.keys() == whole.rows.keys()
        assert_equals_truth(parts.assemble(), world.truth())

    async def test_the_mirror_follows_the_books(self, world: World, mirror: Mirror) -> None:
        await mirror.cycle()
        for _ in range(6):
            done = [name for _ in range(15) if (name := world.act())]
            for pause in world.waits:
                world.clock.advance(pause.total_seconds())
                await mirror.cycle()
            assert mirror.bad == [], done
            assert_equals_truth(mirror.assemble(), world.truth())

    async def test_a_row_is_the_same_however_it_was_read(self, world: World, mirror: Mirror) -> None:
        adapter = await mirror.cycle()
        by_kind: defaultdict[str, list[Row]] = defaultdict(list)
        for row in mirror.rows.values():
            by_kind[row.kind].append(row)
        kinds = {feed.fills for stage in world.package.stages for feed in adapter.feeds(stage, mirror.references())}
        for kind in sorted(kinds & set(by_kind)):
            some = {row.key: row for row in by_kind[kind][:70]}
            answer = [
                row
                for row in await adapter.look_up(kind, list(some), mirror.references())
                if row.kind == kind  # what else came along is kept too
            ]
            assert {row.key for row in answer} == set(some), kind
            for row in answer:
                assert isinstance(row, Row)
                stored = some[row.key]
                assert (row.fields, row.group, row.open, row.day) == (
                    stored.fields,
                    stored.group,
                    stored.open,
                    stored.day,
                )

    async def test_what_does_not_exist_is_absent_from_a_look_up(self, world: World, mirror: Mirror) -> None:
        adapter = await mirror.cycle()
        nobody = [f"00000000-0000-4000-8000-{number:012x}" for number in range(3)]
        assert await adapter.look_up(world.package.anchor, nobody, mirror.references()) == []

    async def test_assembly_gives_the_same_records_twice(self, world: World, mirror: Mirror) -> None:
        await mirror.cycle()
        package = world.package
        assembler = package.assembler(mirror.references(), world.mapping, world.administration)
        for group, rows in list(mirror.groups().items())[:50]:
            once = assembler.assemble(group, rows)
            assert assembler.assemble(group, rows) == once

    def feeds(self, adapter: Adapter, mirror: Mirror) -> Sequence[Feed]:
        references = mirror.references()
        return [feed for stage in mirror.world.package.stages for feed in adapter.feeds(stage, references)]

    async def test_feeds_have_distinct_names_and_known_stages(self, world: World, mirror: Mirror) -> None:
        adapter = await mirror.cycle()
        names = [feed.name for feed in self.feeds(adapter, mirror)]
        assert len(names) == len(set(names))


def _older(version: int | None, than: int | None) -> bool:
    return version is not None and than is not None and version < than
