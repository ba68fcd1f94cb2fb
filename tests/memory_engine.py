"""The engine on a package that lives in memory: what tests of cycles, events and versions stand on."""

from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from connector.cycle import Cycle
from connector.outcome import CycleReport
from connector.store import connections
from connector.store.engine import Store
from connector.store.tables import InvoiceRow, OutboxRow
from tests.clocks import ManualClock
from tests.memory_package import ADMINISTRATION, MemoryAdapter, MemoryAssembler, MemoryBooks, memory_package
from tests.vaults import VAULT


@dataclass
class Bench:
    """One connection to one set of books in memory, and the means to run its cycles."""

    store: Store
    clock: ManualClock = field(default_factory=ManualClock)
    books: MemoryBooks = field(default_factory=MemoryBooks)
    assembler: MemoryAssembler = field(default_factory=MemoryAssembler)
    mapping: Any = field(default_factory=lambda: SimpleNamespace(digest="mapping-1"))

    def __post_init__(self) -> None:
        self.adapter = MemoryAdapter(self.books)
        linked = connections.register(
            self.store,
            name="acme",
            package="memory",
            administration=ADMINISTRATION,
            destination="backend",
            now=self.clock.now(),
        )
        with self.store.write() as connection:
            connections.linked(connection, linked.id, self.clock.now())

    async def cycle(self, **options: Any) -> CycleReport:
        return await self.prepare(**options).run()

    def prepare(self, **options: Any) -> Cycle:
        return Cycle(
            store=self.store,
            vault=VAULT,
            clock=self.clock,
            package=memory_package(self.adapter, self.assembler),
            adapter=self.adapter,
            mapping=self.mapping,
            connection=connections.find(self.store, "acme"),
            owner="me",
            every=timedelta(minutes=15),
            **options,
        )

    def invoices(self) -> dict[str, tuple[int, int, bool]]:
        table = InvoiceRow.__table__
        with self.store.read() as connection:
            rows = connection.execute(
                sa.select(table.c.external_id, table.c.open_minor, table.c.version, table.c.removed)
            )
            return {key: (open_, version, removed) for key, open_, version, removed in rows}

    def events(self, *types: str) -> list[tuple[str, str, int]]:
        table = OutboxRow.__table__
        with self.store.read() as connection:
            rows = connection.execute(
                sa.select(table.c.type, table.c.external_id, table.c.entity_version).order_by(table.c.id)
            ).all()
        return [tuple(row) for row in rows if not types or row.type in types]

    def record_events(self) -> list[tuple[str, str, int]]:
        return [event for event in self.events() if event[0].endswith(("upserted.v1", "removed.v1"))]
