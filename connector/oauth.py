"""Keeping a package's tokens alive: one refresher per connection, across processes.

A refresh token works once. So the intent to spend it is committed before the request, its successor is committed
before anybody uses it, and the successor replaces exactly the generation it came from. What remains is a crash between
the package's rotation and our commit: it is noticed, tried once more, and ends in a clear "sign in again".
"""

import asyncio
import secrets
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog

from connector.clock import FAR, Clock
from connector.errors import AuthRevoked, ConnectorError, NeedsReconnect, Throttled
from connector.failpoints import failpoint
from connector.network import WAIT
from connector.secrets import Secret
from connector.store.spill import Spill
from connector.store.tokens import NEEDS_REAUTH, SealedGrant, StoredToken, TokenStore
from connector.token_endpoint import Granted, NotSpent, OAuthApp, Refused, TokenEndpoint, Unknown

LEASE: Final = timedelta(seconds=150)
"""Longer than a token request and the commit of its answer may take."""

RESERVE: Final = 0.1
"""The share of the package's token requests a day that is left to people who sign in."""

_RECENT_S: Final = 20.0
"""How long a token is used without looking whether another process stored a newer one, or lost it."""
_POLL_S: Final = 0.25
_LONGEST_POLL_S: Final = 10.0
_PATIENCE_S: Final = 30.0
_SECOND_LOOK_S: Final = 5.0
_SLACK_S: Final = 30.0
_RECONNECT: Final = "sign in to the package again with `connector connect`"

_log = structlog.get_logger()


class TokenManager:
    """The only user of one connection's refresh token. `access_token` is what `http.Client` takes as `authorize`."""

    def __init__(
        self,
        name: str,
        connection_id: int,
        app: OAuthApp,
        *,
        tokens: TokenStore,
        spill: Spill,
        clock: Clock,
        endpoint: TokenEndpoint | None = None,
    ) -> None:
        self._name = name
        self._connection_id = connection_id
        self._oauth = app.oauth
        self._tokens = tokens
        self._spill = spill
        self._clock = clock
        self._endpoint = endpoint or TokenEndpoint(name, app, clock)
        self._flight: asyncio.Task[Secret] | None = None
        self._unsaved: SealedGrant | None = None
        self._recent: StoredToken | None = None
        self._read_at = 0.0

    async def access_token(self, refused: str | None = None) -> Secret:
        """An access token that outlasts a request; a newer one when `refused` is the stored one.

        Raises:
            NeedsReconnect: never linked, or the grant is gone (AuthRevoked when the package just said so).
            Throttled: the package does not allow a refresh yet.
            SourceDown, StoreUnavailable, ConfigurationError: no token now; the stored one is untouched.
        """
        token = self._recent if refused is None else None
        if token is None or self._due(token, None) or self._clock.monotonic() - self._read_at > _RECENT_S:
            token = await asyncio.to_thread(self._read)
            self._recent, self._read_at = token, self._clock.monotonic()
        if not self._due(token, refused):
            return token.access
        self._recent = None
        if self._flight is None or self._flight.done():
            # A task of its own: a caller that is cancelled must not take the answer down with it.
            self._flight = asyncio.create_task(self._renew(refused))
            self._flight.add_done_callback(lambda flight: flight.cancelled() or flight.exception())
        access = await asyncio.shield(self._flight)
        if access.reveal() == refused:
            raise self._not_yet(self._clock.now() + timedelta(seconds=_PATIENCE_S))
        return access

    async def keep_alive(self) -> bool:
        """Use a refresh token that nobody used for long (`SignIn.keep_alive_at`), so that it does not die.

        True when it was used, whatever for. Raises what `access_token` raises.
        """
        token = await asyncio.to_thread(self._read)
        if token.keep_alive_at is None or self._clock.now() < token.keep_alive_at:
            return False
        await self.access_token()
        return True

    async def settle(self) -> None:
        """Wait for a request under way: call it before the program ends."""
        if self._flight is not None:
            await asyncio.wait([self._flight])

    def _read(self) -> StoredToken:
        """The stored token, after every grant that could not be stored earlier."""
        unsaved = self._unsaved
        for sealed in (*([unsaved] if unsaved else []), *self._spill.read(self._connection_id)):
            self._tokens.replace(sealed)
            self._spill.remove(sealed)
        if self._unsaved is unsaved:
            self._unsaved = None
        token = self._tokens.get(self._connection_id)
        if token is not None and token.noted_at > (now := self._clock.now()) + FAR:
            self._tokens.set_back(token, now)
            token = self._tokens.get(self._connection_id)
        if token is None:
            raise NeedsReconnect("the connection is not linked yet", where=self._name, fix=_RECONNECT)
        if token.status == NEEDS_REAUTH:
            raise NeedsReconnect(
                f"the package no longer accepts the sign-in: {token.reason}", where=self._name, fix=_RECONNECT
            )
        return token

    def _due(self, token: StoredToken, refused: str | None) -> bool:
        if token.access.reveal() == refused:
            return True
        # Connections spread their refreshes by up to a fifth; the same token always gives the same moment.
        spread = 0.8 + 0.4 * token.share
        margin = timedelta(seconds=min(self._oauth.refresh_margin_s * spread, _life_s(token) / 2))
        due_at = min(max(token.expires_at - margin, self._opens_at(token)), _usable_until(token))
        return self._clock.now() >= due_at

    def _opens_at(self, token: StoredToken) -> datetime:
        """When the package allows the next refresh; a request of unknown outcome may have been a grant."""
        granted_at = max(token.refreshed_at, token.intent_at or token.refreshed_at)
        opens_at = granted_at + timedelta(seconds=self._oauth.refresh_not_before_s)
        a_day = self._oauth.token_calls_per_day
        if a_day is not None and token.calls >= a_day * (1 - RESERVE):
            next_day = datetime.combine(token.calls_on + timedelta(days=1), time(), UTC)
            opens_at = max(opens_at, next_day)
        return max(opens_at, token.retry_at or opens_at)

    async def _renew(self, refused: str | None) -> Secret:
        poll_s = _POLL_S
        while True:
            token = await asyncio.to_thread(self._read)
            if not self._due(token, refused):
                return token.access
            outcome = await self._advance(token)
            if isinstance(outcome, Secret):
                return outcome
            if outcome != 0 and token.access.reveal() != refused and self._clock.now() < _usable_until(token):
                return token.access
            if isinstance(outcome, ConnectorError):
                raise outcome
            await self._clock.sleep(poll_s if outcome is None else outcome)
            poll_s = min(poll_s * 2, _LONGEST_POLL_S)

    async def _advance(self, token: StoredToken) -> Secret | ConnectorError | float | None:
        """The new access token, or why there is none, or the seconds after which to look again.

        None: somebody else is at it.
        """
        now = self._clock.now()
        if token.lease_until is not None and now < token.lease_until <= now + FAR:
            return None
        opens_at = self._opens_at(token)
        if opens_at > now:
            wait_s = (opens_at - now).total_seconds()
            return wait_s if wait_s <= _PATIENCE_S else self._not_yet(opens_at)
        owner = secrets.token_hex(8)
        failpoint("token.before_intent")
        if not await asyncio.to_thread(self._tokens.claim, token, owner, now, now + LEASE):
            return None
        return await self._spend(token, owner, now)

    async def _spend(self, token: StoredToken, owner: str, begun_at: datetime) -> Secret | ConnectorError | float:
        """One request with the refresh token."""
        failpoint("token.after_intent")
        match await self._endpoint.refresh(token.refresh):
            case Granted(grant):
                failpoint("token.after_http")
                stored = await self._keep(self._tokens.seal(token.connection_id, token.generation, grant))
                return grant.access if stored and grant.access else 0.0
            case Refused(reason):
                await self._give_up(token, reason)
                return 0.0
            case NotSpent(error, wait_s):
                intent_at = token.intent_at
            case Unknown(error):
                intent_at, wait_s = begun_at, 0
        backoff = max(wait_s, min(15 * 2**token.failures, 900))
        retry_at = self._clock.now() + timedelta(seconds=backoff)
        await asyncio.to_thread(
            self._tokens.release, token, owner, intent_at=intent_at, retry_at=retry_at, reason=error.what
        )
        _log.warning("token.refresh_failed", connection=self._name, reason=error.what, retry_at=retry_at.isoformat())
        return error

    async def _keep(self, sealed: SealedGrant) -> bool:
        """Commit the successor; False when the stored token had moved on without it.

        When that fails it rests in memory and in the spill, every later call tries again, and nobody gets to use it.
        """
        self._unsaved = sealed
        try:
            stored = await asyncio.to_thread(self._tokens.replace, sealed)
        except Exception:
            # Whatever keeps the commit from happening, this grant is the only key to the connection.
            try:
                await asyncio.to_thread(self._spill.write, sealed)
            except OSError as error:
                _log.error("token.spill_failed", connection=self._name, reason=error.strerror)
            raise
        self._unsaved = None
        failpoint("token.after_commit")
        return stored

    async def _give_up(self, token: StoredToken, reason: str) -> None:
        """The package refused: unless another process won meanwhile, a person has to sign in."""
        await self._clock.sleep(_SECOND_LOOK_S)
        if await asyncio.to_thread(self._tokens.needs_reauth, token, reason):
            raise AuthRevoked(f"the package refused the stored sign-in: {reason}", where=self._name, fix=_RECONNECT)

    def _not_yet(self, until: datetime) -> Throttled:
        return Throttled(
            f"the package allows no new access token before {until:%H:%M:%S} UTC",
            until=until,
            where=self._name,
            fix=WAIT,
        )


def _usable_until(token: StoredToken) -> datetime:
    """A token must still be valid when the package has finished the request."""
    return token.expires_at - timedelta(seconds=min(_SLACK_S, _life_s(token) / 4))


def _life_s(token: StoredToken) -> float:
    return max((token.expires_at - token.refreshed_at).total_seconds(), 0)
