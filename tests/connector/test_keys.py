"""Packages that work with a key instead of a sign-in page: its token request, its clean-up, and whose fault a no is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connector.adapter import KeyGrant, OAuth
from connector.errors import AuthRevoked, ConfigurationError, PermissionLost, Throttled
from connector.http import Circuit, Client, Refusal
from connector.linking import clean
from connector.secrets import Secret
from connector.token_endpoint import Granted, OAuthApp, Refused, TokenEndpoint
from tests.clocks import ManualClock
from tests.servers import serve

KEY = Secret("a/long+key==")
APP_SECRET = Secret("the-secret-of-our-app")


class Door:
    """A token endpoint that knows one key, and a resource that answers as told."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.asked: list[Request] = []
        self.answers: list[Response] = []
        self.app = Starlette(
            routes=[Route("/token", self.token, methods=["POST"]), Route("/books", self.books, methods=["GET"])]
        )

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.forms.append(form)
        if form.get("clientkey") != KEY.reveal():
            return JSONResponse({"error": "The clientkey is not valid."}, 400)
        return JSONResponse({"access_token": f"minted-{len(self.forms)}", "token_type": "bearer", "expires_in": 3599})

    async def books(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answers.pop(0)


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[tuple[TokenEndpoint, Client, ManualClock, str]]:
    clock = ManualClock()
    async with serve(door.app) as url:
        key = KeyGrant(label="key", where="in the package", form=lambda key: {"grant_type": "key", "clientkey": key})
        app = OAuthApp(oauth=OAuth(token_url=f"{url}/token", key=key), client_id="us", client_secret=APP_SECRET)

        async def authorize(refused: str | None) -> Secret:
            return Secret("the-second-token" if refused else "the-first-token")

        client = Client(
            "acme",
            origins=[url],
            budget=Unlimited(),
            circuit=Circuit(clock),
            clock=clock,
            authorize=authorize,
            headers={"X-App-Key": APP_SECRET},
            refusal=refusal,
        )
        async with client:
            yield TokenEndpoint("acme", app, clock), client, clock, f"{url}/books"


class Unlimited:
    async def acquire(self) -> None:
        return None

    async def told(self, status: int, headers: object) -> None:
        return None


def refusal(status: int, said: str) -> Refusal | None:
    if status == 401 and "app key" in said:
        return Refusal(app=True)
    return Refusal(wait_s=90) if status == 403 and said.startswith("Out of quota") else None


async def test_the_key_takes_the_place_of_the_refresh_token_and_our_secret_is_not_sent_along() -> None:
    door = Door()
    async with opened(door) as (endpoint, *_):
        granted = await endpoint.refresh(KEY)
        refused = await endpoint.refresh(Secret("another-key"))
    assert isinstance(granted, Granted)
    assert granted.grant.access is not None
    assert (granted.grant.access.reveal(), granted.grant.refresh) == ("minted-1", None)
    assert door.forms[0] == {"grant_type": "key", "clientkey": KEY.reveal()}
    assert isinstance(refused, Refused)
    assert "not valid" in refused.reason


async def test_our_own_registration_is_refused_after_one_call_and_no_client_is_blamed() -> None:
    door = Door()
    door.answers = [JSONResponse({"message": "invalid app key"}, 401)]
    async with opened(door) as (_, client, _, books):
        with pytest.raises(ConfigurationError, match="our own registration") as refused:
            await client.get(books)
    assert len(door.asked) == 1
    assert door.asked[0].headers["x-app-key"] == APP_SECRET.reveal()
    assert APP_SECRET.reveal() not in str(refused.value)


async def test_a_quota_is_a_limit_and_not_a_lost_right() -> None:
    door = Door()
    door.answers = [Response("Out of quota", 403), Response("You may not", 403)]
    async with opened(door) as (_, client, clock, books):
        with pytest.raises(Throttled) as throttled:
            await client.get(books)
        assert throttled.value.until == clock.now() + timedelta(seconds=90)
        with pytest.raises(PermissionLost, match="You may not"):
            await client.get(books)


async def test_any_other_401_is_met_with_a_newer_token_once() -> None:
    door = Door()
    door.answers = [Response("expired", 401), Response("[]", 200), Response("no", 401), Response("no", 401)]
    async with opened(door) as (_, client, _, books):
        await client.get(books)
        tokens = [request.headers["authorization"] for request in door.asked]
        assert tokens == ["Bearer the-first-token", "Bearer the-second-token"]
        with pytest.raises(AuthRevoked):
            await client.get(books)
    assert len(door.asked) == 4


@given(
    st.text(alphabet="ABCdef012+/=", min_size=1), st.sampled_from(['"{}"', "'{}'", " {}\n", "{}\\n", '"{}\\n"', "{}"])
)
def test_what_people_paste_along_with_a_key_is_dropped(key: str, pasted: str) -> None:
    assert clean(pasted.format(key)) == key
