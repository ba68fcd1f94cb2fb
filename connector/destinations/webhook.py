"""The signed webhook: a CloudEvents batch in a POST, signed the Standard Webhooks way."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Final, get_args

import httpx
import msgspec

from connector import signature
from connector.clock import Clock
from connector.destinations import Kind, Outcome, Result, Sendable, Verdict, targets
from connector.errors import ConfigurationError
from connector.network import describe, request
from connector.secrets import Secret, redact

DEADLINE_S: Final = 30.0
ANSWER_LIMIT: Final = 64_000
REASON_LIMIT: Final = 300
RETRY_AFTER: Final = (1.0, 3600.0)
"""A destination may ask for any wait; within these seconds we do as it says."""

CONTENT_AT_FAULT: Final = frozenset({400, 413, 415, 422})
ENDPOINT_AT_FAULT: Final = frozenset({401, 403, 404, 410})
VERDICTS: Final[dict[str, Verdict]] = {verdict: verdict for verdict in get_args(Verdict)}


class Webhook:
    """Sends to one URL. More than one secret signs each request, so that the receiver can change over."""

    batch_events = 200
    batch_bytes = 1_000_000

    def __init__(
        self,
        url: str,
        secrets: Sequence[Secret],
        *,
        clock: Clock,
        allow_private: bool = False,
        deadline: float = DEADLINE_S,
        tls: ssl.SSLContext | None = None,
        resolve: targets.Resolve = targets.resolve,
    ) -> None:
        """Check everything that can be checked without the network.

        Raises:
            ConfigurationError: the URL may not be delivered to, or a secret cannot be used.
        """
        self.url = _checked(url, allow_private=allow_private)
        self._keys = _keys(secrets)
        self._clock = clock
        self._deadline = deadline
        self._http = targets.CheckedTransport(
            allow_private=allow_private, tls=tls or httpx.create_ssl_context(trust_env=False), resolve=resolve
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, batch: Sequence[Sendable]) -> Outcome:
        body = b"[" + b",".join(event.body for event in batch) + b"]"
        delivery_id = f"dlv_{sha256(body).hexdigest()[:32]}"
        signed = signature.headers(self._keys, delivery_id, self._clock.now(), body)
        headers = {"Content-Type": "application/cloudevents-batch+json", "Accept-Encoding": "identity", **signed}
        post = request("POST", self.url, headers=headers, content=body, read_s=self._deadline)
        try:
            async with asyncio.timeout(self._deadline):
                response = await self._http.handle_async_request(post)
                try:
                    answer = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            return Outcome(kind="retry", delivery_id=delivery_id, reason=f"no answer within {self._deadline:g} s")
        except targets.RefusedTarget as error:
            return Outcome(kind="pause", delivery_id=delivery_id, reason=str(error))
        except httpx.TransportError as error:
            return Outcome(kind="retry", delivery_id=delivery_id, reason=describe(error))
        return understand(
            [event.event_id for event in batch], response, answer, delivery_id=delivery_id, now=self._clock.now()
        )


def understand(
    event_ids: Sequence[str], response: httpx.Response, answer: bytes | None, *, delivery_id: str, now: datetime
) -> Outcome:
    """What an answer means; `answer` is None when it could not be read to its end. Pure."""
    status = response.status_code
    told = _told(answer)
    kind: Kind = "retry"
    results: dict[str, Result] = {}
    reason = "" if response.is_success else _reason(status, answer)
    if response.is_success or (status == 409 and told is not None):
        kind, reason = "answered", ""
        lost = answer is None and "json" in response.headers.get("content-type", "")
        results = _lost(event_ids) if lost else _judged(event_ids, told)
    elif status in CONTENT_AT_FAULT:
        kind = "refused"
    elif status in ENDPOINT_AT_FAULT:
        skew = _skew(response, now) if status == 401 else 0.0
        if abs(skew) > signature.TOLERANCE.total_seconds():
            reason += f" - its clock is {abs(skew) / 60:.0f} min {'ahead of' if skew > 0 else 'behind'} this one"
        else:
            kind = "pause"
    return Outcome(
        kind=kind,
        delivery_id=delivery_id,
        status=status,
        results=results,
        reason=reason,
        retry_after=_retry_after(response.headers.get("retry-after"), now),
    )


class _Told(msgspec.Struct):
    id: str
    status: str
    reason: str | None = None


def _told(answer: bytes | None) -> list[_Told] | None:
    """The per-event results; None when the answer has none."""
    try:
        value = msgspec.json.decode(answer or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or "results" not in value:
        return None
    try:
        return msgspec.convert(value["results"], list[_Told])
    except msgspec.ValidationError:
        return []


def _judged(event_ids: Sequence[str], told: list[_Told] | None) -> dict[str, Result]:
    """Every event of the batch gets a result: an answer without results takes all, one with results names all."""
    if told is None:
        return dict.fromkeys(event_ids, Result("accepted"))
    results = dict.fromkeys(event_ids, Result("retry_later", "the answer does not name this event"))
    for item in told:
        if item.id in results:
            results[item.id] = _result(item)
    return results


def _result(item: _Told) -> Result:
    verdict = VERDICTS.get(item.status)
    if verdict is None:
        return Result("retry_later", f"the answer has the unknown status {_plain(item.status)}")
    return Result(verdict, _plain(item.reason) if item.reason else "")


def _lost(event_ids: Sequence[str]) -> dict[str, Result]:
    return dict.fromkeys(
        event_ids, Result("retry_later", f"the answer is encoded, or longer than {ANSWER_LIMIT} bytes")
    )


def _checked(url: str, *, allow_private: bool) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        problem = targets.objection(parsed, allow_private=allow_private)
    except httpx.InvalidURL as error:
        problem = str(error)
    if problem:
        raise ConfigurationError(
            f"the webhook URL cannot be used: {problem}",
            where="[destinations] url",
            fix="use an https URL on the public internet, or set allow_private = true for a backend of your own",
        )
    return parsed


def _keys(secrets: Sequence[Secret]) -> list[bytes]:
    try:
        keys = [signature.key(secret.reveal()) for secret in secrets]
    except ValueError as error:
        raise ConfigurationError(
            f"the webhook secret cannot be used: {error}",
            where="[destinations] secret",
            fix="create one with 32 random bytes, as whsec_<base64>",
        ) from error
    if not keys:
        raise ConfigurationError("a webhook needs a secret", where="[destinations] secret", fix="add one")
    return keys


async def _read(response: httpx.Response) -> bytes | None:
    """The answer; None when it is longer than we read, or encoded although we asked it not to be."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return None
    answer = b""
    async for chunk in response.aiter_raw():
        answer += chunk
        if len(answer) > ANSWER_LIMIT:
            return None
    return answer


def _reason(status: int, answer: bytes | None) -> str:
    text = _plain((answer or b"").decode(errors="replace"))
    return f"HTTP {status}: {text}" if text else f"HTTP {status}"


def _plain(text: str) -> str:
    """Short, on one line, without secrets."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return redact(" ".join(line.split()))[:REASON_LIMIT]


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, from a number or an HTTP date."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else (_http_date(value) - now).total_seconds()
    except ValueError:
        return None
    shortest, longest = RETRY_AFTER
    return min(max(seconds, shortest), longest)


def _skew(response: httpx.Response, now: datetime) -> float:
    """Seconds that the other clock is ahead, as far as it tells."""
    try:
        return (_http_date(response.headers.get("date", "")) - now).total_seconds()
    except ValueError:
        return 0.0


def _http_date(value: str) -> datetime:
    date = parsedate_to_datetime(value)
    return date if date.tzinfo else date.replace(tzinfo=UTC)
