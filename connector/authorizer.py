"""Signing in to a package: from the link that a person opens to the stored tokens."""

import asyncio
import secrets
from collections.abc import Callable

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from connector.clock import Clock
from connector.errors import NeedsReconnect, SourceDown
from connector.secrets import Secret, redact
from connector.store.authorizations import Authorizations, Started
from connector.store.tokens import Grant, TokenStore
from connector.token_endpoint import Granted, NotSpent, OAuthApp, Refused, TokenEndpoint, Unknown


class Authorizer:
    """The sign-in of a person: from the link to the stored tokens."""

    def __init__(
        self,
        authorizations: Authorizations,
        tokens: TokenStore,
        clock: Clock,
        apps: Callable[[int], OAuthApp],
    ) -> None:
        self._authorizations = authorizations
        self._tokens = tokens
        self._clock = clock
        self._apps = apps

    async def begin(self, connection_id: int, redirect_uri: str) -> str:
        """The address to send the person to. `redirect_uri` comes from the configuration, never from a request."""
        app = self._apps(connection_id)
        state = Secret(secrets.token_urlsafe(32))
        verifier = Secret(secrets.token_urlsafe(48)) if app.oauth.pkce else None
        started = Started(connection_id=connection_id, redirect_uri=redirect_uri, verifier=verifier)
        await asyncio.to_thread(self._authorizations.start, state, started, self._clock.now())
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

    async def complete(self, state: str, *, code: str | None = None, error: str | None = None) -> int:
        """Exchange the code and store the tokens; returns the connection. Each state is taken once.

        Raises:
            NeedsReconnect: the link is unknown, used or old, the person declined, or the package refused the code.
            SourceDown, ConfigurationError: the exchange failed; nothing was stored.
        """
        started = await asyncio.to_thread(self._authorizations.use, state, self._clock.now())
        if started is None:
            raise _sign_in_failed("this sign-in link is unknown, already used or older than ten minutes")
        if error or not code:
            raise _sign_in_failed(f"the package reports: {redact(error or 'no code')[:200]!r}")
        endpoint = TokenEndpoint(f"connection {started.connection_id}", self._apps(started.connection_id), self._clock)
        match await endpoint.exchange(Secret(code), started.redirect_uri, started.verifier):
            case Granted(grant):
                await asyncio.to_thread(self._tokens.link, started.connection_id, _complete(grant))
                return started.connection_id
            case Refused(reason):
                raise _sign_in_failed(f"the package refused the sign-in: {reason}")
            case NotSpent(failure) | Unknown(failure):
                raise failure


def _complete(grant: Grant) -> Grant:
    if grant.access is None or grant.refresh is None:
        raise SourceDown("the package gave no access and refresh token", where="sign-in", fix="sign in once more")
    return grant


def _sign_in_failed(what: str) -> NeedsReconnect:
    return NeedsReconnect(what, where="sign-in", fix="start again with `connector connect`")
