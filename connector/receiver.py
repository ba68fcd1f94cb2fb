"""The reference receiver: a small dunning backend that mirrors the books from events alone.

It knows the contract of `docs/events.md` and nothing else of this program: not its records, not its store. The demo
shows it and the tests use it as their oracle. `Receiver.faults` makes it misbehave.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from connector import signature
from connector.clock import Clock, SystemClock

Verdict = Literal["accepted", "duplicate", "superseded", "retry_later", "rejected"]

BATCH = "application/cloudevents-batch+json"
SINGLE = "application/cloudevents+json"
ENTITIES = ("administration", "customer", "invoice", "payment")
MAX_BODY = 5_000_000


class Meta(Struct):
    entity_version: int


class Data(Struct):
    meta: Meta
    record: Raw = Raw(b"null")


class Event(Struct):
    """What a receiver needs of a CloudEvent; unknown attributes are ignored."""

    id: str
    source: str
    type: str
    subject: str
    sequence: str
    partitionkey: str
    data: Data


class Result(Struct, omit_defaults=True):
    id: str
    status: Verdict
    reason: str = ""


class Seen(Struct):
    """One event as it arrived; `digest` is taken over its exact bytes."""

    id: str
    source: str
    type: str
    subject: str
    sequence: int
    entity_version: int
    partitionkey: str
    digest: str
    verdict: str


class Delivery(Struct):
    """One request as it arrived and was answered (0: the answer was broken off)."""

    at: datetime
    id: str
    digest: str
    status: int
    events: list[Seen] = []


class Fault(Struct, kw_only=True):
    """One way to misbehave, `times` times (None: for ever), on requests that hold an event matching `match`.

    `verdict` answers for the matching events only; `status` for the whole request. `applied` says whether the events
    were taken in before the answer went wrong; `broken` breaks the answer off.
    """

    times: int | None = 1
    match: str = ""
    """Part of a subject or type; empty matches every event."""
    delay: float = 0
    verdict: Verdict | None = None
    status: int | None = None
    headers: dict[str, str] = {}
    applied: bool = False
    broken: bool = False

    def concerns(self, event: Event) -> bool:
        return self.match in event.subject or self.match in event.type


class Books:
    """What the events of one source say: the newest version of each entity."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.records: dict[str, dict[str, bytes]] = {entity: {} for entity in ENTITIES}
        self.signals: dict[str, bytes] = {}

    def apply(self, event: Event) -> Verdict:
        version = event.data.meta.entity_version
        if version <= self.versions.get(event.subject, 0):
            return "superseded"
        self.versions[event.subject] = version
        entity, _, external_id = event.subject.partition("/")
        if entity not in self.records:
            self.signals[event.type] = bytes(event.data.record)
        elif event.type.startswith(f"ar.{entity}.removed."):
            self.records[entity].pop(external_id, None)
        else:
            self.records[entity][external_id] = bytes(event.data.record)
        return "accepted"

    def shown(self) -> dict[str, Any]:
        """As `GET /mirror` gives it: the records, how many, and what they add up to."""
        invoices = [_AMOUNTS.decode(record) for record in self.records["invoice"].values()]
        payments = [_AMOUNTS.decode(record) for record in self.records["payment"].values()]
        open_: dict[str, Decimal] = defaultdict(Decimal)
        for item in invoices:
            open_[item.currency] += item.open
        for item in payments:
            open_[item.currency] -= item.unallocated
        return {
            "administration": next((Raw(record) for record in self.records["administration"].values()), None),
            "customers": _raw(self.records["customer"]),
            "invoices": _raw(self.records["invoice"]),
            "payments": _raw(self.records["payment"]),
            "signals": _raw(self.signals),
            "freshness": Raw(self.signals.get("ar.freshness.updated.v1", b"null")),
            "counts": {entity: len(records) for entity, records in self.records.items()},
            "totals": {
                "open": {currency: str(amount) for currency, amount in sorted(open_.items())},
                "base": str(
                    sum((item.base_open for item in invoices), Decimal(0))
                    - sum((item.base_unallocated for item in payments), Decimal(0))
                ),
            },
        }


class Amounts(Struct):
    currency: str
    open: Decimal = Decimal(0)
    base_open: Decimal = Decimal(0)
    unallocated: Decimal = Decimal(0)
    base_unallocated: Decimal = Decimal(0)


_AMOUNTS = msgspec.json.Decoder(Amounts)
_BATCH = msgspec.json.Decoder(list[Raw])
_EVENT = msgspec.json.Decoder(Event)
_FAULTS = msgspec.json.Decoder(list[Fault])


def _raw(records: dict[str, bytes]) -> dict[str, Raw]:
    return {name: Raw(record) for name, record in records.items()}


class Receiver:
    """`POST /events` takes deliveries; `GET /mirror`, `GET /history` show them; `POST /faults` is for tests."""

    def __init__(self, secrets: Sequence[str], *, clock: Clock | None = None, max_body: int = MAX_BODY) -> None:
        self.keys = [signature.key(secret) for secret in secrets]
        self.clock = clock or SystemClock()
        self.max_body = max_body
        self.books: dict[str, Books] = defaultdict(Books)
        self.history: list[Delivery] = []
        self.faults: list[Fault] = []
        self._known: set[str] = set()
        self.app = Starlette(
            routes=[
                Route("/events", self._events, methods=["POST"]),
                Route("/mirror", self._mirror, methods=["GET"]),
                Route("/history", self._history, methods=["GET"]),
                Route("/faults", self._set_faults, methods=["POST"]),
            ]
        )

    def mirror(self) -> dict[str, Any]:
        """The mirrored books by source, as plain JSON values."""
        shown = {source: books.shown() for source, books in self.books.items()}
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(shown))
        return plain

    def forget(self) -> None:
        """As on the first day: nothing mirrored, nothing seen, no faults."""
        for memory in (self.books, self.history, self.faults, self._known):
            memory.clear()

    async def _events(self, request: Request) -> Response:
        body = await self._body(request)
        delivery = Delivery(
            at=self.clock.now(), id=request.headers.get("webhook-id", ""), digest=sha256(body).hexdigest(), status=0
        )
        self.history.append(delivery)
        try:
            events, delivery.events = self._open(request, body)
        except Refused as error:
            answer = _json({"error": str(error)}, error.status)
        else:
            answer = await self._take(events, delivery)
        delivery.status = 0 if isinstance(answer, BrokenOff) else answer.status_code
        return answer

    def _open(self, request: Request, body: bytes) -> tuple[list[Event], list[Seen]]:
        if len(body) > self.max_body:
            raise Refused(413, f"more than {self.max_body} bytes")
        try:
            signature.verify(self.keys, request.headers, body, self.clock.now())
        except signature.InvalidSignature as error:
            raise Refused(401, str(error)) from error
        media_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in {BATCH, SINGLE}:
            raise Refused(415, f"send {BATCH} or {SINGLE}")
        try:
            parts = [bytes(part) for part in _BATCH.decode(body)] if media_type == BATCH else [body]
            events = [_EVENT.decode(part) for part in parts]
            return events, [_seen(event, part) for event, part in zip(events, parts, strict=True)]
        except ValueError as error:
            raise Refused(400, str(error)) from error

    async def _take(self, events: Sequence[Event], delivery: Delivery) -> Response:
        fault = self._fault(events)
        if fault.delay:
            await self.clock.sleep(fault.delay)
        results: list[Result] = []
        if fault.applied or not fault.status:
            results = self._apply(events, fault)
            for seen, result in zip(delivery.events, results, strict=True):
                seen.verdict = result.status
        if fault.broken:
            return BrokenOff()
        if fault.status:
            return Response(status_code=fault.status, headers=fault.headers)
        return _json({"results": results})

    def _apply(self, events: Sequence[Event], fault: Fault) -> list[Result]:
        """In order; behind an event that was not taken, the rest of its partition is asked for again."""
        results: list[Result] = []
        stopped: set[tuple[str, str]] = set()
        for event in events:
            partition = (event.source, event.partitionkey)
            if partition in stopped:
                results.append(Result(event.id, "retry_later", "an earlier event of this partition was not taken"))
            elif fault.verdict and fault.concerns(event):
                results.append(Result(event.id, fault.verdict, "asked for by a test"))
                stopped.add(partition)
            elif event.id in self._known:
                results.append(Result(event.id, "duplicate"))
            else:
                self._known.add(event.id)
                results.append(Result(event.id, self.books[event.source].apply(event)))
        return results

    def _fault(self, events: Sequence[Event]) -> Fault:
        for fault in self.faults:
            if fault.times != 0 and any(fault.concerns(event) for event in events):
                if fault.times:
                    fault.times -= 1
                return fault
        return Fault()

    async def _body(self, request: Request) -> bytes:
        """Never much more than the limit, whatever the sender announces."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self.max_body:
                break
        return bytes(body)

    async def _mirror(self, _: Request) -> Response:
        return _json({source: books.shown() for source, books in self.books.items()})

    async def _history(self, _: Request) -> Response:
        return _json(self.history)

    async def _set_faults(self, request: Request) -> Response:
        self.faults = _FAULTS.decode(await request.body())
        return Response(status_code=204)


class Refused(Exception):
    """The request as a whole cannot be taken."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BrokenOff(Response):
    """Announces a body and ends the connection before sending it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})


def _seen(event: Event, part: bytes) -> Seen:
    return Seen(
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        sequence=int(event.sequence),
        entity_version=event.data.meta.entity_version,
        partitionkey=event.partitionkey,
        digest=sha256(part).hexdigest(),
        verdict="",
    )


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
