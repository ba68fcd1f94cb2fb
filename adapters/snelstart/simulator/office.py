"""The token office: koppelsleutels, and the tokens they are exchanged for (sheet 1)."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from adapters.snelstart.simulator.settings import SimulatorSettings
from connector.clock import Clock

LIFE = timedelta(seconds=3599)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_AWKWARD = "???>>>"
"""Gives a slash and a plus in base64, wherever it stands; the whole length gives an equals sign."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token stands for. `key` is the koppelsleutel it came from."""

    administration: str
    scopes: frozenset[str]
    ends: datetime
    key: str


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    status: int
    body: dict[str, Any]


class TokenOffice:
    """One koppelsleutel at a time opens the administration; another one can be issued for other books."""

    def __init__(
        self, administration: str, clock: Clock, settings: SimulatorSettings, violations: Counter[str], *, seed: int
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._violations = violations
        self._random = Random(seed)
        self._keys: dict[str, str] = {}
        self._tokens: dict[str, Token] = {}
        self._administration = administration
        self.current = self.issue()

    def issue(self, administration: str | None = None) -> str:
        """Make a koppelsleutel; the one before dies, and its tokens with it."""
        password = "".join(self._random.choice(_LETTERS) for _ in range(295)) + _AWKWARD
        key = b64encode(f"{self._random.getrandbits(128):032x}:{password}".encode()).decode()
        self.withdraw()
        self._keys = {key: administration or self._administration}
        self.current = key
        return key

    def withdraw(self) -> None:
        """The tenant deletes the koppelsleutel."""
        self._keys.clear()
        self.revoke()

    def revoke(self) -> None:
        """Every token dies before its time; the koppelsleutel goes on."""
        self._tokens.clear()

    def accepts(self, text: str) -> Token | None:
        token = self._tokens.get(text)
        return token if token is not None and self._clock.now() < token.ends else None

    def spender(self, text: str) -> str:
        """Whose limits a presented token counts against, before anybody looks whether it is any good."""
        token = self._tokens.get(text)
        return token.administration if token is not None else text

    def grant(self, form: Mapping[str, str]) -> TokenAnswer:
        """Answer the form of a token request. It never looks at the subscription key."""
        kind = form.get("grant_type", "")
        if kind == "clientkey":
            parameter, key = "clientkey", form.get("clientkey", "")
        elif kind == "password":
            pair = f"{form.get('username', '')}:{form.get('password', '')}"
            parameter, key = "username", b64encode(pair.encode()).decode()
        else:
            return self._refused(400, f"The grant_type '{kind}' is not supported.")
        administration = self._keys.get(key)
        if administration is None:
            self._violations["refused_koppelsleutel"] += 1
            text = f"The parameter '{parameter}' of the grant '{kind}' is missing or not valid."
            return self._refused(self._settings.token_refusal_status, text)
        return TokenAnswer(200, {"access_token": self._mint(key, administration), "token_type": "bearer",
                                 "expires_in": int(LIFE.total_seconds())})  # fmt: skip

    def _mint(self, key: str, administration: str) -> str:
        settings, now = self._settings, self._clock.now()
        scopes: Any = list(settings.scopes) if settings.scopes_as_list else " ".join(settings.scopes)
        claims = {
            "iss": "https://auth.snelstart.nl",
            "nbf": int(now.timestamp()),
            "exp": int((now + LIFE).timestamp()),
            "scopes": scopes,
            "jti": f"{self._random.getrandbits(64):016x}",
        }
        head = {"alg": "RS256", "typ": "JWT"}
        text = ".".join((_part(head), _part(claims), _part({"simulated": self._random.getrandbits(64)})))
        self._tokens[text] = Token(administration, frozenset(settings.scopes), now + LIFE, key)
        return text

    def _refused(self, status: int, text: str) -> TokenAnswer:
        body = {"error": text}
        if self._settings.token_description:
            body["error_description"] = "The request was refused."
        return TokenAnswer(status, body)


def _part(value: Any) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
