"""Beginning a sign-in and exchanging its code, on both databases. D numbers: the fault catalogue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from connector.authorizer import Answer, Authorizer, Declined, NotTaken, SignInFailed
from connector.errors import ConfigurationError, SourceDown
from connector.secrets import Secret
from connector.store.authorizations import KEPT, Authorizations, Rejected
from connector.store.tokens import Grant
from tests.tokens import VAULT, Bench, Make, answers, oauth_app, refusal

REDIRECT = "https://connector.example/callback"
SESSION = Secret("the cookie of one browser")
GOOD = Secret("a-good-code")

# For what does not depend on the kind of database.
on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


def authorizer(b: Bench) -> Authorizer:
    app = oauth_app(b.url, authorize_params={"force_login": "1"}, refresh_token_days=30)
    return Authorizer(Authorizations(b.store, VAULT), b.clock, lambda _: app)


async def begin(b: Bench, invitation: str | None = "an invitation") -> tuple[str, dict[str, str]]:
    """The state of a new sign-in and all its parameters; the person's code will be `GOOD`."""
    url = await authorizer(b).begin(b.connection_id, REDIRECT, session=SESSION, invitation=invitation)
    sent = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    b.fake.codes[GOOD.reveal()] = sent["code_challenge"]
    return sent["state"], sent


async def finish(b: Bench, answer: Answer, session: Secret = SESSION) -> Grant:
    started = await authorizer(b).claim(answer.state, session.reveal())
    assert started.connection_id == b.connection_id
    return await authorizer(b).exchange(started, answer)


async def test_a_sign_in_brings_tokens_and_stores_none(bench: Make) -> None:
    async with bench() as b:
        state, sent = await begin(b)
        grant = await finish(b, Answer(state=state, code=GOOD))
        assert b.stored().generation == 1
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
    assert grant.access
    assert grant.access.reveal() == "access-token-2"


async def test_without_pkce_where_the_package_has_none(bench: Make) -> None:
    async with bench() as b:
        app = oauth_app(b.url, pkce=False)
        plain = Authorizer(Authorizations(b.store, VAULT), b.clock, lambda _: app)
        assert "code_challenge" not in await plain.begin(b.connection_id, REDIRECT, session=SESSION)


async def replayed(b: Bench, state: str) -> None:
    await finish(b, Answer(state=state, code=GOOD))
    b.fake.codes[GOOD.reveal()] = "x"
    await finish(b, Answer(state=state, code=GOOD))


async def reused_code(b: Bench, state: str) -> None:
    await finish(b, Answer(state=state, code=GOOD))
    state, _ = await begin(b)
    b.fake.codes.clear()
    await finish(b, Answer(state=state, code=GOOD))


async def expired(b: Bench, state: str) -> None:
    b.clock.advance(601)
    await finish(b, Answer(state=state, code=GOOD))


async def other_browser(b: Bench, state: str) -> None:
    await finish(b, Answer(state=state, code=GOOD), Secret("another browser"))


@pytest.mark.parametrize(
    ("attempt", "error", "words"),
    [
        (lambda b, _: finish(b, Answer(state="wrong", code=GOOD)), NotTaken, "no sign-in has this state"),
        (lambda b, _: finish(b, Answer(state="", code=GOOD)), NotTaken, "no sign-in has this state"),
        (lambda b, _: finish(b, Answer(state="\ud800", code=GOOD)), NotTaken, "no sign-in has this state"),
        (lambda b, state: finish(b, Answer(state=state, error="access_denied")), Declined, "not granted"),
        (lambda b, state: finish(b, Answer(state=state, code=GOOD, error="server_error")), SignInFailed, "server_er"),
        (lambda b, state: finish(b, Answer(state=state)), SignInFailed, "no code"),
        (lambda b, state: finish(b, Answer(state=state, code=Secret("a-bad-code"))), SignInFailed, "bad code"),
        (expired, NotTaken, "too old"),
        (other_browser, NotTaken, "another browser"),
        (replayed, NotTaken, "was used"),
        (reused_code, SignInFailed, "bad code"),
    ],
)
@on_sqlite
async def test_a_bad_answer_is_refused(
    bench: Make, attempt: Callable[[Bench, str], Awaitable[Any]], error: type[Exception], words: str
) -> None:
    """D12."""
    async with bench() as b:
        state, _ = await begin(b)
        with pytest.raises(error, match=words):
            await attempt(b, state)
        assert b.stored().generation == 1


@on_sqlite
async def test_what_another_browser_brings_uses_nothing_up(bench: Make) -> None:
    """D12: a state that leaked does not keep its owner from finishing."""
    async with bench() as b:
        state, _ = await begin(b)
        with pytest.raises(NotTaken) as raised:
            await other_browser(b, state)
        assert raised.value.reason is Rejected.OTHER_SESSION
        assert b.calls == 0
        assert (await finish(b, Answer(state=state, code=GOOD))).access


@on_sqlite
async def test_a_browser_is_told_when_a_terminal_waits_for_it(bench: Make) -> None:
    async with bench() as b:
        state, _ = await begin(b, invitation=None)
        with pytest.raises(NotTaken) as raised:
            await other_browser(b, state)
        assert raised.value.reason is Rejected.TERMINAL


async def test_a_state_works_once_even_for_two_at_the_same_time(bench: Make) -> None:
    async with bench() as b:
        state, _ = await begin(b)
        answer = Answer(state=state, code=GOOD)
        results = await asyncio.gather(*(finish(b, answer) for _ in range(4)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Grant", "NotTaken", "NotTaken", "NotTaken"]
    assert b.calls == 1


async def test_no_state_session_or_verifier_is_stored_in_the_clear(bench: Make) -> None:
    async with bench() as b:
        state, _ = await begin(b)
        with b.store.read() as connection:
            (row,) = connection.execute(sa.text("SELECT * FROM authorization_request")).all()
        await finish(b, Answer(state=state, code=GOOD))
        b.clock.advance(600 + KEPT.total_seconds())
        await begin(b)
        with b.store.read() as connection:
            assert len(connection.execute(sa.text("SELECT * FROM authorization_request")).all()) == 1
    stored = "".join(map(str, row))
    assert state not in stored
    assert SESSION.reveal() not in stored
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
async def test_an_exchange_that_fails_is_not_tried_again(
    bench: Make, response: Response, error: type[Exception]
) -> None:
    async with bench(answers(response)) as b:
        state, _ = await begin(b)
        with pytest.raises(error):
            await finish(b, Answer(state=state, code=GOOD))
        with pytest.raises(NotTaken):
            await finish(b, Answer(state=state, code=GOOD))
        assert b.calls == 1
