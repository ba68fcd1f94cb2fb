"""What the answers of a token endpoint mean. D numbers: the fault catalogue."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from connector.errors import AuthRevoked, ConfigurationError, ConnectorError, NeedsReconnect, SourceDown, Throttled
from connector.secrets import Secret
from connector.store.tokens import Grant, TokenStore
from connector.vault import Undecipherable
from tests.clocks import ManualClock
from tests.servers import serve_raw
from tests.tokens import VAULT, Make, Misbehaviour, answers, link, refusal

# For what does not depend on the kind of database.
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


# --- a token endpoint that misbehaves -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response("gateway", status_code=500), SourceDown),
        (Response(status_code=503), SourceDown),
        (HTMLResponse("<html>maintenance"), SourceDown),
        (Response(b""), SourceDown),
        (Response(b'{"error": "\xff"}'), SourceDown),
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
        (refusal(401, "access_denied", "Rate limit exceeded"), SourceDown),
        (JSONResponse({"error": "x"}, 401, headers={"reason": "TooEarlyToRefreshTokens: wait"}), SourceDown),
        (refusal(400, "temporarily_unavailable"), SourceDown),
        (refusal(403, "server_error"), SourceDown),
        (JSONResponse({"error": {"code": 7}}, 400), SourceDown),
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
        assert token.reason in str(raised.value)
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


# --- refused --------------------------------------------------------------------------------------------------------


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
