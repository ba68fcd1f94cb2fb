"""`connector run` as a process: it syncs when due, delivers, says how it is, and ends when asked."""

import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from connector import mirror
from connector.store import connections
from tests.desk import Desk, Done, Servers, eventually, get, link_of, running, sign_in

DRAIN_S = 25.0
LEDGER = "/sync/Financial/TransactionLines"
ANOTHER = """
[destinations.second]
type = "webhook"
url = "http://127.0.0.1:9/events"
secret_env = "NOT_SET"
allow_private = true

[[connections]]
name = "other"
package = "exactonline"
administration = "555555"
destination = "second"
mapping = "other.toml"
base_url = "{package}"
"""


def logged(done: Done) -> list[dict[str, object]]:
    """Each line is one JSON object, and nothing goes to standard output."""
    assert done.out == ""
    return [json.loads(line) for line in done.err.splitlines()]


def known(desk: Desk, name: str = "acme") -> connections.Linked:
    with desk.database() as store:
        return connections.find(store, name)


def make_due(desk: Desk) -> None:
    with desk.database() as store, store.write() as connection:
        connection.execute(sa.update(connections.TABLE).values(next_due_at=datetime.now(UTC)))


def mirror_equals(around: Servers) -> bool:
    shown = around.mirror()
    return bool(shown) and mirror.differences(shown, around.truth) == []


def events_of(done: Done) -> list[object]:
    return [line["event"] for line in logged(done)]


def test_it_links_syncs_when_due_delivers_and_ends_when_asked(desk: Desk, around: Servers) -> None:
    with running(desk) as process:
        assert get(desk, "/readyz").text == "ready\n"
        connecting = desk.start("connect", "acme", "--no-browser")
        page = sign_in(link_of(connecting))
        assert "is linked" in page.text
        told = desk.ended(connecting)
        assert (told.code, "linked acme" in told.out) == (0, True), told
        eventually(lambda: mirror_equals(around))

        around.book("invoice")
        make_due(desk)
        eventually(lambda: mirror_equals(around) and known(desk).cycle > 1 and known(desk).lease_until is None)
        assert get(desk, "/healthz").json().keys() == {"live", "seconds_since_tick"}, "clients are nobody's business"
        assert known(desk).outcome == "ok"

        started = time.monotonic()
        done = desk.end(process)
        assert (done.code, time.monotonic() - started < DRAIN_S) == (0, True)
    events = events_of(done)
    assert events.count("daemon.started") == events.count("daemon.stopped") == 1
    assert events.count("cycle.finished") == known(desk).cycle
    assert {line["level"] for line in logged(done)} <= {"info", "warning"}
    assert {str(line["logger"]).partition(".")[0] for line in logged(done)} <= {"connector", "alembic"}


def test_asked_to_stop_in_the_middle_of_a_cycle_it_finishes_the_page(desk: Desk, around: Servers) -> None:
    desk.linked()
    around.fault(LEDGER, "slow", seconds=2)
    with running(desk) as process:
        eventually(lambda: around.was_asked(LEDGER))
        started = time.monotonic()
        done = desk.end(process)
        assert (done.code, time.monotonic() - started < DRAIN_S) == (0, True), done
    left = known(desk)
    assert (left.outcome, left.lease_until) == ("interrupted", None)
    assert "daemon.stopped" in events_of(done)


def test_asked_twice_it_ends_at_once(desk: Desk, around: Servers) -> None:
    desk.linked()
    around.fault(LEDGER, "slow", seconds=20)
    with running(desk) as process:
        eventually(lambda: around.was_asked(LEDGER))
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert any("daemon.stopping" in line for line in process.stderr)
        started = time.monotonic()
        done = desk.end(process)
        assert (done.code, time.monotonic() - started < 5) == (128 + signal.SIGTERM, True), done


def test_a_second_daemon_on_the_same_file_is_refused(desk: Desk, unused_tcp_port_factory: Callable[[], int]) -> None:
    with running(desk):
        desk.file.write_text(desk.file.read_text().replace(str(desk.port), str(unused_tcp_port_factory())))
        second = desk.run("run")
    assert (second.code, "another daemon works on this database" in second.err) == (2, True)


def test_what_is_wrong_with_one_client_does_not_stop_the_others(desk: Desk, around: Servers) -> None:
    """Neither a mapping with a mistake nor a backend without its secret; and it is said once, not every second."""
    (desk.folder / "other.toml").write_text('[customer]\nname = "account.Nam"\n')
    desk.file.write_text(desk.file.read_text() + ANOTHER.format(package=around.package_url))
    desk.linked()
    with desk.database() as store, store.write() as connection:
        connections.linked(connection, connections.find(store, "other").id, datetime.now(UTC))
    with running(desk) as process:
        eventually(lambda: known(desk, "other").outcome == "stopped")
        eventually(lambda: mirror_equals(around) and known(desk).lease_until is None)
        done = desk.end(process)
    assert done.code == 0
    failed = [line for line in logged(done) if line["event"] == "dispatch.cycle_failed"]
    assert [line["connection"] for line in failed] == ["other"]
    assert events_of(done).count("destination.unusable") == 1
    assert "account.Name" in known(desk, "other").reason


def test_an_unusable_database_shows_in_readiness(desk: Desk) -> None:
    with running(desk), contextlib.closing(sqlite3.connect(desk.folder / "connector.db")) as database:
        database.execute("ALTER TABLE data_key RENAME TO elsewhere")
        answer = get(desk, "/readyz")
        assert (answer.status_code, "the database cannot be used" not in answer.text) == (503, True)
        assert get(desk, "/healthz").status_code == 200
        database.execute("ALTER TABLE elsewhere RENAME TO data_key")
        assert get(desk, "/readyz").status_code == 200


def test_the_demo_stays_until_it_is_interrupted(desk: Desk) -> None:
    process = desk.start("demo", "--stay", "--customers", "5", "--invoices", "10")
    assert process.stdout is not None
    assert any("/healthz" in line for line in process.stdout)
    done = desk.end(process, signal.SIGINT)
    assert (done.code, "the mirror equals the books" in done.out) == (0, True), done
