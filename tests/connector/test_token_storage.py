"""Tokens that cannot be stored, or whose fate nobody knows. D numbers: the fault catalogue."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from connector.errors import SourceDown, StoreUnavailable, Throttled
from connector.oauth import LEASE
from connector.secrets import Secret
from connector.store.engine import Store, open_store
from connector.store.spill import Spill
from connector.store.tokens import Grant, SealedGrant, TokenStore
from tests.tokens import VAULT, Make, sign_in

# For what does not depend on the kind of database.
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


# --- what nobody knows ----------------------------------------------------------------------------------------------


async def test_whoever_holds_the_lease_is_waited_for_but_not_longer_than_it_lasts(bench: Make) -> None:
    """D2: its holder is dead; the same call goes on by itself, and nobody signs in again."""
    async with bench() as b:
        b.clock.advance(600)
        tokens, began = TokenStore(b.store, VAULT), b.clock.now()
        assert tokens.claim(b.stored(), "one that died", began, began + LEASE)
        assert not tokens.claim(b.stored(), "another", began, began + LEASE)
        assert (await b.manager().access_token()).reveal() == "access-token-2"
        assert LEASE <= b.clock.now() - began < LEASE * 1.2
    assert b.calls == 1


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


# --- a database that does not take it -------------------------------------------------------------------------------


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


def sealed_grant(generation: int) -> SealedGrant:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return SealedGrant(
        connection_id=7,
        generation=generation,
        access_ct="a",
        refresh_ct="r",
        granted_at=at,
        expires_at=at,
        refresh_expires_at=None,
    )


def test_the_first_folder_that_takes_a_grant_gets_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    spill = Spill(first, second)
    assert spill.hindrance() is None
    sealed = [sealed_grant(1), sealed_grant(2)]
    spill.write(sealed[1])
    first.rename(tmp_path / "unmounted")
    first.touch()
    spill.write(sealed[0])
    assert spill.hindrance() is None
    assert [path.name for path in second.iterdir()] == ["token-7-1.json"]
    first.unlink()
    (tmp_path / "unmounted").rename(first)
    assert (spill.read(7), spill.read(8), spill.connections()) == (sealed, [], {7})
    for one in sealed:
        spill.remove(one)
    assert spill.connections() == set()


def test_without_any_folder_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spill = Spill(tmp_path / "file", tmp_path / "file" / "inside")
    assert spill.hindrance() == f"{tmp_path}/file: File exists; {tmp_path}/file/inside: Not a directory"
    with pytest.raises(OSError, match="Not a directory"):
        spill.write(sealed_grant(1))


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
