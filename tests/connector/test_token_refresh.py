"""When a token is refreshed, and by whom: once, on both databases. D numbers: the fault catalogue."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connector.clock import SystemClock
from connector.errors import NeedsReconnect, Throttled
from connector.store.engine import open_store
from connector.store.tokens import TokenStore
from tests.faults.fleet import CONTEXT
from tests.servers import serve
from tests.tokens import VAULT, FakeTokens, Make, link, work

# For what does not depend on the kind of database.
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


# --- the ordinary way -----------------------------------------------------------------------------------------------


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


async def test_a_cycle_reads_the_token_once_and_another_process_is_heard_soon(bench: Make) -> None:
    async with bench() as b:
        ours, theirs = b.manager(), b.manager()
        reads: list[str] = []
        sa.event.listen(b.store.engine, "after_cursor_execute", lambda *call: reads.append(call[2]))
        for _ in range(14):
            assert (await ours.access_token()).reveal() == "access-token-1"
        assert sum("FROM token" in one for one in reads) == 1
        assert (await theirs.access_token(refused="access-token-1")).reveal() == "access-token-2"
        assert (await ours.access_token(refused="access-token-1")).reveal() == "access-token-2", "at once, when refused"
        assert (await theirs.access_token(refused="access-token-2")).reveal() == "access-token-3"
        assert (await ours.access_token()).reveal() == "access-token-2"
        b.clock.advance(21)
        assert (await ours.access_token()).reveal() == "access-token-3"


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


# --- when to refresh ------------------------------------------------------------------------------------------------


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


@on_sqlite
async def test_the_requests_a_day_are_kept_and_some_are_left_for_people(bench: Make) -> None:
    """A new token every ten minutes would need 144 of them; of 20 a tenth stays for those who sign in."""
    async with bench(expires_in=60, token_calls_per_day=20) as b:
        ours, began, calls = b.manager(), b.clock.now(), []
        for day in range(2):
            while b.clock.now().date() == began.date() + timedelta(days=day):
                with contextlib.suppress(Throttled):
                    await ours.access_token()
                b.clock.advance(600)
            calls.append(b.calls)
        b.clock.advance(-600)
        with pytest.raises(Throttled, match="before 00:00:00 UTC"):
            await ours.access_token()
    assert calls == [17, 17 + 18], "the sign-in of the first day was one"


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


# --- one refresher --------------------------------------------------------------------------------------------------


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
        arguments = (store_url, connection_id, url, str(tmp_path / "spill"), 4)
        workers = [CONTEXT.Process(target=work, args=arguments) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            await asyncio.to_thread(worker.join)
        assert [worker.exitcode for worker in workers] == [0] * 4
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
