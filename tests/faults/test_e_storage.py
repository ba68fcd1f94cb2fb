"""Group E of the fault catalogue: the database is locked, full, lost in the middle of a commit, or half migrated.

E2, E7 and the newer schema of E8 are in `tests/connector/test_engine.py` and `tests/stories/test_cli_mistakes.py`; E5
and E6 are in `test_nth.py`.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from connector.cycle import Progress
from connector.errors import ExitCode, StoreUnavailable
from connector.store.engine import Store, open_store
from tests.desk import PATIENCE_S, Done
from tests.faults.harness import ROOT, TABLES, Victim, breaches
from tests.memory_engine import Bench
from tests.memory_package import MemoryBooks

HOUR_S = 3600.0
ITEMS = 300
CONTENT = ("row", "feed", "invoice", "customer", "outbox")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "connector.db"


@pytest.fixture
def bench(file: Path) -> Iterator[Bench]:
    """A few hundred open items on SQLite that nobody has read yet, three pages of them."""
    books = MemoryBooks()
    books.customer("A", "Customer A")
    for number in range(ITEMS):
        books.item(f"i{number}", "A", "10.00", "10.00")
    with contextlib.closing(open_store(f"sqlite:///{file}")) as store:
        bench = Bench(store, books=books)
        bench.adapter.page_size = ITEMS // 3
        yield bench


def on_connect(store: Store, pragma: str) -> None:
    """From now on, on every connection."""

    @sa.event.listens_for(store.engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute(pragma)

    store.engine.dispose()


@contextlib.contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Another writer is in the middle of its transaction."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


async def goes_well(bench: Bench) -> None:
    bench.clock.advance(HOUR_S)
    report = await bench.cycle()
    assert (report.outcome, report.error) == ("ok", None)
    assert {key: open_ for key, (open_, _, removed) in bench.invoices().items() if not removed} == {
        key: int(open_ * 100) for key, (_, _, open_) in bench.books.items.items()
    }


def counts(store: Store) -> dict[str, int]:
    with store.read() as connection:
        return {name: connection.scalar(sa.select(sa.func.count()).select_from(TABLES[name])) or 0 for name in CONTENT}


async def test_e1_another_writer_for_a_moment_is_waited_for(bench: Bench, file: Path) -> None:
    with locked(file) as other:
        release = threading.Timer(0.3, other.rollback)
        began = time.monotonic()
        release.start()
        report = await bench.cycle()
        release.join()
    assert (report.outcome, time.monotonic() - began >= 0.3) == ("ok", True)


async def test_e1_another_writer_for_too_long_is_a_failure_that_passes(bench: Bench, file: Path) -> None:
    """Locked after the first page: that page stays, the next one comes after the lock; nothing else is lost."""
    on_connect(bench.store, "PRAGMA busy_timeout=50")
    with contextlib.ExitStack() as stack:

        def lock(_: object) -> None:
            stack.enter_context(locked(file))

        report = await bench.cycle(progress=Progress(page=lock))
    assert (report.outcome, isinstance(report.error, StoreUnavailable)) == ("unavailable", True)
    assert "locked" in str(report.error)
    assert counts(bench.store)["row"] == ITEMS // 3
    await goes_well(bench)


async def test_e3_a_full_disk_in_a_page_leaves_nothing_of_it_and_it_goes_on_when_there_is_space(bench: Bench) -> None:
    before = counts(bench.store)
    with bench.store.read() as connection:
        full = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    on_connect(bench.store, f"PRAGMA max_page_count={full + 1}")
    for _ in range(3):
        report = await bench.cycle()
        assert (report.outcome, isinstance(report.error, StoreUnavailable)) == ("unavailable", True)
        assert "full" in str(report.error)
        assert counts(bench.store) == before
        bench.clock.advance(HOUR_S)
    on_connect(bench.store, "PRAGMA max_page_count=1000000")
    await goes_well(bench)


def limited(victim: Victim, size: int) -> Done:
    """`sync` in a process that may write files up to this size only."""
    script = f"""
        import resource
        from connector import cli
        resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
        cli.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), "sync"],
        cwd=victim.folder,
        env=os.environ | victim.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return victim.checked(Done(done.returncode, done.stdout, done.stderr))


def test_e3_e4_a_disk_that_is_full_for_the_log_stops_the_sync_safely(victim: Victim) -> None:
    """The log beside the database cannot grow any more, at once or in the middle of the first load."""
    victim.linked()
    for size in (20_000, 200_000):
        done = limited(victim, size)
        assert (done.code, "Traceback" in done.err) == (ExitCode.UNAVAILABLE, False), done
        assert "free space" in done.out + done.err, done
        victim.an_hour_passes()
    victim.recover()
    assert breaches(victim) == []


@pytest.mark.parametrize("name", ["victim", "victim_on_postgres"])
def test_e8_killed_in_the_middle_of_creating_the_schema(request: pytest.FixtureRequest, name: str) -> None:
    victim: Victim = request.getfixturevalue(name)
    victim.killed("migrate.mid")
    victim.linked().recover()
    assert breaches(victim) == []
