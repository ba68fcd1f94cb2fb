"""Group D of the fault catalogue in one process: tokens that are refused, lost, near their end, or not to be stored.

D1 to D3 need processes that die (`test_d_processes.py`), D11 and D12 are about signing in
(`tests/connector/test_linking.py`), D13 to D15 about keys and secrets (`tests/connector/test_vault.py`).
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import structlog

from connector.care import Care
from connector.errors import StoreUnavailable, Throttled
from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.tokens import LINKED, NEEDS_REAUTH, Grant, StoredToken
from tests.faults.world import LINES, FaultyWorld
from tests.stories.world import DAY, HOUR, NAME

TOKEN = "oauth2/token"
EXPIRED_S = 601.0
DEGRADED, REAUTH = "ar.connection.degraded.v1", "ar.connection.reauth_required.v1"
RESTORED = "ar.connection.restored.v1"


def stored(world: FaultyWorld) -> StoredToken:
    token = world.runtime.token_store.get(world.linked.id)
    assert token is not None
    return token


def access(world: FaultyWorld, refused: str | None = None) -> str:
    return world.town.run(world.runtime.tokens(NAME).access_token(refused)).reveal()


def told(world: FaultyWorld) -> list[tuple[str, int | None]]:
    """What the backend was told about the sign-in: the type, and how many percent of its life were left."""
    world.deliver()
    seen = {event.id: event for delivery in world.receiver.history for event in delivery.events}
    table = sa.table("outbox", sa.column("event_id"), sa.column("type"), sa.column("body"), sa.column("id"))
    with world.store.read() as connection:
        rows = connection.execute(
            sa.select(table.c.event_id, table.c.type, table.c.body)
            .where(table.c.type.in_([DEGRADED, REAUTH, RESTORED]))
            .order_by(table.c.id)
        ).all()
    assert {row.event_id for row in rows} <= seen.keys()
    return [(row.type, json.loads(row.body)["data"]["record"].get("percent_left")) for row in rows]


# --- D4, D5: the database --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def read_only(store: Store) -> Iterator[None]:
    if store.is_sqlite:
        sa.event.listen(store.engine, "checkout", _look_only)
        yield
        sa.event.remove(store.engine, "checkout", _look_only)
        store.engine.dispose()
        return
    name = store.engine.url.database
    with store.engine.connect() as connection, connection.execution_options(isolation_level="AUTOCOMMIT"):
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    store.engine.dispose()
    yield
    store.engine.dispose()
    with store.engine.connect() as connection, connection.execution_options(isolation_level="AUTOCOMMIT"):
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    store.engine.dispose()


def _look_only(connection: sqlite3.Connection, *_: object) -> None:
    connection.execute("PRAGMA query_only = ON")


@contextlib.contextmanager
def gone(store: Store) -> Iterator[None]:
    """Nobody gets in: the file is locked, or the server takes no connections and has cut those that were open."""
    if store.is_sqlite:
        sa.event.listen(store.engine, "checkout", _hurry)
        other = sqlite3.connect(str(store.engine.url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()
        sa.event.remove(store.engine, "checkout", _hurry)
        store.engine.dispose()
        return
    server = store.engine.url.set(drivername="postgresql", database="postgres")
    name = store.engine.url.database
    with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        yield
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')


def _hurry(connection: sqlite3.Connection, *_: object) -> None:
    connection.execute("PRAGMA busy_timeout = 20")


@pytest.mark.parametrize("trouble", [read_only, gone])
def test_d4_a_database_that_takes_no_writes_costs_no_token(
    both: FaultyWorld, trouble: Callable[[Store], contextlib.AbstractContextManager[None]]
) -> None:
    both.clock.advance(EXPIRED_S)
    both.mark()
    with trouble(both.store):
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                access(both)
            both.clock.advance(HOUR)
    assert both.asked(TOKEN) == 0
    both.settle()
    assert both.simulator.violations == {}


@pytest.mark.parametrize("restarted", [False, True])
def test_d5_a_database_that_is_lost_before_the_commit_gets_the_token_when_it_is_back(
    both: FaultyWorld, restarted: bool
) -> None:
    """From the spill, by this process or by the next, without a caller and without a second request."""
    both.clock.advance(EXPIRED_S)
    both.mark()
    linked = both.linked.id
    with contextlib.ExitStack() as away:
        both.rewriter.body(TOKEN, lambda body: away.enter_context(gone(both.store)) or body, times=1)
        with pytest.raises(StoreUnavailable):
            access(both)
        assert both.runtime.spill.connections() == {linked}
        both.clock.advance(60)
        with pytest.raises(StoreUnavailable):
            access(both)
    if restarted:
        both.restart()
    both.town.run(Care(both.runtime).look())
    assert stored(both).refresh.reveal() == both.simulator.office.refresh_token
    assert both.runtime.spill.connections() == set()
    assert access(both) == both.simulator.office.newest
    assert both.asked(TOKEN) == 1
    both.settle()
    assert both.simulator.violations == {}


# --- D6, D7, D8: the token endpoint ----------------------------------------------------------------------------------


def answering(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda body: json.dumps({**json.loads(body), **fields}).encode()


LOST: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda _: b"<html><body>maintenance</body></html>",
    "nothing": lambda _: b"",
    "empty": lambda _: b"{}",
    "null": lambda _: b'{"access_token": null, "refresh_token": null, "expires_in": 600}',
}
"""Answers that withhold what the package has given."""


@pytest.mark.parametrize("answer", LOST)
def test_d6_an_answer_that_says_nothing_ends_in_one_more_try(world: FaultyWorld, answer: str) -> None:
    world.clock.advance(EXPIRED_S)
    world.mark()
    before = stored(world)
    world.rewriter.body(TOKEN, LOST[answer], times=1)
    assert world.cycle().outcome == "unavailable"
    after = stored(world)
    assert (after.generation, after.refresh.reveal(), after.status) == (1, before.refresh.reveal(), LINKED)
    assert after.intent_at is not None
    assert world.asked(LINES) == 0, "nobody is asked with `Bearer None`"
    world.clock.advance(EXPIRED_S)
    assert world.cycle().outcome == "needs_reconnect"
    assert (world.asked(TOKEN), dict(world.simulator.violations)) == (2, {"old_refresh_token": 1})
    world.simulator.violations.clear()
    assert world.reconnect()
    world.settle()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("status", {"status": 500}), ("status", {"status": 503}), ("status", {"status": 429}), ("drop", {}), ("html", {})],
)
def test_d6_a_request_that_was_not_granted_is_made_again(world: FaultyWorld, kind: str, fault: dict[str, Any]) -> None:
    world.clock.advance(EXPIRED_S)
    world.mark()
    world.simulator.faults.add(TOKEN, kind, **fault)
    assert world.cycle().outcome == "unavailable"
    assert (stored(world).generation, stored(world).status) == (1, LINKED)
    world.clock.advance(EXPIRED_S)
    world.settle()
    assert (world.asked(TOKEN), world.simulator.violations) == (2, {})


@pytest.mark.parametrize("life", ["600", 600, "0", -1, 1e9, None])
def test_d6_a_strange_life_is_bounded(world: FaultyWorld, life: Any) -> None:
    world.clock.advance(EXPIRED_S)
    world.rewriter.body(TOKEN, answering(expires_in=life))
    for _ in range(20):
        used = access(world)
        if not world.simulator.office.accepts(used):
            used = access(world, refused=used)
        assert world.simulator.office.accepts(used)
        world.clock.advance(571)
    assert world.simulator.violations == {}


def test_d7_a_life_shorter_than_the_margin_makes_no_loop(world: FaultyWorld) -> None:
    """The package says twenty seconds, and allows a refresh after 570 all the same."""
    world.clock.advance(EXPIRED_S)
    world.mark()
    world.rewriter.body(TOKEN, answering(expires_in=20))
    first = access(world)
    for _ in range(5):
        assert access(world) == first
    world.clock.advance(21)
    with pytest.raises(Throttled):
        access(world)
    world.clock.advance(549)
    assert access(world) != first
    assert (world.asked(TOKEN), world.simulator.violations) == (2, {})


def test_d8_no_refresh_before_570_seconds_in_two_hours_of_use(world: FaultyWorld) -> None:
    world.mark()
    for _ in range(195):
        assert world.simulator.office.accepts(access(world))
        world.clock.advance(37)
    assert 11 <= world.asked(TOKEN) <= 13
    assert world.simulator.violations == {}


# --- D9: alive -------------------------------------------------------------------------------------------------------


def idle(world: FaultyWorld, days: int, *, restarting: bool = False) -> None:
    """Nothing runs but the daily care, here twice a day, and delivery of what it says."""
    woken: list[str] = []
    care = Care(world.runtime, woken.append)
    for look in range(days * 2):
        world.clock.advance(12 * HOUR)
        if restarting and look % 5 == 0:
            world.restart()
            care = Care(world.runtime, woken.append)
        woken.clear()
        world.town.run(care.look())
        if woken:
            assert world.deliver().delivered == 1


def test_d9_unused_for_forty_days_it_is_kept_alive(both: FaultyWorld) -> None:
    both.settle()
    both.mark()
    idle(both, 40)
    assert both.asked() == 0
    assert both.asked(TOKEN) == 3
    assert told(both) == []
    both.settle()
    assert both.simulator.violations == {}


def test_d9_when_it_cannot_be_kept_alive_that_is_said_early_and_once(both: FaultyWorld) -> None:
    both.settle()
    both.simulator.faults.add(TOKEN, "status", status=503, times=None)
    with structlog.testing.capture_logs() as logs:
        idle(both, 29, restarting=True)
    assert told(both) == [(DEGRADED, 50), (DEGRADED, 25), (DEGRADED, 10)]
    said = [line for line in logs if line["event"] == "connection.degraded"]
    assert [(line["percent_left"], line["fix"]) for line in said] == [
        (percent, "connector connect acme") for percent in (50, 25, 10)
    ]
    assert all("HTTP 503" in line["reason"] for line in said)
    both.simulator.faults.clear()
    idle(both, 1)
    assert told(both)[3:] == [(RESTORED, None)]
    both.settle()
    assert told(both)[4:] == []
    assert both.simulator.violations == {}


def test_d9_when_it_has_died_a_person_is_asked_for_at_once_and_once(world: FaultyWorld) -> None:
    world.settle()
    idle(world, 20)
    world.simulator.faults.add(TOKEN, "status", status=503, times=None)
    idle(world, 45)
    world.simulator.faults.clear()
    with structlog.testing.capture_logs() as logs:
        idle(world, 3, restarting=True)
    assert [percent for _, percent in told(world)] == [50, 25, 10, None]
    (said,) = [line for line in logs if line["event"] == "connection.reauth_required"]
    assert "expired" in said["reason"]
    assert world.reconnect()
    world.settle()
    assert [kind for kind, _ in told(world)][3:] == [REAUTH, RESTORED]


# --- D10: revoked ----------------------------------------------------------------------------------------------------


def test_d10_a_revoked_grant_stops_everything_until_somebody_signs_in(both: FaultyWorld) -> None:
    both.settle()
    kept, cursors, versions = both.kept(), both.cursors(), both.events()
    both.clock.advance(HOUR)
    both.simulator.office.revoke()
    both.mark()
    reports = []
    for _ in range(5):
        reports.append(both.cycle())
        both.town.run(Care(both.runtime).look())
        both.clock.advance(DAY)
        both.restart()
    assert {report.outcome for report in reports} == {"needs_reconnect"}
    assert (both.asked(), both.asked(TOKEN)) == (0, 1)
    assert stored(both).status == NEEDS_REAUTH
    assert (both.kept(), both.cursors(), both.events()) == (kept, cursors, versions)
    assert told(both) == [(REAUTH, None)]
    both.book("pay")
    assert both.reconnect()
    both.settle()
    assert told(both) == [(REAUTH, None), (RESTORED, None)]
    assert {key: times for key, times in both.events().items() if times > versions[key]} != {}
    assert both.simulator.violations == {}


def test_d10_one_that_is_refused_while_somebody_signs_in_does_not_undo_that(world: FaultyWorld) -> None:
    """The cycle began with the sign-in before: its refusal says nothing about the new one."""
    world.clock.advance(545)
    world.simulator.faults.add("current/Me", "status", status=401, times=2)
    tokens, linked = world.runtime.token_store, world.linked.id

    def meanwhile(body: bytes) -> bytes:
        world.clock.advance(1)
        now = world.clock.now()
        grant = Grant(
            access=Secret("access-of-the-new"),
            refresh=Secret("refresh-of-the-new"),
            granted_at=now,
            expires_at=now + timedelta(minutes=10),
            refresh_expires_at=None,
        )
        with world.store.write() as connection:
            tokens.link(connection, tokens.seal(linked, 0, grant))
        return body

    world.rewriter.body(TOKEN, meanwhile)
    assert world.cycle().outcome == "needs_reconnect"
    assert stored(world).status == LINKED
    assert told(world) == []
