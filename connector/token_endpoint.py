"""One request to a package's token endpoint, and what its answer means for the token that was sent.

Nothing here retries and nothing here stores. What matters most about an answer is whether the token that was sent is
spent: `Granted`, `Refused`, `NotSpent`, or `Unknown` when nobody can tell.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_token_request

from connector.adapter import OAuth
from connector.clock import Clock
from connector.errors import ConfigurationError, ConnectorError, SourceDown
from connector.network import WAIT, Deadline, TooLarge, decoded, request, transport
from connector.secrets import Secret, redact
from connector.store.tokens import LONGEST_RETRY, Grant

# The package rotates the token before it answers: hanging up early would lose the answer, not the rotation.
DEADLINE_S: Final = 60.0

_MAX_ANSWER: Final = 256 * 1024
_LONGEST_LIFE_S: Final = 86_400
_SHORTEST_GUESS_S: Final = 300
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16000}")
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_OUR_FAULT: Final = {"invalid_client", "unsupported_grant_type", "invalid_scope"}
_PASSING: Final = {"temporarily_unavailable", "server_error", "slow_down"}


@dataclass(frozen=True, kw_only=True)
class OAuthApp:
    """A package's rules together with the app registration that signs in there."""

    oauth: OAuth
    client_id: str
    client_secret: Secret | None


@dataclass(frozen=True)
class Granted:
    grant: Grant


@dataclass(frozen=True)
class Refused:
    """The package says no to this code or token, for good."""

    reason: str


@dataclass(frozen=True)
class NotSpent:
    """Failed, and certainly without using up what was sent."""

    error: ConnectorError
    wait_s: float = 0
    """How long the package wants to be left alone."""


@dataclass(frozen=True)
class Unknown:
    """Failed after sending: the package may have taken what was sent."""

    error: ConnectorError


Answer = Granted | Refused | NotSpent | Unknown


class TokenEndpoint:
    def __init__(self, name: str, app: OAuthApp, clock: Clock, *, deadline_s: float = DEADLINE_S) -> None:
        self._app = app
        self._clock = clock
        self._deadline_s = deadline_s
        self._where = f"{name}: token endpoint {httpx.URL(app.oauth.token_url).host}"

    async def exchange(self, code: Secret, redirect_uri: str, verifier: Secret | None) -> Answer:
        extra = {"code_verifier": verifier.reveal()} if verifier else {}
        form = self._form("authorization_code", code=code.reveal(), redirect_uri=redirect_uri, **extra)
        return await self._post(form, None)

    async def refresh(self, token: Secret) -> Answer:
        """Spend the refresh token, or show the client's key where the package works with keys."""
        key = self._app.oauth.key
        form = urlencode(key.form(token.reveal())) if key else self._form("refresh_token", refresh_token=token.reveal())
        return await self._post(form, token)

    def _form(self, grant_type: str, **form: str) -> str:
        secret = self._app.client_secret
        credentials = {"client_id": self._app.client_id} | ({"client_secret": secret.reveal()} if secret else {})
        return str(prepare_token_request(grant_type, "", **form, **credentials))

    async def _post(self, content: str, sent: Secret | None) -> Answer:
        deadline = Deadline(self._deadline_s, self._where)
        sent_at = self._clock.now()
        try:
            answer, body = await deadline.run(self._ask(content))
        except TooLarge as error:
            return Unknown(error)
        except SourceDown as error:
            # Not the error itself: of some kinds an HTTP client believes that it may simply ask once more.
            failure = SourceDown(error.what, where=error.where, fix=error.fix)
            return NotSpent(failure) if isinstance(error.__cause__, _NOT_SENT) else Unknown(failure)
        return self._judge(answer, _object(body), sent, sent_at)

    async def _ask(self, content: str) -> tuple[httpx.Response, bytes]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        form = request(
            "POST", self._app.oauth.token_url, headers=headers, content=content.encode(), read_s=self._deadline_s
        )
        async with transport() as way:
            answer = await way.handle_async_request(form)
            try:
                return answer, b"".join([piece async for piece in decoded(answer, _MAX_ANSWER, self._where)])
            finally:
                await answer.aclose()

    def _judge(self, answer: httpx.Response, body: Mapping[str, Any], sent: Secret | None, sent_at: datetime) -> Answer:
        status = answer.status_code
        grant = self._grant(body, sent_at)
        # A new refresh token is kept even when it comes with an error: the old one is dead then.
        rescued = grant.refresh is not None and (sent is None or grant.refresh.reveal() != sent.reveal())
        if (answer.is_success and grant.access) or rescued:
            return Granted(grant)
        code, text = _printable(body.get("error")), _printable(body.get("error_description"))
        reason = f"{code} {text}".strip() or f"HTTP {status}"
        if status == 429 or _too_often(answer, text):
            wait = max(_retry_after(answer), self._app.oauth.refresh_not_before_s)
            return NotSpent(self._down(f"the package wants fewer token requests: {reason}"), wait)
        if answer.is_success or status == 408 or status >= 500 or code in _PASSING:
            return Unknown(self._down(f"the token request failed and its outcome is unknown: {reason}"))
        if code in _OUR_FAULT or (code == "invalid_request" and "expired" not in text):
            return NotSpent(
                ConfigurationError(
                    f"the package does not accept our app: {reason}",
                    where=self._where,
                    fix="check client id, client secret and redirect address against the app registration",
                )
            )
        if code and status in {400, 401, 403}:
            return Refused(reason)
        return NotSpent(self._down(f"the token endpoint gave no usable answer: {reason}"))

    def _grant(self, body: Mapping[str, Any], sent_at: datetime) -> Grant:
        """The usable parts of an answer. The life counts from sending, the age from now: both err to the safe side."""
        now = self._clock.now()
        oauth = self._app.oauth
        bearer = str(body.get("token_type", "bearer")).lower() == "bearer"
        life = _seconds(body.get("expires_in")) or max(_SHORTEST_GUESS_S, oauth.refresh_not_before_s + 30)
        days = oauth.refresh_token_days
        return Grant(
            access=_token(body.get("access_token")) if bearer else None,
            refresh=_token(body.get("refresh_token")),
            granted_at=now,
            expires_at=sent_at + timedelta(seconds=min(life, _LONGEST_LIFE_S)),
            refresh_expires_at=None if days is None else now + timedelta(days=days),
        )

    def _down(self, what: str) -> SourceDown:
        return SourceDown(what, where=self._where, fix=WAIT)


def _object(body: bytes) -> dict[str, Any]:
    try:
        decoded_body = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded_body if isinstance(decoded_body, dict) else {}


def _token(value: object) -> Secret | None:
    return Secret(value) if isinstance(value, str) and _TOKEN.fullmatch(value) else None


def _seconds(value: object) -> int:
    """`expires_in` comes as a number or as a string; 0 when it says nothing believable."""
    try:
        return int(min(max(Decimal(str(value)), Decimal(0)), Decimal(10**9)))
    except ArithmeticError:
        return 0


def _too_often(answer: httpx.Response, text: str) -> bool:
    """Exact says so with a 400 or 401 (sheet 2.4); a limit that is reached must never pass for a refused grant."""
    said = text.lower()
    return "rate limit" in said or "not expired" in said or answer.headers.get("reason", "").startswith("TooEarly")


def _retry_after(answer: httpx.Response) -> int:
    return min(_seconds(answer.headers.get("retry-after")), LONGEST_RETRY.seconds)


def _printable(text: object) -> str:
    """What the package says, if it is text at all: masked, on one line, short."""
    return "".join(c if c.isprintable() else " " for c in redact(text))[:200] if isinstance(text, str) else ""
