"""The token office: consent, codes, and refresh tokens that burn when used (sheet 2)."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from urllib.parse import urlsplit

from adapters.exactonline.simulator.settings import SimulatorSettings
from connector.clock import Clock

ACCESS_LIFE = timedelta(seconds=600)
EARLIEST_REFRESH = timedelta(seconds=570)
REFRESH_LIFE = timedelta(days=30)
CODE_LIFE = timedelta(minutes=3)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(slots=True)
class _Code:
    redirect_uri: str
    issued: datetime
    run: int
    used: bool = False


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """Status, body and headers of the token endpoint. The error bodies are written as Exact writes them."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


class TokenOffice:
    """One app and one user. Every grant starts a new chain; only its last refresh token lives."""

    def __init__(self, clock: Clock, settings: SimulatorSettings, violations: Counter[str], *, seed: int) -> None:
        self._clock = clock
        self._settings = settings
        self._violations = violations
        self._random = Random(seed)
        self._codes: dict[str, _Code] = {}
        self._run = 0
        self._access: dict[str, datetime] = {}
        self._refresh: str | None = None
        self._superseded: str | None = None
        self._revoked: str | None = None
        """The last refresh token of a consent that was taken back; its app learns of it by one more try."""
        self._granted_at: datetime | None = None
        self._calls: Counter[date] = Counter()

    def may_redirect(self, client_id: str | None, redirect_uri: str | None) -> bool:
        if client_id != self._settings.client_id or not redirect_uri:
            return False
        if self._settings.redirect_uris:
            return redirect_uri in self._settings.redirect_uris
        return urlsplit(redirect_uri).hostname in _LOOPBACK

    def approve(self, redirect_uri: str) -> str:
        """The user consents; answers a code, with characters in it that a URL has to encode."""
        self._run += 1
        code = f"stampNL001.{self._word()}+/{self._word()}="
        self._codes[code] = _Code(redirect_uri, self._clock.now(), self._run)
        return code

    def revoke(self) -> None:
        """The user takes the consent back."""
        self._access.clear()
        self._revoked = self._refresh
        self._refresh = self._superseded = None

    def accepts(self, access_token: str | None) -> bool:
        issued = self._access.get(access_token or "")
        if issued is None or self._clock.now() - issued >= ACCESS_LIFE:
            return False
        if self._superseded is not None and access_token == self.newest:
            self._superseded = None  # its successor was used
        return True

    @property
    def refresh_token(self) -> str | None:
        """The only one that lives."""
        return self._refresh

    @property
    def newest(self) -> str | None:
        """The latest access token."""
        return next(reversed(self._access), None)

    def grant(self, form: dict[str, str]) -> TokenAnswer:
        """Answer a token request."""
        now = self._clock.now()
        self._calls[now.date()] += 1
        if self._calls[now.date()] > self._settings.token_day_limit:
            self._violations["over_token_day_limit"] += 1
            return TokenAnswer(429, '{"error":"access_denied","error_description":"Rate limit exceeded"}')
        known = (self._settings.client_id, self._settings.client_secret)
        if (form.get("client_id"), form.get("client_secret")) != known:
            return TokenAnswer(400, '{"error":"invalid_request"}')
        if form.get("grant_type") == "authorization_code":
            return self._exchange(form, now)
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token"):
            return self._refresh_with(form["refresh_token"], now)
        return TokenAnswer(400, '{"error":"invalid_request"}')

    def _exchange(self, form: dict[str, str], now: datetime) -> TokenAnswer:
        code = self._codes.get(form.get("code", ""))
        fresh = code is not None and not code.used and now - code.issued <= CODE_LIFE and code.run == self._run
        if code is None or not fresh or code.redirect_uri != form.get("redirect_uri"):
            return TokenAnswer(
                400,
                '{ "error":"invalid_grant","error_description":'
                '"Token is not allowed, because of invalid or empty chainId" }',
            )
        code.used = True
        return self._issue(now)

    def _refresh_with(self, token: str, now: datetime) -> TokenAnswer:
        tolerated = self._settings.old_refresh_token_lives and token == self._superseded
        if token != self._refresh and not tolerated:
            if token == self._revoked:
                self._revoked = None
            else:
                self._violations["old_refresh_token"] += 1
            return TokenAnswer(401, '{"error":"unauthorized_client","error_description":"Old refresh token used."}')
        assert self._granted_at is not None
        age = now - self._granted_at
        if age < EARLIEST_REFRESH:
            self._violations["too_early_refresh"] += 1
            return TokenAnswer(
                400,
                '{ "error":"access_denied","error_description":"Rate limit exceeded: access_token not expired" }',
                (("Reason", "TooEarlyToRefreshTokens: the access token has not expired"),),
            )
        if age > REFRESH_LIFE:
            expired, asked = _american(self._granted_at + REFRESH_LIFE), _american(now)
            return TokenAnswer(
                400,
                '{"error":"invalid_request","error_description":'
                f'"The refresh token expired at {expired} and it is now {asked}."}}',
            )
        return self._issue(now)

    def _issue(self, now: datetime) -> TokenAnswer:
        access, refresh = f"access.{self._word()}{self._word()}", f"refresh.{self._word()}{self._word()}"
        if not self._settings.access_token_survives:
            self._access.clear()
        self._access[access] = now
        self._superseded, self._refresh, self._granted_at = self._refresh, refresh, now
        return TokenAnswer(
            200,
            f'{{"access_token":"{access}","token_type":"bearer","expires_in":"600","refresh_token":"{refresh}"}}',
        )

    def _word(self) -> str:
        return f"{self._random.getrandbits(160):040x}"


def _american(moment: datetime) -> str:
    """Month first, twelve hours, nothing padded."""
    hour, half = moment.hour % 12 or 12, "AM" if moment.hour < 12 else "PM"
    day = f"{moment.month}/{moment.day}/{moment.year}"
    return f"{day} {hour}:{moment.minute:02d}:{moment.second:02d} {half}"
