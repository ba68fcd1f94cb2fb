"""The only way out to the network for an adapter: bounded in time and size, to configured origins, under the budget.

A GET is tried at most three times, and only for what passes by itself. Everything else becomes an error of
`connector.errors` at once. No redirect is followed and no proxy variable is read.
"""

import codecs
import contextlib
import copy
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn, Protocol, Self, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from connector.clock import Clock
from connector.errors import (
    AuthRevoked,
    ConfigurationError,
    ConnectorError,
    NeedsReconnect,
    PermissionLost,
    SourceDown,
    Stopped,
    Throttled,
)
from connector.network import MAX_BODY, WAIT, Deadline, Transient, decoded, origin_of, path_within, request, transport
from connector.secrets import Secret, redact

T = TypeVar("T")

DEADLINE_S: Final = 30.0
DOCUMENT_DEADLINE_S: Final = 120.0

_TRIES: Final = 3
_REASON_LENGTH: Final = 200
_LOGIN: Final = re.compile(r"log-?in|log-?on|sign-?in|oauth|authori[sz]e|/auth\b", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)
_UNSTORABLE: Final = re.compile(r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w|u0000)|.)", re.DOTALL)
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


class BadRequest(Stopped):
    """The package refuses this very request (400, 404 and their like); asking again will not help."""

    def __init__(self, what: str, *, status: int, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status


class ForeignLink(Stopped):
    """A link leads outside the configured origins or this administration's paths; it was not requested."""


Authorize = Callable[[str | None], Awaitable[Secret]]
"""The access token to use; given the one the package just refused, a newer one."""


class Budget(Protocol):
    """The calls that may still be made."""

    async def acquire(self) -> None:
        """Take one call, waiting a short while for it; raises Throttled when the wait would be long."""
        ...

    async def told(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        """Learn from an answer; after a 429, when calling makes sense again."""
        ...


@dataclass(frozen=True, kw_only=True)
class RateHeaders:
    """How a package names its call-limit headers. Resets are epoch milliseconds; an answer may lack any of them."""

    minute_limit: str | None = None
    minute_remaining: str | None = None
    minute_reset: str | None = None
    day_limit: str | None = None
    day_remaining: str | None = None
    day_reset: str | None = None


class Refusal(NamedTuple):
    """What a 401 or 403 means."""

    app: bool = False
    """Our own registration is refused: every client of the package stands still."""
    wait_s: float = 0
    """A limit is reached, which opens again after so many seconds."""


class Circuit:
    """Stops calling an endpoint that keeps refusing, before the package blocks the key for it.

    One per connection; it outlives the clients of single cycles.
    """

    def __init__(self, clock: Clock, *, refusals: int = 5, window: timedelta = timedelta(hours=1)) -> None:
        self._clock = clock
        self._refusals = refusals
        self._window = window
        self._seen: dict[str, deque[datetime]] = {}

    def check(self, endpoint: str, where: str) -> None:
        """Raises Stopped while the endpoint's errors of the last hour are used up; other endpoints go on."""
        seen = self._seen.get(endpoint, deque())
        now = self._clock.now()
        if len(seen) == self._refusals and seen[0] <= now < (until := seen[0] + self._window):
            raise Stopped(
                f"{self._refusals} requests were refused within an hour; no more are made until {until:%H:%M:%S} UTC",
                where=where,
                fix="see the first refusal in the log; the package blocks the key after a few more",
            )

    def refused(self, endpoint: str) -> None:
        self._seen.setdefault(endpoint, deque(maxlen=self._refusals)).append(self._clock.now())


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer, read whole."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    where: str

    @property
    def text(self) -> str:
        """The body in its declared charset (UTF-8 when none is declared), without a byte order mark."""
        try:
            return self.body.decode(codecs.lookup(self._charset).name).removeprefix("\ufeff")
        except (LookupError, UnicodeDecodeError) as error:
            raise SourceDown(f"the answer is not readable text: {error}", where=self.where, fix=WAIT) from error

    @property
    def _charset(self) -> str:
        declared = _CHARSET.search(self.headers.get("content-type", ""))
        return declared[1].lower() if declared else "utf-8"

    def json(self) -> Any:
        """Exact: every number that is not an integer is a Decimal; NaN and Infinity are refused.

        A lone surrogate (an emoji cut in half by the package) and U+0000 become U+FFFD: UTF-8 cannot hold the one, nor
        PostgreSQL the other.
        """
        harmless = b"\\" not in self.body or b"\\u0000" not in self.body  # one byte is found ten times as fast as six
        try:
            if harmless and self._charset == "utf-8":
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                    return _DECODER.decode(self.body)
            return _DECODER.decode(_UNSTORABLE.sub(lambda m: "\\ufffd" if m[1] else m[0], self.text))
        except (msgspec.MsgspecError, ArithmeticError, RecursionError) as error:
            raise SourceDown(f"the answer is not usable JSON: {error}", where=self.where, fix=WAIT) from error


class Client:
    """GET requests for one connection."""

    def __init__(
        self,
        name: str,
        *,
        origins: Sequence[str],
        budget: Budget,
        circuit: Circuit,
        clock: Clock,
        authorize: Authorize | None = None,
        deadline_s: float = DEADLINE_S,
        max_body: int = MAX_BODY,
        headers: Mapping[str, Secret] | None = None,
        refusal: Callable[[int, str], Refusal | None] | None = None,
    ) -> None:
        self.name = name
        self._origins = frozenset(origin_of(httpx.URL(origin)) for origin in origins)
        self._prefixes: tuple[str, ...] = ("/",)
        self._budget = budget
        self._circuit = circuit
        self._clock = clock
        self._authorize = authorize
        self._deadline_s = deadline_s
        self._max_body = max_body
        self._headers = headers or {}
        self._refusal = refusal
        self._http = transport()

    def within(self, *prefixes: str) -> Self:
        """The same client, kept to paths that begin with one of the prefixes, such as `/api/v1/{division}/`."""
        narrowed = copy.copy(self)
        narrowed._prefixes = prefixes  # noqa: SLF001 - a copy of this very object
        return narrowed

    async def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        target = self._checked(url, params)
        deadline = Deadline(self._deadline_s, self._where(target))

        async def once() -> Response:
            async with self._opened(target, headers or {}, deadline) as answer:
                body = await deadline.run(self._whole(answer, deadline.where))
                return Response(answer.status_code, answer.headers, body, deadline.where)

        return await self._retry(once)

    async def stream(self, url: str, params: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """The decoded body piece by piece; once the first piece is out there is no second try."""
        target = self._checked(url, params)
        deadline = Deadline(DOCUMENT_DEADLINE_S, self._where(target))
        async with contextlib.AsyncExitStack() as stack:

            async def once() -> httpx.Response:
                return await stack.enter_async_context(self._opened(target, {"Accept": "*/*"}, deadline))

            answer = await self._retry(once)
            pieces = decoded(answer, self._max_body, deadline.where)
            while (piece := await deadline.run(anext(pieces, None))) is not None:
                yield piece

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _where(self, url: httpx.URL) -> str:
        return f"{self.name}: GET {url.host}{url.path}"

    def _checked(self, url: str, params: Mapping[str, str] | None) -> httpx.URL:
        try:
            parsed = httpx.URL(_with_query(url, params) if params else url)
        except httpx.InvalidURL as error:
            raise _foreign("is not a URL", self.name) from error
        if origin_of(parsed) not in self._origins or parsed.userinfo:
            raise _foreign(f"leads to another origin, {parsed.scheme}://{parsed.netloc.decode()}", self.name)
        if not path_within(parsed, self._prefixes):
            raise _foreign(f"leads outside this administration, to {parsed.path}", self.name)
        return parsed

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry=retry_if_exception_type(Transient),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await retrying(call)

    @contextlib.asynccontextmanager
    async def _opened(
        self, url: httpx.URL, headers: Mapping[str, str], deadline: Deadline
    ) -> AsyncIterator[httpx.Response]:
        """An answer with a good status, its body not read yet. A 401 is met once with a newer token."""
        endpoint = url.path.partition("(")[0]
        refused: str | None = None
        while True:
            self._circuit.check(endpoint, deadline.where)
            await self._budget.acquire()
            asked = request("GET", url, headers=headers)
            for name, secret in self._headers.items():
                asked.headers[name] = secret.reveal()
            token = None
            if self._authorize is not None:
                token = await self._authorize(refused)
                asked.headers["Authorization"] = f"Bearer {token.reveal()}"
            answer = await deadline.run(self._http.handle_async_request(asked))
            try:
                until = await self._budget.told(answer.status_code, answer.headers)
                if answer.status_code in {400, 401, 403, 404}:
                    self._circuit.refused(endpoint)
                said = None
                if answer.status_code in {401, 403} and self._refusal is not None:
                    said = await _reason(answer, deadline)
                    if (meaning := self._refusal(answer.status_code, said.removeprefix(": "))) is not None:
                        raise self._meant(meaning, said, deadline.where)
                if answer.status_code == 401 and refused is None and token is not None:
                    refused = token.reveal()
                    continue
                if answer.status_code not in {200, 204}:
                    await _refuse(answer, until or self._clock.now(), deadline, said)
                if "html" in answer.headers.get("content-type", ""):
                    raise SourceDown("an HTML page came instead of data", where=deadline.where, fix=WAIT)
                yield answer
                return
            finally:
                await answer.aclose()

    def _meant(self, meaning: Refusal, said: str, where: str) -> ConnectorError:
        if meaning.app:
            return ConfigurationError(
                f"the package refuses our own registration{said}",
                where=where,
                fix="check the secret of the package's section under [apps]; until then all of its clients stand still",
            )
        until = self._clock.now() + timedelta(seconds=meaning.wait_s)
        return Throttled(
            f"the package's call limit is reached; it opens again at {until:%H:%M:%S} UTC",
            until=until,
            where=where,
            fix=WAIT,
        )

    async def _whole(self, answer: httpx.Response, where: str) -> bytes:
        return b"".join([piece async for piece in decoded(answer, self._max_body, where)])


async def _refuse(answer: httpx.Response, until: datetime, deadline: Deadline, said: str | None) -> NoReturn:
    """Turn a status into the error that says what the operator does next; `said` is the reason if it was read."""
    status, where = answer.status_code, deadline.where
    if answer.is_redirect:
        if _LOGIN.search(answer.headers.get("location", "")):
            raise NeedsReconnect(
                "the package sent us to its sign-in page", where=where, fix="sign in to the package again"
            )
        raise SourceDown("the package redirected the request, which is not followed", where=where, fix=WAIT)
    if status == 429:
        raise Throttled(f"the package's call limit is reached; it opens again at {until:%H:%M:%S} UTC",
                        until=until, where=where, fix=WAIT)  # fmt: skip
    if status in {502, 503, 504}:
        raise Transient(f"the package is not available (HTTP {status})", where=where, fix=WAIT)
    if status == 408 or status >= 500:
        raise SourceDown(f"the package failed (HTTP {status})", where=where, fix=WAIT)
    reason = await _reason(answer, deadline) if said is None else said
    if status == 401:
        raise AuthRevoked(
            f"the package refuses the access token{reason}", where=where, fix="sign in to the package again"
        )
    if status == 403:
        raise PermissionLost(
            f"the package denies access{reason}",
            where=where,
            fix="give the user the right, the app the scope, or the licence the module that this needs",
        )
    raise BadRequest(
        f"the package refuses the request (HTTP {status}){reason}",
        status=status,
        where=where,
        fix="report it: the request itself is wrong, repeating it only uses up the package's patience",
    )


async def _reason(answer: httpx.Response, deadline: Deadline) -> str:
    """The package's own words: its `Reason` header, else the start of the body. Masked, printable, short."""
    reason = answer.headers.get("reason", "")
    if not reason and "html" not in answer.headers.get("content-type", ""):
        with contextlib.suppress(SourceDown, StopAsyncIteration):
            start = await deadline.run(anext(decoded(answer, MAX_BODY, deadline.where)))
            reason = start.decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " for c in redact(reason))
    return f": {printable[:_REASON_LENGTH]}" if printable.strip() else ""


def _with_query(url: str, params: Mapping[str, str]) -> str:
    """Put together as text: httpx would take the URL apart once more for it."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"


def _foreign(what: str, name: str) -> ForeignLink:
    return ForeignLink(
        f"a link {what}; it was not requested",
        where=name,
        fix="check the configured address; if it is right, the package's answer cannot be trusted",
    )
