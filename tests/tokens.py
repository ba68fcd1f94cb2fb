"""A package's token endpoint with single-use refresh tokens, and what a token manager needs to talk to it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connector.adapter import OAuth
from connector.clock import Clock, SystemClock
from connector.oauth import TokenManager
from connector.secrets import Secret
from connector.store import connections
from connector.store.engine import Store, open_store
from connector.store.spill import Spill
from connector.store.tokens import Grant, StoredToken, TokenStore
from connector.token_endpoint import OAuthApp
from tests.clocks import ManualClock
from tests.vaults import VAULT

Misbehaviour = Callable[[Request], Awaitable[Response]]


@dataclass
class FakeTokens:
    """Grants rotate, the old refresh token is dead at once, and a grant too soon after the last is a violation."""

    clock: Clock = field(default_factory=SystemClock)
    expires_in: Any = "600"
    not_before_s: int = 0
    idle_days: int = 30
    number: int = 1
    granted_at: datetime | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    rejected: int = 0
    violations: int = 0
    script: list[Misbehaviour] = field(default_factory=list)
    """Answers to give instead, first one first."""
    codes: dict[str, str] = field(default_factory=dict)
    """Valid codes, each with the PKCE challenge of its sign-in."""

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/token", self.token, methods=["POST"])])

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.requests.append(form)
        if self.script:
            return await self.script.pop(0)(request)
        return self.answer(form)

    def answer(self, form: dict[str, str]) -> Response:
        if (form.get("client_id"), form.get("client_secret")) != ("our-app", "our-app-secret"):
            return refusal(401, "invalid_client")
        if form["grant_type"] == "authorization_code":
            challenge = self.codes.pop(form["code"], "")
            right = challenge == create_s256_code_challenge(form["code_verifier"])
            return self.grant() if right else refusal(400, "invalid_grant", "bad code")
        age = None if self.granted_at is None else self.clock.now() - self.granted_at
        if form["refresh_token"] != self.refresh:
            self.rejected += 1
            return refusal(401, "unauthorized_client", "Old refresh token used.")
        if age is not None and age > timedelta(days=self.idle_days):
            return refusal(400, "invalid_request", "The refresh token expired.")
        if age is not None and age < timedelta(seconds=self.not_before_s):
            self.violations += 1
            return refusal(400, "access_denied", "Rate limit exceeded: access_token not expired")
        return self.grant()

    def grant(self) -> Response:
        self.number += 1
        self.granted_at = self.clock.now()
        return JSONResponse(
            {
                "access_token": self.access,
                "token_type": "bearer",
                "expires_in": self.expires_in,
                "refresh_token": self.refresh,
            }
        )

    @property
    def access(self) -> str:
        return f"access-token-{self.number}"

    @property
    def refresh(self) -> str:
        return f"refresh-token-{self.number}"


def refusal(status: int, error: str, description: str = "") -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)


def oauth_app(url: str, **rules: Any) -> OAuthApp:
    oauth = OAuth(authorize_url=f"{url}/auth", token_url=f"{url}/token", **rules)
    return OAuthApp(oauth=oauth, client_id="our-app", client_secret=Secret("our-app-secret"))


def link(store: Store, now: datetime, *, name: str = "acme", life_s: int = 600, refresh_days: int | None = None) -> int:
    """A connection that was linked just now; gives its id."""
    linked = connections.register(store, name=name, package="books", administration="1", destination="backend", now=now)
    grant = Grant(
        access=Secret("access-token-1"),
        refresh=Secret("refresh-token-1"),
        granted_at=now,
        expires_at=now + timedelta(seconds=life_s),
        refresh_expires_at=None if refresh_days is None else now + timedelta(days=refresh_days),
    )
    sign_in(store, linked.id, grant)
    return linked.id


def sign_in(store: Store, connection_id: int, grant: Grant) -> None:
    """Put these tokens over whatever is stored."""
    tokens = TokenStore(store, VAULT)
    sealed = tokens.seal(connection_id, 0, grant)
    with store.write() as connection:
        tokens.link(connection, sealed)


def manager(store: Store, connection_id: int, app: OAuthApp, spill: Path, clock: Clock | None = None) -> TokenManager:
    return TokenManager(
        "acme",
        connection_id,
        app,
        tokens=TokenStore(store, VAULT),
        spill=Spill(spill),
        clock=clock or SystemClock(),
    )


def work(database: str, connection_id: int, url: str, spill: str, rounds: int) -> None:
    """A process: use the token, find it refused, and ask for another, again and again."""

    async def live() -> None:
        ours = manager(store, connection_id, oauth_app(url), Path(spill))
        for _ in range(rounds):
            used = await ours.access_token()
            await ours.access_token(used.reveal())

    store = open_store(database, migrate=False)
    asyncio.run(live())
    store.close()


@dataclass
class Bench:
    """One linked connection, its package and its manager."""

    store: Store
    clock: ManualClock
    fake: FakeTokens
    url: str
    connection_id: int
    spill: Path
    rules: dict[str, Any]

    def manager(self, clock: Clock | None = None) -> TokenManager:
        """A new one, as after a restart."""
        app = oauth_app(self.url, **self.rules)
        return manager(self.store, self.connection_id, app, self.spill, clock or self.clock)

    @property
    def tokens(self) -> TokenStore:
        return TokenStore(self.store, VAULT)

    def stored(self) -> StoredToken:
        token = self.tokens.get(self.connection_id)
        assert token is not None
        return token

    @property
    def calls(self) -> int:
        return len(self.fake.requests)


Make = Callable[..., AbstractAsyncContextManager[Bench]]


def answers(response: Response) -> Misbehaviour:
    async def answer(_: Request) -> Response:
        return response

    return answer
