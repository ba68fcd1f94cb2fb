"""A backlog by hand, and destinations that answer as they are told."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from connector.clock import Clock
from connector.delivery import Deliverer
from connector.destinations import Outcome, Result, Sendable
from connector.destinations.webhook import Webhook
from connector.secrets import Secret
from connector.store import connections, destinations, outbox
from connector.store.destinations import Health
from connector.store.engine import Store
from connector.store.outbox import Claimed, NewEvent
from tests.clocks import ManualClock

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE="
SOURCE = "urn:connector:acme:simulated:1"
NAME = "dunning"
CLOCK = ManualClock()

Answer = Callable[[Sequence[Sendable]], Outcome]


def accept(batch: Sequence[Sendable]) -> Outcome:
    return Outcome(
        kind="answered", delivery_id="d", status=200, results={e.event_id: Result("accepted") for e in batch}
    )


def fail(_: Sequence[Sendable]) -> Outcome:
    return Outcome(kind="retry", delivery_id="d", status=503, reason="HTTP 503")


def refuse(_: Sequence[Sendable]) -> Outcome:
    return Outcome(kind="refused", delivery_id="d", status=400, reason="HTTP 400")


def pause(_: Sequence[Sendable]) -> Outcome:
    return Outcome(kind="pause", delivery_id="d", status=410, reason="HTTP 410")


class Scripted:
    """Gives the scripted answers, then accepts everything; remembers what it got."""

    batch_events = 64
    batch_bytes = 1_000_000

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.otherwise: Answer = accept
        self.batches: list[list[Sendable]] = []

    async def send(self, batch: Sequence[Sendable]) -> Outcome:
        self.batches.append(list(batch))
        return (self.answers.pop(0) if self.answers else self.otherwise)(batch)

    async def close(self) -> None: ...

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def deliverer(store: Store, clock: ManualClock, destination: Scripted | Webhook, owner: str = "one") -> Deliverer:
    return Deliverer(store, {NAME: destination}, clock, rng=random.Random(7), owner=owner)


def local(url: str, *secrets: str, clock: Clock = CLOCK, **options: Any) -> Webhook:
    """A webhook to a server of this machine."""
    given = [Secret(secret) for secret in secrets or (SECRET,)]
    return Webhook(url, given, clock=clock, allow_private=True, **options)


def write(store: Store, clock: ManualClock, *subjects: str, version: int = 1, size: int = 0) -> None:
    """One invoice for each `customer/invoice`."""
    linked = connections.register(
        store, name="acme", package="simulated", administration="1", destination=NAME, now=clock.now()
    )
    new = [
        NewEvent(
            type="ar.invoice.upserted.v1",
            entity="invoice",
            external_id=subject.partition("/")[2],
            entity_version=version,
            ordering_key=f"1/{subject.partition('/')[0]}",
            data=b'{"meta":{"entity_version":%d},"record":{"currency":"EUR","note":"%s"}}' % (version, b"x" * size),
        )
        for subject in subjects
    ]
    with store.write() as connection:
        outbox.append(connection, connection_id=linked.id, destination=NAME, source=SOURCE, events=new, now=clock.now())


def health(store: Store) -> Health:
    with store.read() as connection:
        return destinations.health(connection, NAME)


def subjects(batch: Sequence[Sendable]) -> list[str]:
    return [event.external_id for event in batch if isinstance(event, Claimed)]
