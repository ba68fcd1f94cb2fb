"""Signing in to a package: the address that a person opens, and the exchange of the code that comes back.

Nothing here stores a token: whose books they open is asked first (`connector.linking`).
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from connector.clock import Clock
from connector.errors import ConfigurationError, NeedsReconnect, SourceDown
from connector.secrets import Secret, redact
from connector.store.authorizations import Authorizations, Rejected, Started
from connector.store.tokens import Grant
from connector.token_endpoint import Answer as Outcome
from connector.token_endpoint import Granted, NotSpent, OAuthApp, Refused, TokenEndpoint, Unknown


class SignInFailed(NeedsReconnect):
    """A sign-in came to nothing; what was stored before stays as it was."""


class Declined(SignInFailed):
    """The person did not grant access."""


class NotTaken(SignInFailed):
    """The answer belongs to no sign-in of this session; `reason` says why."""

    def __init__(self, reason: Rejected) -> None:
        super().__init__(reason.value, where="sign-in", fix="open the link again, in one browser from begin to end")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the package sends the browser back with."""

    state: str
    code: Secret | None = field(default=None)
    error: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        code = query.get("code")
        return cls(state=query.get("state", ""), code=Secret(code) if code else None, error=query.get("error", ""))


class Authorizer:
    """The two halves of a sign-in, which different processes may do."""

    def __init__(self, authorizations: Authorizations, clock: Clock, apps: Callable[[int], OAuthApp]) -> None:
        self._authorizations = authorizations
        self._clock = clock
        self._apps = apps

    async def begin(
        self, connection_id: int, redirect_uri: str, *, session: Secret, invitation: str | None = None
    ) -> str:
        """The package's address to send the person to.

        `session` must come back with the answer. `redirect_uri` comes from the configuration, never from a request.
        """
        app = self._apps(connection_id)
        if not app.oauth.authorize_url:
            raise ConfigurationError(
                "the package has no sign-in page: the client hands over a key",
                where="sign-in",
                fix="give it to `connector connect` on its standard input",
            )
        state = Secret(secrets.token_urlsafe(32))
        verifier = Secret(secrets.token_urlsafe(48)) if app.oauth.pkce else None
        started = Started(
            connection_id=connection_id, redirect_uri=redirect_uri, verifier=verifier, invitation=invitation
        )
        await asyncio.to_thread(self._authorizations.start, state, session, started, self._clock.now())
        extra = dict(app.oauth.authorize_params)
        if verifier is not None:
            challenge = create_s256_code_challenge(verifier.reveal())
            extra |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return str(
            prepare_grant_uri(
                app.oauth.authorize_url,
                app.client_id,
                "code",
                redirect_uri=redirect_uri,
                state=state.reveal(),
                **extra,
            )
        )

    async def claim(self, state: str, session: str) -> Started:
        """The sign-in that this state began, once.

        Raises:
            NotTaken: unknown, used, older than ten minutes, or begun by another session.
        """
        started = await asyncio.to_thread(self._authorizations.use, state, session, self._clock.now())
        if isinstance(started, Rejected):
            raise NotTaken(started)
        return started

    async def exchange(self, started: Started, answer: Answer) -> Grant:
        """Turn the code into tokens; a code works once, so this is never tried again.

        Raises:
            Declined, SignInFailed: the person or the package said no.
            SourceDown, ConfigurationError: the package cannot be asked, or does not know our app.
        """
        if answer.error == "access_denied":
            raise Declined("access was not granted", where="sign-in", fix="sign in again and grant access")
        if answer.error or answer.code is None:
            raise _failed(f"the package reports: {redact(answer.error or 'no code')[:200]!r}")
        endpoint = self._endpoint(started.connection_id)
        return _complete(_granted(await endpoint.exchange(answer.code, started.redirect_uri, started.verifier)))

    async def redeem(self, connection_id: int, key: Secret) -> Grant:
        """A first access token for the key that the client handed over, which is kept in the refresh token's place.

        Raises:
            SignInFailed: the package does not know the key.
            SourceDown, ConfigurationError: the package cannot be asked, or does not know our app.
        """
        grant = _granted(await self._endpoint(connection_id).refresh(key))
        return _complete(msgspec.structs.replace(grant, refresh=key))

    def _endpoint(self, connection_id: int) -> TokenEndpoint:
        return TokenEndpoint(f"connection {connection_id}", self._apps(connection_id), self._clock)


def _granted(outcome: Outcome) -> Grant:
    match outcome:
        case Granted(grant):
            return grant
        case Refused(reason):
            raise _failed(f"the package refused the sign-in: {reason}")
        case NotSpent(failure) | Unknown(failure):
            raise failure


def _complete(grant: Grant) -> Grant:
    if grant.access is None or grant.refresh is None:
        raise SourceDown("the package gave no access and refresh token", where="sign-in", fix="sign in once more")
    return grant


def _failed(what: str) -> SignInFailed:
    return SignInFailed(what, where="sign-in", fix="sign in again")
