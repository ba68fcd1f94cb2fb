"""Who may use the API: a key in each request, and one answer for whatever is wrong with it."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Final

import structlog
from starlette.requests import Request

from connector.clock import Clock
from connector.store import api_keys
from connector.store.api_keys import ApiKey
from connector.store.engine import Store

FAILURES: Final = 10
WINDOW_S: Final = 60.0
"""So many wrong keys from one address in so long, and it has to wait for the rest of it."""

_REMEMBERED: Final = 10_000

log = structlog.get_logger()


class Refused(Exception):
    """A request that is answered without being looked at any further."""

    def __init__(self, status: int, error: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = headers or {}


@dataclass
class Guesses:
    """What went wrong lately, by where it came from."""

    clock: Clock
    _counted: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    """Address and more -> when counting began, and how many."""

    def waits(self, source: tuple[str, str]) -> int:
        """Seconds until the next attempt; 0 for now."""
        began_at, count = self._counted.get(source, (0.0, 0))
        left_s = began_at + WINDOW_S - self.clock.monotonic()
        return math.ceil(left_s) if count >= FAILURES and left_s > 0 else 0

    def failed(self, source: tuple[str, str]) -> None:
        now = self.clock.monotonic()
        began_at, count = self._counted.pop(source, (now, 0))
        if now - began_at >= WINDOW_S:
            began_at, count = now, 0
        if len(self._counted) >= _REMEMBERED:
            del self._counted[next(iter(self._counted))]
        self._counted[source] = (began_at, count + 1)


@dataclass
class Access:
    """Authenticates requests of one listener, and slows down whoever guesses."""

    store: Store
    clock: Clock
    _guesses: Guesses = field(init=False)
    _proved: set[str] = field(default_factory=set)
    """Prefixes of keys that were right: what others guess does not lock their holders out."""

    def __post_init__(self) -> None:
        self._guesses = Guesses(self.clock)

    async def key_of(self, request: Request) -> ApiKey:
        """The key of a request.

        Raises:
            Refused: there is none, it is not right, or there were too many wrong ones.
            StoreUnavailable: it cannot be looked up.
        """
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            raise _unauthorized()
        prefix = api_keys.prefix_of(presented)
        source = (request.client.host if request.client else "", prefix if prefix in self._proved else "")
        if wait_s := self._guesses.waits(source):
            raise Refused(429, "too many attempts", {"Retry-After": str(wait_s)})
        key = await asyncio.to_thread(api_keys.authenticate, self.store, presented, self.clock.now())
        if key is None:
            self._guesses.failed(source)
            log.warning("api.refused", peer=source[0], prefix=prefix)
            raise _unauthorized()
        self._proved.add(prefix)
        return key


def _unauthorized() -> Refused:
    return Refused(401, "an API key is needed", {"WWW-Authenticate": "Bearer"})
