"""Signing in, on both databases. D numbers: the fault catalogue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from connector.authorizer import Authorizer
from connector.errors import AuthRevoked, ConfigurationError, NeedsReconnect, SourceDown
from connector.store.authorizations import Authorizations
from connector.store.tokens import TokenStore
from tests.tokens import VAULT, Bench, Make, answers, oauth_app, refusal

REDIRECT = "https://connector.example/callback"

# For what does not depend on the kind of database.
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


def authorizer(b: Bench) -> Authorizer:
    app = oauth_app(b.url, authorize_params={"force_login": "1"}, refresh_token_days=30)
    return Authorizer(Authorizations(b.store, VAULT), TokenStore(b.store, VAULT), b.clock, lambda _: app)


async def begin(b: Bench) -> tuple[str, dict[str, str]]:
    """The state of a new sign-in and all its parameters; the person's code will be `good`."""
    url = await authorizer(b).begin(b.connection_id, REDIRECT)
    sent = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    b.fake.codes["a-good-code"] = sent["code_challenge"]
    return sent["state"], sent


async def test_a_sign_in_replaces_what_was_stored(bench: Make) -> None:
    async with bench() as b:
        state, sent = await begin(b)
        assert await authorizer(b).complete(state, code="a-good-code") == b.connection_id
        token = b.stored()
    assert sent | {"state": "", "code_challenge": ""} == {
        "response_type": "code",
        "client_id": "our-app",
        "redirect_uri": REDIRECT,
        "force_login": "1",
        "code_challenge_method": "S256",
        "state": "",
        "code_challenge": "",
    }
    assert len(state) >= 43
    assert b.fake.requests[0]["redirect_uri"] == REDIRECT
    assert (token.generation, token.access.reveal(), token.status) == (2, "access-token-2", "linked")


async def test_a_sign_in_heals_a_refused_connection(bench: Make) -> None:
    """D10."""
    async with bench(answers(refusal(400, "invalid_grant"))) as b:
        b.clock.advance(600)
        with pytest.raises(AuthRevoked):
            await b.manager().access_token()
        state, _ = await begin(b)
        await authorizer(b).complete(state, code="a-good-code")
        assert (await b.manager().access_token()).reveal() == "access-token-2"


async def replayed(b: Bench, state: str) -> None:
    await authorizer(b).complete(state, code="a-good-code")
    b.fake.codes["a-good-code"] = "x"
    await authorizer(b).complete(state, code="a-good-code")


async def reused_code(b: Bench, state: str) -> None:
    await authorizer(b).complete(state, code="a-good-code")
    state, _ = await begin(b)
    b.fake.codes.clear()
    await authorizer(b).complete(state, code="a-good-code")


async def expired(b: Bench, state: str) -> None:
    b.clock.advance(601)
    await authorizer(b).complete(state, code="a-good-code")


@pytest.mark.parametrize(
    ("attempt", "words", "generation"),
    [
        (lambda b, _: authorizer(b).complete("wrong", code="a-good-code"), "unknown, already used or older", 1),
        (lambda b, _: authorizer(b).complete("", code="a-good-code"), "unknown, already used or older", 1),
        (lambda b, _: authorizer(b).complete("\ud800", code="a-good-code"), "unknown, already used or older", 1),
        (lambda b, state: authorizer(b).complete(state, error="access_denied"), "access_denied", 1),
        (lambda b, state: authorizer(b).complete(state), "no code", 1),
        (lambda b, state: authorizer(b).complete(state, code="a-bad-code"), "bad code", 1),
        (expired, "unknown, already used or older", 1),
        (replayed, "unknown, already used or older", 2),
        (reused_code, "bad code", 2),
    ],
)
@on_sqlite
async def test_a_bad_callback_is_refused_and_stores_nothing(
    bench: Make, attempt: Callable[[Bench, str], Awaitable[Any]], words: str, generation: int
) -> None:
    """D12."""
    async with bench() as b:
        state, _ = await begin(b)
        with pytest.raises(NeedsReconnect, match=words):
            await attempt(b, state)
        assert b.stored().generation == generation


async def test_a_state_works_once_even_for_two_at_the_same_time(bench: Make) -> None:
    async with bench() as b:
        state, _ = await begin(b)
        results = await asyncio.gather(
            *(authorizer(b).complete(state, code="a-good-code") for _ in range(4)), return_exceptions=True
        )
    assert sorted(type(result).__name__ for result in results) == ["NeedsReconnect"] * 3 + ["int"]
    assert b.calls == 1


async def test_a_sign_in_leaves_no_state_and_no_verifier_in_the_clear(bench: Make) -> None:
    async with bench() as b:
        state, _ = await begin(b)
        with b.store.read() as connection:
            (row,) = connection.execute(sa.text("SELECT * FROM authorization_request")).all()
        await authorizer(b).complete(state, code="a-good-code")
        b.clock.advance(601)
        await begin(b)
        with b.store.read() as connection:
            assert len(connection.execute(sa.text("SELECT * FROM authorization_request")).all()) == 1
    stored = "".join(map(str, row))
    assert state not in stored
    assert b.fake.requests[0]["code_verifier"] not in stored


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (Response(status_code=500), SourceDown),
        (JSONResponse({"access_token": "a", "expires_in": 600}), SourceDown),
        (refusal(401, "invalid_client"), ConfigurationError),
    ],
)
@on_sqlite
async def test_an_exchange_that_fails_stores_nothing(bench: Make, response: Response, error: type[Exception]) -> None:
    async with bench(answers(response)) as b:
        state, _ = await begin(b)
        with pytest.raises(error):
            await authorizer(b).complete(state, code="a-good-code")
        assert b.stored().generation == 1
