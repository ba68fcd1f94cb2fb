"""A world for faults: the proxy and the rewriter stand between the program and the package."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from adapters.exactonline.simulator import ExactSimulator
from connector.errors import ExitCode, SourceDown
from connector.http import DEADLINE_S
from connector.outcome import CycleReport
from connector.store import connections, feeds, quarantine
from connector.store.tables import Base
from tests.clocks import ManualClock
from tests.faults.rewrite import Rewriter
from tests.faults.toxics import Proxy, proxy
from tests.stories.order import broken
from tests.stories.world import DAY, NAME, Town, World

LINES, TERMS, ACCOUNTS = "sync/Financial/TransactionLines", "sync/Cashflow/PaymentTerms", "sync/CRM/Accounts"
OPEN = "bulk/Cashflow/Receivables"
TABLES = Base.metadata.tables


class FaultyTown(Town):
    """The package is reached through the proxy only."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.wire: Proxy = self.run(self._stack.enter_async_context(proxy(self.package_url)))
        self.package_url = self.wire.url


@dataclass
class FaultyWorld(World):
    """A world with the means to spoil it and to see what was kept."""

    town: FaultyTown
    clock: ManualClock = field(default_factory=ManualClock)
    simulator: ExactSimulator = field(init=False)
    rewriter: Rewriter = field(init=False)
    began: int = 0
    """Requests before the present test."""

    def __post_init__(self) -> None:
        self.town.wire.toxics.clear()
        super().__post_init__()
        assert self.town.package.app is not None
        self.rewriter = self.town.package.app = Rewriter(self.town.package.app)

    def enter(self) -> None:
        """Another world may have been here meanwhile."""
        self.town.package.app, self.town.backend.app = self.rewriter, self.receiver.app
        self.mark()

    def mark(self) -> None:
        """From here on requests are counted."""
        self.began = len(self.simulator.requests)
        self.simulator.violations.clear()

    # going on

    def settle(self) -> None:
        """Cycle and deliver; all must be well."""
        report = self.cycle()
        assert (report.outcome, report.error) == ("ok", None)
        self.deliver()
        assert self.differences() == []

    def recover(self) -> None:
        """All faults are over: within two cycles the mirror equals the books, and the package has no complaint."""
        self.town.wire.toxics.clear()
        self.simulator.faults.clear()
        self.rewriter.rules.clear()
        self.receiver.faults.clear()
        self.runtime.settings, self.runtime.deadline_s = self.settings, DEADLINE_S
        for _ in range(2):
            self.clock.advance(DAY)
            report = self.cycle()
            self.deliver()
            if not self.differences():
                break
        assert (report.outcome, report.error, self.differences(), self.set_aside()) == ("ok", None, [], {})
        assert self.simulator.violations.keys() <= {"errors_in_budget"}
        assert broken(self.receiver.history) == []

    # looking

    def asked(self, path: str = "/api/v1/") -> int:
        """Requests for a path since the mark."""
        return sum(path in one.path for one in list(self.simulator.requests)[self.began :])

    def kept(self) -> dict[str, list[tuple[Any, ...]]]:
        """Records and raw rows, without the cycle in which they were last seen."""
        columns = {
            "row": ("kind", "key", "group_key", "data"),
            "customer": ("external_id", "version", "removed"),
            "invoice": ("external_id", "version", "removed", "open_minor"),
            "payment": ("external_id", "version", "removed"),
        }
        with self.store.read() as connection:
            return {
                name: sorted(
                    tuple(row) for row in connection.execute(sa.select(*(TABLES[name].c[column] for column in wanted)))
                )
                for name, wanted in columns.items()
            }

    def cursors(self) -> dict[str, str | None]:
        return {name: state.cursor for name, state in self.states().items()}

    def states(self) -> dict[str, feeds.FeedState]:
        with self.store.read() as connection:
            return feeds.states(connection, self.linked.id)

    def events(self) -> Counter[tuple[str, str]]:
        """Events ever written for records, by type and external id."""
        table = TABLES["outbox"]
        wanted = table.c.type.like("%ed.v1") & table.c.entity.in_(("customer", "invoice", "payment"))
        with self.store.read() as connection:
            return Counter(
                (type_, key)
                for type_, key in connection.execute(sa.select(table.c.type, table.c.external_id).where(wanted))
            )

    def removed(self) -> list[str]:
        return sorted(key for type_, key in self.events() if ".removed." in type_)

    def set_aside(self) -> dict[tuple[str, str], str]:
        """What lies in quarantine: (kind, key) -> reason."""
        found = quarantine.newest(self.store, self.linked.id, 1000)
        return {(item.kind, item.key): item.reason for item in found.items}

    @property
    def linked(self) -> connections.Linked:
        return connections.find(self.store, NAME)


def by_id(key: str) -> Any:
    """A row is this one."""
    return lambda item: str(item.get("ID")).lower() == key


def open_invoices(world: FaultyWorld) -> list[str]:
    return sorted(key for key, invoice in world.mirror()["invoices"].items() if float(invoice["open"]) > 0)


def assert_waits(report: CycleReport, *words: str) -> None:
    """It is the package's failure, it is said which and where, and it is tried again."""
    assert (report.outcome, report.exit_code) == ("unavailable", ExitCode.UNAVAILABLE)
    assert isinstance(report.error, SourceDown)
    assert [word for word in (*words, NAME, "tries again") if word not in str(report.error)] == []


def failed(report: CycleReport) -> dict[str, str]:
    """The feeds that failed, with what was said."""
    return {feed.name: feed.reason for feed in report.feeds if feed.status == "failed"}
