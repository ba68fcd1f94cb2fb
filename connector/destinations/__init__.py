"""Where events go. A destination sends one batch and says, as a value, what became of it."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Kind = Literal["answered", "retry", "pause", "refused"]
Verdict = Literal["accepted", "duplicate", "superseded", "retry_later", "rejected"]
TAKEN: frozenset[Verdict] = frozenset({"accepted", "duplicate", "superseded"})


class Sendable(Protocol):
    """What a destination needs to know of an event."""

    @property
    def event_id(self) -> str: ...

    @property
    def body(self) -> bytes: ...


class Result(Struct, frozen=True):
    """What the destination said about one event."""

    verdict: Verdict
    reason: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    """How one request ended.

    kind: answered (look at `results`) | retry (the destination as a whole failed in a manner that passes) |
    pause (a person must look at the destination) | refused (the content of this batch is at fault).
    """

    kind: Kind
    delivery_id: str
    status: int | None = None
    results: Mapping[str, Result] = {}
    """By event id, for every event of the batch; empty unless answered."""
    reason: str = ""
    retry_after: float | None = None
    """Seconds the destination asked for."""


class Destination(Protocol):
    """One place that takes events."""

    batch_events: int
    batch_bytes: int

    async def send(self, batch: Sequence[Sendable]) -> Outcome:
        """One attempt, within a deadline of the destination's own. The same batch is sent as the same bytes.

        What the other side or the network does wrong is an outcome; an exception is a bug.
        """
        ...

    async def close(self) -> None: ...
