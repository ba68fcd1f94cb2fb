"""Group A of the fault catalogue: processes that die, freeze, or are asked to stop.

Every failpoint kills one process on its way to the first mirror, and another one later; the third ends well, and then
nothing may be missing, twice or out of order. A4, A7 and A8 are about several workers on one queue: there is no such
dispatcher yet.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from connector.errors import ExitCode
from connector.failpoints import NAMES
from tests.desk import PATIENCE_S
from tests.faults import harness
from tests.faults.harness import Victim, breaches

FIRST_LOAD = {
    "page.after_fetch": (1, 9),
    "page.in_tx": (1, 9),
    "page.before_commit": (1, 9),
    "page.after_commit": (1, 9),
    "records.in_tx": (1, 2),
    "records.after_commit": (1, 2),
    "outbox.after_claim": (1, 2),
    "deliver.after_post": (1, 2),
    "deliver.before_mark": (1, 2),
    "deliver.after_mark": (1, 2),
}
"""Failpoint -> the hits at which the first and the second process die."""
REFRESH = ("token.before_intent", "token.after_intent", "token.after_commit")
"""A process refreshes once an hour at most: the second dies at its own first hit."""
BOOKED = ("pay", "pay_partly", "delete_entry", "delete_entry", "invoice", "rename_customer")
LINES = "/sync/Financial/TransactionLines"
NTH_PAGE, NTH_COMMIT = 7, 7
"""The page of ledger lines among all pages and among all commits: one commit holds customers that were looked up."""


def test_no_place_is_forgotten() -> None:
    """The last two have tests of their own: test_d_secrets.py and test_activation.py."""
    here = {*FIRST_LOAD, *REFRESH, "token.after_http", "sweep.mid", "migrate.mid"}
    assert here | {"rekey.mid", "activation.after_note"} == NAMES


@pytest.mark.parametrize("failpoint", FIRST_LOAD)
def test_a1_to_a3_killed_twice_in_a_first_load(victim: Victim, failpoint: str) -> None:
    victim.linked()
    for hit in FIRST_LOAD[failpoint]:
        victim.killed(failpoint, hit)
        victim.an_hour_passes()
    victim.recover()
    assert breaches(victim) == []


@pytest.mark.parametrize("failpoint", ["page.before_commit", "records.in_tx", "deliver.before_mark"])
def test_a1_to_a3_killed_twice_on_postgres(victim_on_postgres: Victim, failpoint: str) -> None:
    test_a1_to_a3_killed_twice_in_a_first_load(victim_on_postgres, failpoint)


def test_a1_to_a3_killed_twice_while_asking_what_became_of_items(victim: Victim) -> None:
    victim.linked().recover()
    for act in BOOKED:
        victim.servers.book(act)
    for hit in (1, 2):
        victim.an_hour_passes()
        victim.killed("sweep.mid", hit, "sync", "--full")
    victim.recover()
    assert breaches(victim) == []


@pytest.mark.parametrize("failpoint", REFRESH)
def test_a1_to_a3_killed_twice_in_a_refresh(victim: Victim, failpoint: str) -> None:
    """Also D2: nobody has to sign in again."""
    victim.linked()
    for _ in range(2):
        victim.an_hour_passes()
        victim.killed(failpoint)
    victim.recover()
    assert breaches(victim) == []


def test_a1_to_a3_killed_with_the_only_copy_of_a_token(victim: Victim) -> None:
    """Also D3: the old token is tried once, then a person signs in, and nothing is read anew."""
    victim.linked().recover()
    victim.an_hour_passes()
    victim.killed("token.after_http")
    victim.an_hour_passes()
    for _ in range(2):
        refused = victim.run("sync")
        assert (refused.code, "connector connect" in refused.out + refused.err) == (ExitCode.RECONNECT, True), refused
    assert victim.servers.simulator.violations == {"old_refresh_token": 1}
    victim.servers.book("pay")
    before = len(victim.servers.simulator.requests)
    victim.linked()
    assert victim.run("sync").code == 0
    assert breaches(victim, reconnected=True) == []
    assert "Timestamp+gt+1L" not in " ".join(query for query in victim.asked(before) if LINES in query)


@pytest.fixture(scope="module")
def undisturbed(
    door: Path, tmp_path_factory: pytest.TempPathFactory, unused_tcp_port_factory: Callable[[], int]
) -> list[tuple[Any, ...]]:
    """What a first load that nobody disturbs tells about records."""
    with harness.victim(tmp_path_factory.mktemp("undisturbed"), door, unused_tcp_port_factory()) as victim:
        victim.linked().recover()
        return record_events(victim)


def record_events(victim: Victim) -> list[tuple[Any, ...]]:
    return sorted(one[1:4] for one in victim.outbox() if one.type.endswith((".upserted.v1", ".removed.v1")))


def line_rows(victim: Victim) -> Sequence[tuple[Any, ...]]:
    return [row for row in victim.stored()["row"] if "line" in row]


def line_cursors(victim: Victim) -> Sequence[tuple[Any, ...]]:
    return [row for row in victim.cursors() if row[0] == "lines"]


def requests_for_lines(victim: Victim) -> int:
    return sum(times for query, times in victim.asked().items() if LINES in query)


@pytest.mark.parametrize(
    ("failpoint", "hit"),
    [("page.after_fetch", NTH_PAGE), ("page.in_tx", NTH_COMMIT), ("page.before_commit", NTH_COMMIT)],
    ids=["a1_after_fetch", "a2_in_tx", "a2_before_commit"],
)
def test_nothing_of_the_page_is_visible_and_the_next_process_stores_it_once(
    victim: Victim, undisturbed: list[tuple[Any, ...]], failpoint: str, hit: int
) -> None:
    victim.linked().killed(failpoint, hit)
    assert requests_for_lines(victim) == 1
    assert (line_rows(victim), line_cursors(victim)) == ([], [])
    victim.recover()
    assert requests_for_lines(victim) == 2
    assert record_events(victim) == undisturbed
    assert breaches(victim) == []


def test_a3_after_the_commit_the_page_is_not_read_again(victim: Victim, undisturbed: list[tuple[Any, ...]]) -> None:
    victim.linked().killed("page.after_commit", NTH_PAGE)
    rows, cursors = line_rows(victim), line_cursors(victim)
    assert (len(rows) > 0, len(cursors)) == (True, 1)
    victim.recover()
    assert line_rows(victim) == rows
    assert len([query for query in victim.asked() if LINES in query]) == requests_for_lines(victim) == 2
    assert record_events(victim) == undisturbed
    assert breaches(victim) == []


@pytest.mark.parametrize(
    ("failpoint", "hit", "words", "code"),
    [
        ("page.after_fetch", NTH_PAGE, ["--no-deliver"], ExitCode.UNAVAILABLE),
        ("deliver.after_post", 3, [], ExitCode.DONE),  # what it has lost is delivered, it finds
    ],
    ids=["cycle", "delivery"],
)
def test_a9_stuck_for_an_hour_while_another_took_over_it_commits_nothing(
    victim: Victim, failpoint: str, hit: int, words: list[str], code: int
) -> None:
    """Frozen, or its loop blocked: it does not know, and goes on where it stood.

    Either the cycle or the delivery is under way, not both: whoever is frozen in a transaction locks SQLite.
    """
    victim.linked()
    if not words:
        assert victim.run("sync", "--no-deliver").code == 0
    with victim.frozen(failpoint, hit, "sync", *words) as stuck:
        victim.recover()
        stored, told = victim.stored(), victim.outbox()
        done = victim.thawed(stuck)
    assert done.code == code, done
    assert (victim.stored(), victim.outbox()) == (stored, told)
    assert breaches(victim) == []


def test_a11_asked_to_stop_in_a_page_it_ends_after_it_and_another_may_begin_at_once(victim: Victim) -> None:
    """The daemon's side of it: `tests/stories/test_daemon_run.py`."""
    victim.linked().servers.fault(LINES, "slow", seconds=1)
    process = victim.start("sync")
    until(lambda: requests_for_lines(victim) == 1)
    stopped = victim.end(process)
    assert stopped.code == ExitCode.PARTLY_FAILED, stopped
    assert len(line_cursors(victim)) == 1
    assert victim.run("sync").code == 0
    assert requests_for_lines(victim) == 2
    assert breaches(victim) == []


def until(holds: Callable[[], bool]) -> None:
    """Nobody tells us what another process has come to."""
    patience = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < patience
        time.sleep(0.02)
