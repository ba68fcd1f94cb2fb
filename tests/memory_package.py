"""A package that lives in memory and does what a test scripts: the engine's counterpart in its own tests.

Its books are two dicts: customers, and items that carry the customer, an amount and what is open of it.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from connector.adapter import (
    Adapter,
    Assembled,
    BadRow,
    BankJournal,
    CallLimits,
    Capability,
    Feed,
    Fields,
    Identity,
    LedgerTotal,
    Package,
    Page,
    Removal,
    Row,
    Stored,
    Unprocessed,
)
from connector.domain.records import Administration, Customer, Invoice, Settlement
from connector.http import RateHeaders

ADMINISTRATION = "books-1"


@dataclass
class MemoryBooks:
    """The truth, and a change log with a counter as its version."""

    customers: dict[str, str] = field(default_factory=dict)
    items: dict[str, tuple[str, Decimal, Decimal]] = field(default_factory=dict)
    """key -> (customer, total, open)"""
    changes: list[tuple[int, str, str]] = field(default_factory=list)
    deletions: list[tuple[int, str, str]] = field(default_factory=list)
    counter: int = 0

    def customer(self, key: str, name: str) -> None:
        self.customers[key] = name
        self._changed("customer", key)

    def item(self, key: str, customer: str, total: str, open_: str) -> None:
        self.items[key] = (customer, Decimal(total), Decimal(open_))
        self._changed("item", key)

    def delete(self, key: str, *, logged: bool = True) -> None:
        del self.items[key]
        self.changes = [change for change in self.changes if change[1:] != ("item", key)]
        self.counter += 1
        if logged:
            self.deletions.append((self.counter, "item", key))

    def balance(self) -> Decimal:
        return sum((open_ for _, _, open_ in self.items.values()), Decimal(0))

    def _changed(self, kind: str, key: str) -> None:
        self.counter += 1
        self.changes = [change for change in self.changes if change[1:] != (kind, key)]
        self.changes.append((self.counter, kind, key))

    def row(self, kind: str, key: str, version: int | None) -> Row:
        if kind == "customer":
            return Row(kind=kind, key=key, group=key, fields={"id": key, "name": self.customers[key]}, version=version)
        customer, total, open_ = self.items[key]
        fields = {"id": key, "customer": customer, "total": str(total), "open": str(open_)}
        return Row(kind=kind, key=key, group=customer, fields=fields, version=version, open=open_ != 0)


@dataclass
class MemoryAdapter:
    """Reads `MemoryBooks`; `page_size` and the hooks let a test stop, break or bend it."""

    books: MemoryBooks
    page_size: int = 3
    by_offset: bool = False
    """Whether the sweep skips so many rows for each page, so that rows slip by when the books change in between."""
    before_page: Callable[[str, int], None] = lambda *_: None
    """Told of the feed and the number of each page of a sweep or a change feed before it is read."""
    script: dict[str, list[Page]] = field(default_factory=dict)
    """feed name -> the pages that it hands out next, whatever the books say"""
    scope: str = "one"
    administration: str = ADMINISTRATION
    broken: dict[str, Exception] = field(default_factory=dict)
    """feed name -> what reading it raises"""
    bad: list[BadRow] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    """Items that the sweep forgets although they exist."""
    blind: bool = False
    """Whether a look-up finds nothing, as after a lost right."""
    twice: bool = False
    """Whether only absence from two sweeps counts."""
    ledger: Decimal | None = None
    ledger_asked: int = 0
    stored: Stored | None = None
    looked_up: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    read_from: list[tuple[str, str | None]] = field(default_factory=list)

    def remember(self, stored: Stored) -> None:
        self.stored = stored

    async def identify(self) -> Identity:
        return Identity(administration=self.administration, name="Books", currency="EUR", time_zone="Europe/Amsterdam")

    async def capabilities(self) -> Sequence[Capability]:
        return []

    def feeds(self, stage: str, references: Mapping[str, Sequence[Fields]]) -> Sequence[Feed]:
        del references
        if stage == "open":
            return [Feed(name="open", kind="sweep", fills="item", open_only=True, twice=self.twice)]
        return [
            Feed(name="items", kind="changes", fills="item", scope=self.scope),
            Feed(name="customers", kind="changes", fills="customer", scope=self.scope),
            Feed(name="deleted", kind="deletions", fills="item", every=timedelta(0)),
        ]

    async def read(
        self, feed: Feed, cursor: str | None, references: Mapping[str, Sequence[Fields]]
    ) -> AsyncIterator[Page]:
        del references
        self.read_from.append((feed.name, cursor))
        if feed.name in self.broken:
            raise self.broken[feed.name]
        if feed.name in self.script:
            for page in self.script.pop(feed.name):
                yield page
        elif feed.name == "open":
            async for page in self._open():
                yield page
        elif feed.name == "deleted":
            for version, kind, key in [entry for entry in self.books.deletions if entry[0] > int(cursor or 0)]:
                yield Page(cursor=str(version), removals=[Removal(kind=kind, key=key, version=version)])
        else:
            if feed.name == "items" and self.bad:
                yield Page(cursor=cursor, bad=self.bad)
            async for page in self._changes(feed, int(cursor or 0)):
                yield page

    async def _changes(self, feed: Feed, after: int) -> AsyncIterator[Page]:
        for number in itertools.count(1):
            self.before_page(feed.name, number)
            log = [entry for entry in self.books.changes if entry[0] > after and entry[1] == feed.fills]
            if not log:
                return
            chunk = log[: self.page_size]
            after = chunk[-1][0]
            yield Page(cursor=str(after), rows=[self.books.row(feed.fills, key, version) for version, _, key in chunk])

    async def _open(self) -> AsyncIterator[Page]:
        last = ""
        for number in itertools.count(1):
            self.before_page("open", number)
            keys = sorted(key for key, (_, _, open_) in self.books.items.items() if open_ and key not in self.hidden)
            rest = keys[self.page_size * (number - 1) :] if self.by_offset else [key for key in keys if key > last]
            if not rest and number > 1:
                return
            chunk = rest[: self.page_size]
            yield Page(cursor=None, rows=[self.books.row("item", key, None) for key in chunk])
            last = chunk[-1] if chunk else ""

    async def look_up(
        self, kind: str, keys: Sequence[str], references: Mapping[str, Sequence[Fields]]
    ) -> Sequence[Row | BadRow]:
        del references
        self.looked_up.append((kind, tuple(keys)))
        known = self.books.customers if kind == "customer" else self.books.items
        return [] if self.blind else [self.books.row(kind, key, None) for key in keys if key in known]

    async def ledger_total(self, references: Mapping[str, Sequence[Fields]]) -> LedgerTotal | None:
        del references
        self.ledger_asked += 1
        return LedgerTotal(balance=self.books.balance() if self.ledger is None else self.ledger)

    async def document(self, handle: str) -> AsyncIterator[bytes]:
        yield handle.encode()


@dataclass
class MemoryAssembler:
    digest: str = "memory"

    def administration(self) -> Administration:
        return Administration(external_id=ADMINISTRATION, name="Books", package="memory", currency="EUR")

    def banks(self) -> Mapping[str, BankJournal]:
        return {}

    def unprocessed(self, suspense: Sequence[Fields]) -> Sequence[Unprocessed]:
        del suspense
        return []

    def assemble(self, group: str, rows: Mapping[str, Sequence[Fields]]) -> Assembled:
        del group
        result = Assembled()
        for fields in rows.get("customer", ()):
            result.customers.append(Customer(external_id=fields["id"], name=fields["name"]))
        for fields in rows.get("item", ()):
            total, open_ = Decimal(fields["total"]), Decimal(fields["open"])
            settled = open_ - total
            settlements = (Settlement(kind="unknown", amount=settled, base_amount=settled),) if settled else ()
            result.invoices.append(
                Invoice(
                    external_id=fields["id"],
                    kind="invoice",
                    customer=fields["customer"],
                    currency="EUR",
                    total=total,
                    open=open_,
                    base_currency="EUR",
                    base_total=total,
                    base_open=open_,
                    settlements=settlements,
                    payment_status="paid" if not open_ else "open",
                    due_date=date(2026, 12, 1),
                )
            )
        return result


class NoOptions(msgspec.Struct):
    pass


def memory_package(adapter: Adapter, assembler: Any = None) -> Package:
    chosen = assembler or MemoryAssembler()
    return Package(
        name="memory",
        title="Memory",
        version="1",
        options=NoOptions,
        stages=("open", "history"),
        anchor="customer",
        bank_kind=None,
        suspense_kind=None,
        sources={},
        limits=CallLimits(),
        rate_headers=RateHeaders(),
        origins=lambda _: (),
        oauth=None,
        adapter=lambda _: adapter,
        assembler=lambda *_: chosen,
    )
