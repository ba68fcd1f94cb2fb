"""A desk whose processes die, and what must be true of the world afterwards, looked at from the outside.

The program runs as processes with its failpoints armed. What it promised is judged by what others saw: the package
its requests, the backend its deliveries, and whoever opens the database its rows.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from connector import mirror
from connector.clock import SystemClock
from connector.failpoints import VARIABLE
from connector.receiver import Delivery
from connector.store.engine import Store, open_store
from connector.store.tables import Base, UtcDateTime
from tests.desk import Desk, Done, servers
from tests.stories.order import broken

TABLES = Base.metadata.tables
HOUR = timedelta(hours=1)
AGEING = ("connection", "destination", "feed", "quarantine", "token")
"""Tables in which a moment decides what may happen next."""
CONTENT = ("row", "record_group", "customer", "invoice", "settlement", "payment", "attempt")
"""What a cycle leaves apart from events and cursors."""
OVER = ("delivered", "superseded")
ROOT = Path(__file__).parents[2]


class MovedClock(SystemClock):
    """The machine's clock, and as much as a test has let pass since."""

    def __init__(self) -> None:
        self.passed = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.passed


class Written(NamedTuple):
    """An event as it lies in the outbox."""

    event_id: str
    type: str
    external_id: str
    entity_version: int
    state: str
    body: bytes


@dataclass
class Victim(Desk):
    """A desk with a database of either kind, whose processes are killed or frozen at failpoints."""

    url: str = ""
    clock: MovedClock = field(default_factory=MovedClock)
    """Of the package."""

    def __post_init__(self) -> None:
        self.url = self.url or f"sqlite:///{self.folder / 'connector.db'}"
        super().__post_init__()
        self.configure("[daemon]", f'[store]\nurl = "{self.url}"\n\n[daemon]')

    @contextlib.contextmanager
    def database(self) -> Iterator[Store]:
        store = open_store(self.url, migrate=False)
        try:
            yield store
        finally:
            store.close()

    # dying

    def killed(self, failpoint: str, hit: int = 1, *words: str) -> None:
        """Run a command, `sync` if none is given, that kills itself there."""
        done = self.armed(f"{failpoint}=kill9@{hit}", *(words or ("sync",)))
        assert done.code == -signal.SIGKILL, f"{failpoint} was not hit {hit} times: {done}"

    def armed(self, failpoints: str, *words: str) -> Done:
        return self.run(*words, environ=self.environ | {VARIABLE: failpoints})

    @contextlib.contextmanager
    def frozen(self, failpoint: str, hit: int, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """A process that has stopped itself there, as a laptop that sleeps; gone afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-m", "connector", *words],
            cwd=self.folder,
            env=os.environ | self.environ | {VARIABLE: f"{failpoint}=stop@{hit}", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            seen = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert seen is not None
            assert seen.si_code == os.CLD_STOPPED, process.communicate()
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                process.communicate()

    def thawed(self, process: "subprocess.Popen[str]") -> Done:
        """Let it go on to its end."""
        return self.end(process, signal.SIGCONT)

    def an_hour_passes(self) -> None:
        """For the package, and for whatever the program has written down: leases end, tokens grow old."""
        self.clock.passed += HOUR
        with self.database() as store, store.write() as connection:
            for table in (TABLES[name] for name in AGEING):
                moments = [column for column in table.columns if isinstance(column.type, UtcDateTime)]
                keys = list(table.primary_key)
                for row in connection.execute(sa.select(*keys, *moments)).mappings().all():
                    values = {one.name: row[one] - HOUR for one in moments if row[one] is not None}
                    mine = sa.and_(*(key == row[key] for key in keys))
                    if values:
                        connection.execute(sa.update(table).where(mine).values(**values))

    def recover(self) -> None:
        """An hour later the program runs as if nothing had been."""
        self.an_hour_passes()
        done = self.run("sync")
        assert done.code == 0, done

    # looking

    def stored(self) -> dict[str, list[tuple[Any, ...]]]:
        """The content, apart from the moments at which it was written."""
        return self._rows({name: [] for name in CONTENT})

    def outbox(self) -> list[Written]:
        with self.database() as store:
            return outbox(store)

    def cursors(self) -> list[tuple[Any, ...]]:
        return self._rows({"feed": ["name", "cursor", "rows"]})["feed"]

    def _rows(self, wanted: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
        found = {}
        with self.database() as store, store.read() as connection:
            for name, columns in wanted.items():
                table = TABLES[name]
                chosen = columns or [one.name for one in table.columns if not isinstance(one.type, UtcDateTime)]
                statement = sa.select(*(table.c[column] for column in chosen)).order_by(*table.primary_key)
                found[name] = [tuple(row) for row in connection.execute(statement)]
        return found

    def asked(self, since: int = 0) -> Counter[str]:
        """How often each address was asked for at the package."""
        return Counter(f"{one.path}?{one.query}" for one in list(self.servers.simulator.requests)[since:])


def breaches(victim: Victim, *, reconnected: bool = False) -> list[str]:
    """One sentence for each promise that was not kept, now that everything is over; none when all were.

    The numbers are those of the reliability sheet, section 1.
    """
    violations = dict(victim.servers.simulator.violations)
    if reconnected:
        violations.pop("old_refresh_token", None)  # the one more try of a token whose fate nobody knows
    return [
        *(f"I1: {one}" for one in mirror.differences(victim.servers.mirror(), victim.servers.truth)),
        *(f"I8, I10: the package counted {count} {name}" for name, count in violations.items()),
        *badly_told(victim.servers.receiver.history, victim.outbox()),
    ]


def outbox(store: Store) -> list[Written]:
    """In the order in which the events were written."""
    table = TABLES["outbox"]
    with store.read() as connection:
        rows = connection.execute(sa.select(*(table.c[name] for name in Written._fields)).order_by(table.c.id))
        return [Written(*row) for row in rows]


def badly_told(history: Sequence[Delivery], written: Sequence[Written]) -> list[str]:
    """What is wrong with what the backend was told, once everything is over."""
    seen = [event for delivery in history for event in delivery.events]
    accepted = Counter(event.id for event in seen if event.verdict == "accepted")
    stored = {event.event_id: sha256(event.body).hexdigest() for event in written}
    return [
        *(f"I1: {one.type} of {one.external_id} is {one.state}" for one in written if one.state not in OVER),
        *(f"I2: {event.id} of {event.subject} was never committed" for event in seen if event.id not in stored),
        *(f"I4-I6: {breach}" for breach in broken(history)),
        *(f"I6: {one.subject} came with other bytes" for one in seen if stored.get(one.id, one.digest) != one.digest),
        *(f"I6: event {event_id} was applied {times} times" for event_id, times in accepted.items() if times > 1),
    ]


@contextlib.contextmanager
def victim(folder: Path, door: Path, port: int, url: str = "") -> Iterator[Victim]:
    """A desk with a package and a backend of its own; linked, nothing read."""
    clock = MovedClock()
    with servers(package_clock=clock) as around:
        yield Victim(folder, around, port, door, url=url, clock=clock)
