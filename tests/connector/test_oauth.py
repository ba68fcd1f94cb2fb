"""Keeping tokens alive, on both databases. D numbers: the fault catalogue."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from connector.clock import SystemClock
from connector.errors import (
    AuthRevoked,
    ConfigurationError,
    ConnectorError,
    NeedsReconnect,
    SourceDown,
    StoreUnavailable,
    Throttled,
)
from connector.oauth import LEASE
from connector.secrets import Secret
from connector.store.engine import Store, open_store
from connector.store.tokens import Grant, TokenStore
from connector.vault import Undecipherable
from tests.clocks import ManualClock
from tests.servers import serve, serve_raw
from tests.tokens import VAULT, FakeTokens, Make, Misbehaviour, answers, link, manager, oauth_app, refusal, sign_in

ROOT = Path(__file__).parents[2]

# For what does not depend on the kind of database.
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


# --- the ordinary way ------------------------------------------------------------------------------------------------


async def test_a_young_token_is_used_and_an_old_one_replaced(bench: Make) -> None:
    async with bench(refresh_margin_s=30, refresh_token_days=30) as b:
        ours = b.manager()
        assert (await ours.access_token()).reveal() == "access-token-1"
        b.clock.advance(500)
        assert (await ours.access_token()).reveal() == "access-token-1"
        assert b.calls == 0
        b.clock.advance(80)
        assert (await ours.access_token()).reveal() == "access-token-2"
        assert (await ours.access_token()).reveal() == "access-token-2"
        token = b.stored()
    assert b.fake.requests == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-token-1",
            "client_id": "our-app",
            "client_secret": "our-app-secret",
        }
    ]
    assert (token.generation, token.refresh.reveal()) == (2, "refresh-token-2")
    assert token.expires_at == b.clock.now() + timedelta(seconds=600)
    assert token.refresh_expires_at == b.clock.now() + timedelta(days=30)
    assert token.intent_at is None
    assert token.lease_until is None


async def test_no_secret_is_stored_in_the_clear(bench: Make) -> None:
    async with bench() as b:
        b.clock.advance(600)
        await b.manager().access_token()
        with b.store.read() as connection:
            row = connection.execute(sa.text("SELECT * FROM token")).one()
    assert not any("-token-" in str(value) for value in row)


async def test_a_refused_token_is_replaced_once_and_only_if_it_is_the_stored_one(bench: Make) -> None:
    async with bench() as b:
        ours = b.manager()
        assert (await ours.access_token("access-token-1")).reveal() == "access-token-2"
        assert (await ours.access_token("access-token-1")).reveal() == "access-token-2"
        assert (await ours.access_token("never-seen")).reveal() == "access-token-2"
    assert b.calls == 1


async def test_a_missing_refresh_token_means_the_old_one_stays(bench: Make) -> None:
    async def without(_: Request) -> Response:
        return JSONResponse({"access_token": "access-token-9", "expires_in": 600})

    async with bench(without) as b:
        assert (await b.manager().access_token("access-token-1")).reveal() == "access-token-9"
        assert b.stored().refresh.reveal() == "refresh-token-1"


@on_sqlite
async def test_a_connection_that_was_never_linked_says_so(bench: Make) -> None:
    async with bench() as b:
        b.connection_id += 1
        with pytest.raises(NeedsReconnect, match="not linked yet"):
            await b.manager().access_token()


# --- when to refresh -------------------------------------------------------------------------------------------------


@on_sqlite
async def test_never_earlier_than_the_package_allows(bench: Make) -> None:
    """D8: two simulated hours of a call every few seconds, with the default margin."""
    async with bench(not_before_s=570) as b:
        ours = b.manager()
        started = b.clock.now()
        b.fake.granted_at = started
        while b.clock.now() - started < timedelta(hours=2):
            access = await ours.access_token()
            assert access.reveal() == b.fake.access
            assert b.clock.now() < b.stored().expires_at - timedelta(seconds=29)
            b.clock.advance(37)
    assert b.fake.violations == 0
    assert 11 <= b.calls <= 13


@on_sqlite
async def test_a_token_refused_too_early_waits_for_its_time(bench: Make) -> None:
    async with bench(not_before_s=570) as b:
        b.clock.advance(100)
        with pytest.raises(Throttled) as raised:
            await b.manager().access_token("access-token-1")
        assert raised.value.until == b.clock.now() + timedelta(seconds=470)
        assert b.calls == 0
        assert (await b.manager().access_token()).reveal() == "access-token-1"


@pytest.mark.parametrize("expires_in", [1, 20, "59"])
@on_sqlite
async def test_a_life_shorter_than_the_margin_makes_no_loop(bench: Make, expires_in: Any) -> None:
    """D7."""
    async with bench(expires_in=expires_in, refresh_margin_s=300) as b:
        ours = b.manager()
        b.clock.advance(600)
        for _ in range(5):
            await ours.access_token()
        assert b.calls == 1
        b.clock.advance(int(expires_in))
        await ours.access_token()
    assert b.calls == 2
    assert b.fake.rejected == 0


@pytest.mark.parametrize(
    ("expires_in", "life_s"), [("600", 600), (3600, 3600), (0, 300), (-1, 300), (1e9, 86400), ("x", 300), (None, 300)]
)
@on_sqlite
async def test_an_unbelievable_life_is_bounded(bench: Make, expires_in: Any, life_s: int) -> None:
    """D6: the grant itself is good, so it is kept."""
    async with bench(expires_in=expires_in) as b:
        await b.manager().access_token("access-token-1")
        assert b.stored().expires_at == b.clock.now() + timedelta(seconds=life_s)


@pytest.mark.parametrize("days", [40, 9])
@on_sqlite
async def test_an_idle_connection_is_kept_alive(bench: Make, days: int) -> None:
    """D9."""
    async with bench(refresh_token_days=30) as b:
        ours = b.manager()
        b.fake.granted_at = b.clock.now()
        used = 0
        for _ in range(days):
            b.clock.advance(86400)
            used += await ours.keep_alive()
        assert used == days // 11
        assert (await ours.access_token()).reveal() == b.fake.access


# --- one refresher ---------------------------------------------------------------------------------------------------


async def test_many_tasks_share_one_request(bench: Make) -> None:
    async with bench() as b:
        ours = b.manager()
        b.clock.advance(600)
        tokens = await asyncio.gather(*(ours.access_token() for _ in range(20)))
    assert {token.reveal() for token in tokens} == {"access-token-2"}
    assert b.calls == 1


async def test_two_managers_on_one_database_make_one_request(bench: Make) -> None:
    async with bench() as b:
        clock = SystemClock()
        link(b.store, clock.now() - timedelta(seconds=600))
        tokens = await asyncio.gather(*(b.manager(clock).access_token() for _ in range(4)))
    assert {token.reveal() for token in tokens} == {"access-token-2"}
    assert (b.calls, b.fake.rejected) == (1, 0)


async def test_processes_never_spend_a_token_twice(store_url: str, tmp_path: Path) -> None:
    """D1: each process finds its token refused, over and over; the single-use endpoint rejects nobody."""
    store = open_store(store_url)
    fake = FakeTokens()
    async with serve(fake.app()) as url:
        connection_id = link(store, SystemClock().now(), life_s=-1)
        arguments = [store_url, str(connection_id), url, str(tmp_path / "spill"), "4"]
        workers = [
            await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.tokens", *arguments, cwd=ROOT)
            for _ in range(4)
        ]
        assert [await worker.wait() for worker in workers] == [0] * 4
        token = TokenStore(store, VAULT).get(connection_id)
    store.close()
    assert fake.rejected == 0
    assert 4 <= len(fake.requests) <= 17
    assert token is not None
    assert (token.refresh.reveal(), token.generation) == (fake.refresh, fake.number)


@on_sqlite
async def test_a_cancelled_caller_does_not_lose_the_answer(bench: Make) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        asked.set()
        await answer.wait()
        return b.fake.grant()

    async with bench(slow) as b:
        ours = b.manager()
        b.clock.advance(600)
        caller = asyncio.create_task(ours.access_token())
        await asked.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        answer.set()
        await ours.settle()
        assert b.stored().refresh.reveal() == b.fake.refresh
        assert (await ours.access_token()).reveal() == b.fake.access
    assert b.calls == 1


# --- crashes ---------------------------------------------------------------------------------------------------------

KILLED_BEFORE_HTTP = """
import asyncio, os, signal, sys
import tests.tokens as t
from connector.token_endpoint import TokenEndpoint
async def die(self, token):
    os.kill(os.getpid(), signal.SIGKILL)
TokenEndpoint.refresh = die
asyncio.run(t.work(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], 1))
"""


async def test_killed_between_intent_and_request(store_url: str, tmp_path: Path) -> None:
    """D2: another process recovers once the lease has ended; nobody signs in again."""
    store, clock = open_store(store_url), ManualClock(SystemClock().now())
    fake = FakeTokens(clock=clock)
    async with serve(fake.app()) as url:
        connection_id = link(store, clock.now() - timedelta(seconds=600))
        victim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", KILLED_BEFORE_HTTP, store_url, str(connection_id), url, str(tmp_path)), cwd=ROOT
        )
        assert await victim.wait() == -signal.SIGKILL
        token = TokenStore(store, VAULT).get(connection_id)
        assert token is not None
        assert token.intent_at is not None
        ours = manager(store, connection_id, oauth_app(url), tmp_path, clock)
        assert (await ours.access_token()).reveal() == "access-token-2"
        assert clock.now() >= token.intent_at + LEASE
    store.close()
    assert (len(fake.requests), fake.rejected) == (1, 0)


async def test_killed_between_answer_and_commit(store_url: str, tmp_path: Path) -> None:
    """D3: the old token is tried once, then a person has to sign in; no storm."""
    store, clock = open_store(store_url), ManualClock(SystemClock().now())
    fake = FakeTokens(clock=clock)

    async def kill(_: Request) -> Response:
        answer = fake.grant()
        os.kill(victim.pid, signal.SIGKILL)
        await victim.wait()
        return answer

    fake.script.append(kill)
    async with serve(fake.app()) as url:
        connection_id = link(store, clock.now() - timedelta(seconds=600))
        victim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.tokens", store_url, str(connection_id), url, str(tmp_path), "1"), cwd=ROOT
        )
        assert await victim.wait() == -signal.SIGKILL
        ours = manager(store, connection_id, oauth_app(url), tmp_path, clock)
        with pytest.raises(AuthRevoked, match="Old refresh token used"):
            await ours.access_token()
        for _ in range(5):
            clock.advance(3600)
            with pytest.raises(NeedsReconnect, match="no longer accepts"):
                await ours.access_token()
    store.close()
    assert (len(fake.requests), fake.rejected) == (2, 1)


async def test_an_unknown_outcome_counts_as_a_grant_until_it_is_known(bench: Make) -> None:
    """A request whose answer was lost may have been granted: the 570 seconds count from it."""

    async def lost(_: Request) -> Response:
        return Response(status_code=500)

    async with bench(lost, not_before_s=570) as b:
        b.clock.advance(600)
        asked_at = b.clock.now()
        with pytest.raises(SourceDown, match="outcome is unknown"):
            await b.manager().access_token()
        assert b.stored().intent_at == asked_at
        with pytest.raises(Throttled) as raised:
            await b.manager().access_token()
        assert raised.value.until == asked_at + timedelta(seconds=570)
        b.clock.advance(570)
        assert (await b.manager().access_token()).reveal() == "access-token-2"
    assert b.calls == 2


# --- a database that does not take it --------------------------------------------------------------------------------


def forbid(database: Path, when: str) -> None:
    """Make writes to the token table fail, as a full or broken disk does."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            f"CREATE TRIGGER broken BEFORE UPDATE ON token WHEN {when} BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
    connection.close()


def allow(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER broken")
    connection.close()


@pytest.fixture
def database(store: Store) -> Path:
    return Path(store.engine.url.database or "")


@on_sqlite
async def test_a_database_that_takes_no_writes_costs_no_token(bench: Make, database: Path) -> None:
    """D4."""
    async with bench() as b:
        b.clock.advance(600)
        forbid(database, "true")
        with pytest.raises(sa.exc.DatabaseError):
            await b.manager().access_token()
        allow(database)
        assert b.calls == 0
        assert (await b.manager().access_token()).reveal() == "access-token-2"


@on_sqlite
async def test_a_locked_database_costs_no_token(bench: Make, database: Path) -> None:
    """D4."""
    async with bench() as b:
        b.clock.advance(600)
        b.store.engine.dispose()
        b.store.engine = open_impatient(database)
        with sqlite3.connect(database, isolation_level=None) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await b.manager().access_token()
            holder.execute("ROLLBACK")
        holder.close()
        assert b.calls == 0
        assert (await b.manager().access_token()).reveal() == "access-token-2"


def open_impatient(database: Path) -> sa.Engine:
    store = open_store(f"sqlite:///{database}")

    @sa.event.listens_for(store.engine, "checkout")
    def hurry(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout = 50")

    return store.engine


@pytest.mark.parametrize("restarted", [True, False])
@on_sqlite
async def test_a_grant_that_cannot_be_stored_is_put_aside(bench: Make, database: Path, restarted: bool) -> None:
    """D5: stored later from the spill, by this process or the next, without a second call."""
    async with bench() as b:
        b.clock.advance(600)
        ours = b.manager()
        forbid(database, "NEW.generation > OLD.generation")
        for _ in range(3):
            with pytest.raises(sa.exc.DatabaseError):
                await ours.access_token()
        (aside,) = b.spill.iterdir()
        assert aside.stat().st_mode & 0o777 == 0o600
        assert b.spill.stat().st_mode & 0o777 == 0o700
        assert b"-token-" not in aside.read_bytes()
        allow(database)
        b.clock.advance(60)
        ours = b.manager() if restarted else ours
        assert (await ours.access_token()).reveal() == "access-token-2"
        assert not list(b.spill.iterdir())
    assert b.calls == 1


@on_sqlite
async def test_without_database_and_spill_the_grant_lives_in_memory(bench: Make, database: Path) -> None:
    """D5."""
    async with bench() as b:
        b.spill.write_text("a file where the folder should be")
        b.clock.advance(600)
        ours = b.manager()
        forbid(database, "NEW.generation > OLD.generation")
        with pytest.raises(sa.exc.DatabaseError):
            await ours.access_token()
        allow(database)
        assert (await ours.access_token()).reveal() == "access-token-2"
    assert b.calls == 1


@on_sqlite
async def test_what_was_put_aside_never_replaces_something_newer(bench: Make, database: Path) -> None:
    async with bench() as b:
        b.clock.advance(600)
        forbid(database, "NEW.generation > OLD.generation")
        with pytest.raises(sa.exc.DatabaseError):
            await b.manager().access_token()
        allow(database)
        signed_in = Grant(
            access=Secret("access-token-new"),
            refresh=Secret("refresh-token-new"),
            granted_at=b.clock.now(),
            expires_at=b.clock.now() + timedelta(seconds=600),
            refresh_expires_at=None,
        )
        sign_in(b.store, b.connection_id, signed_in)
        assert (await b.manager().access_token()).reveal() == "access-token-new"
        assert not list(b.spill.iterdir())


# --- a token endpoint that misbehaves --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response("gateway", status_code=500), SourceDown),
        (Response(status_code=503), SourceDown),
        (HTMLResponse("<html>maintenance"), SourceDown),
        (Response(b""), SourceDown),
        (JSONResponse({}), SourceDown),
        (JSONResponse([]), SourceDown),
        (JSONResponse({"access_token": None, "expires_in": 600}), SourceDown),
        (JSONResponse({"access_token": "", "expires_in": 600}), SourceDown),
        (JSONResponse({"access_token": "a\r\nHost: evil", "expires_in": 600}), SourceDown),
        (JSONResponse({"access_token": 7, "expires_in": 600}), SourceDown),
        (JSONResponse({"access_token": "abc", "token_type": "mac"}), SourceDown),
        (JSONResponse({"error": "slow_down"}, 429), SourceDown),
        (JSONResponse({"error": "x"}, 429, headers={"retry-after": "300"}), SourceDown),
        (refusal(400, "access_denied", "Rate limit exceeded: access_token not expired"), SourceDown),
        (Response("moved", status_code=302, headers={"location": "https://evil.example/token"}), SourceDown),
        (Response("no such page", status_code=404), SourceDown),
        (Response("forbidden by a proxy", status_code=403), SourceDown),
        (refusal(401, "invalid_client"), ConfigurationError),
        (refusal(400, "invalid_request"), ConfigurationError),
        (Response(b"x" * 1_000_000), ConnectorError),
    ],
)
@on_sqlite
async def test_a_useless_answer_leaves_the_stored_token_alone(
    bench: Make, response: Response, error: type[Exception]
) -> None:
    """D6."""
    async with bench(answers(response)) as b:
        b.clock.advance(600)
        with pytest.raises(error) as raised:
            await b.manager().access_token()
        token = b.stored()
        assert (token.generation, token.status) == (1, "linked")
        assert (token.access.reveal(), token.refresh.reveal()) == ("access-token-1", "refresh-token-1")
        assert not isinstance(raised.value, NeedsReconnect)
        assert "-token-1" not in str(raised.value)
        assert getattr(raised.value, "where", "").startswith("acme: token endpoint 127.0.0.1")
        b.clock.advance(3600)
        assert (await b.manager().access_token()).reveal() == "access-token-2"
    assert b.calls == 2


@on_sqlite
async def test_a_failing_endpoint_is_asked_less_and_less_often(bench: Make) -> None:
    async with bench(*[answers(Response(status_code=500))] * 1000) as b:
        b.clock.advance(600)
        ours = b.manager()
        for _ in range(24 * 12):
            with pytest.raises(ConnectorError):
                await ours.access_token()
            b.clock.advance(300)
    assert b.calls <= 110


@on_sqlite
async def test_a_token_that_is_still_good_bridges_a_failing_endpoint(bench: Make) -> None:
    async with bench(answers(Response(status_code=500)), refresh_margin_s=300) as b:
        ours = b.manager()
        b.clock.advance(400)
        for _ in range(10):
            assert (await ours.access_token()).reveal() == "access-token-1"
        assert b.calls == 1
        b.clock.advance(60)
        assert (await ours.access_token()).reveal() == "access-token-2"


@on_sqlite
async def test_nobody_listening_is_certainly_not_sent(bench: Make) -> None:
    async with bench() as b:
        async with serve_raw(lambda *_: asyncio.sleep(0)) as nobody:
            pass
        b.clock.advance(600)
        right, b.url = b.url, nobody
        with pytest.raises(SourceDown, match="connection was refused"):
            await b.manager().access_token()
        assert b.stored().intent_at is None
        b.url = right
        b.clock.advance(15)
        assert (await b.manager().access_token()).reveal() == "access-token-2"


@on_sqlite
async def test_a_reset_after_sending_is_an_unknown_outcome(bench: Make) -> None:
    """D6."""

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with bench() as b, serve_raw(reset) as url:
        b.clock.advance(600)
        b.url = url
        with pytest.raises(SourceDown):
            await b.manager().access_token()
        assert b.stored().intent_at == b.clock.now()


async def test_a_refresh_token_that_comes_with_an_error_is_kept(bench: Make) -> None:
    async def rotated(_: Request) -> Response:
        b.fake.number += 1
        return JSONResponse({"error": "rate_limit", "refresh_token": b.fake.refresh}, 400)

    async with bench(rotated) as b:
        b.clock.advance(600)
        with pytest.raises(Throttled):
            await b.manager().access_token()
        assert b.stored().refresh.reveal() == "refresh-token-2"
        b.clock.advance(60)
        assert (await b.manager().access_token()).reveal() == "access-token-3"
    assert (b.calls, b.fake.rejected) == (2, 0)


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        refusal(401, "unauthorized_client", "Old refresh token used."),
        refusal(400, "invalid_request", "The refresh token expired at 11/3/2021 2:50:46 PM"),
        refusal(400, "invalid_grant", "Token is not allowed, because of invalid or empty chainId"),
    ],
)
@on_sqlite
async def test_a_refusal_is_final_until_a_person_signs_in(bench: Make, response: Response) -> None:
    """D10."""
    async with bench(*[answers(response)] * 3) as b:
        b.clock.advance(600)
        with pytest.raises(AuthRevoked):
            await b.manager().access_token()
        assert b.stored().status == "needs_reauth"
        with pytest.raises(NeedsReconnect, match="no longer accepts"):
            await b.manager().access_token("access-token-1")
    assert b.calls == 1


async def test_a_refusal_is_forgiven_when_another_process_won(bench: Make) -> None:
    """The second look, five seconds later, finds the winner's token."""

    @dataclass
    class Interrupted:
        clock: ManualClock
        happens: Callable[[], None]

        def now(self) -> datetime:
            return self.clock.now()

        def monotonic(self) -> float:
            return self.clock.monotonic()

        async def sleep(self, seconds: float) -> None:
            await self.clock.sleep(seconds)
            if seconds == 5:
                self.happens()

    async with bench(answers(refusal(401, "unauthorized_client", "Old refresh token used."))) as b:
        b.clock.advance(600)
        tokens = TokenStore(b.store, VAULT)

        def win() -> None:
            grant = Grant(
                access=Secret("access-of-the-winner"),
                refresh=Secret("refresh-of-the-winner"),
                granted_at=b.clock.now(),
                expires_at=b.clock.now() + timedelta(seconds=600),
                refresh_expires_at=None,
            )
            assert tokens.replace(tokens.seal(b.connection_id, 1, grant))

        access = await b.manager(Interrupted(b.clock, win)).access_token()
    assert access.reveal() == "access-of-the-winner"
    assert b.calls == 1


async def test_a_damaged_row_stops_that_connection_and_is_left_alone(bench: Make) -> None:
    """D14: the ciphertext of another connection."""
    async with bench() as b:
        other = link(b.store, b.clock.now(), name="other")
        with b.store.write() as connection:
            connection.execute(
                sa.text(
                    "UPDATE token SET refresh_ct = (SELECT refresh_ct FROM token WHERE connection_id = :other)"
                    " WHERE connection_id = :ours"
                ),
                {"other": other, "ours": b.connection_id},
            )
            before = connection.execute(sa.text("SELECT * FROM token ORDER BY connection_id")).all()
        b.clock.advance(600)
        with pytest.raises(Undecipherable):
            await b.manager().access_token()
        with b.store.read() as connection:
            assert connection.execute(sa.text("SELECT * FROM token ORDER BY connection_id")).all() == before
    assert b.calls == 0


@on_sqlite
async def test_nothing_secret_is_logged(bench: Make) -> None:
    """D15."""
    failures: list[Misbehaviour] = [
        answers(Response(status_code=500)),
        answers(JSONResponse({"error": "x", "error_description": "bad refresh-token-1"}, 429)),
        answers(refusal(400, "invalid_grant", "refresh-token-1 is gone")),
    ]
    async with bench(*failures) as b:
        with structlog.testing.capture_logs() as logs:
            for _ in failures:
                b.clock.advance(3600)
                with pytest.raises(ConnectorError) as raised:
                    await b.manager().access_token()
                assert "-token-1" not in str(raised.value)
    assert len(logs) == 2
    assert "-token-1" not in str(logs)


def test_the_http_stack_is_the_one_we_pinned() -> None:
    """Authlib swaps in another HTTP library where one is installed; none of its clients is loaded."""
    assert not [name for name in sys.modules if name.startswith(("authlib.integrations", "httpx2"))]
    assert httpx.__version__.startswith("0.28.")
