"""Group F of the fault catalogue: what a backend does to a delivery.

Proved elsewhere: F2 in `test_a_processes.py` (`deliver.after_post`) and `tests/connector/test_delivery*.py` (F3, F4,
F8, F10, F11, F13 as well); F6 and F14 in `tests/connector/test_webhook*.py`.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connector.delivery import Deliverer
from connector.destinations.webhook import Webhook
from connector.receiver import Fault, Receiver
from connector.resend import Resend
from connector.secrets import Secret
from connector.store import connections
from connector.store.engine import Store, open_store
from connector.store.outbox import NewEvent, append
from tests.clocks import ManualClock
from tests.faults.harness import badly_told, outbox
from tests.memory_engine import Bench
from tests.servers import serve
from tests.stories.world import SECRET, Door

NEXT_SECRET = "whsec_bmV4dC1zZWNyZXQtbmV4dC1zZWNyZXQtbmV4dC0xMjM="
ITEMS, HOUR_S = 20, 3600.0
TTL = timedelta(minutes=2)


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    with contextlib.closing(open_store(sqlite_url)) as store:
        bench = Bench(store)
        bench.books.customer("A", "Customer A")
        for number in range(ITEMS):
            bench.books.item(f"i{number}", "A", "100.00", "100.00")
        yield bench


class Backend:
    """A receiver on a socket, and deliveries to it."""

    def __init__(self, store: Store, clock: ManualClock, url: str, door: Door) -> None:
        self.store, self.clock, self.url, self.door = store, clock, url, door
        self.receiver = self.holding(SECRET)

    def holding(self, *secrets: str) -> Receiver:
        """One that knows these secrets, with what the one before it knew."""
        known = getattr(self, "receiver", None)
        self.receiver = Receiver(secrets, clock=self.clock)
        if known is not None:
            self.receiver.books, self.receiver.history = known.books, known.history
        self.door.app = self.receiver.app
        return self.receiver

    async def deliver(self, *secrets: str, deadline: float = 30, to: str = "backend") -> str:
        keys = [Secret(secret) for secret in secrets or (SECRET,)]
        hook = Webhook(f"{self.url}/events", keys, clock=self.clock, allow_private=True, deadline=deadline)
        try:
            return (await Deliverer(self.store, {to: hook}, self.clock).deliver_once(to)).ended
        finally:
            await hook.close()

    def wait(self) -> None:
        self.clock.advance(HOUR_S)

    @property
    def told(self) -> list[Any]:
        return [event for delivery in self.receiver.history for event in delivery.events]

    def equals(self, bench: Bench) -> bool:
        mirror = next(iter(self.receiver.mirror().values()))
        shown = {key: one["open"] for key, one in mirror["invoices"].items()}
        return shown == {key: str(open_) for key, (_, _, open_) in bench.books.items.items()}


@pytest.fixture
async def backend(bench: Bench) -> AsyncIterator[Backend]:
    door = Door()
    async with serve(door) as url:
        yield Backend(bench.store, bench.clock, url, door)


async def change_everything(bench: Bench, cents: int) -> None:
    for number in range(ITEMS):
        bench.books.item(f"i{number}", "A", "100.00", f"50.{cents:02}")
    assert (await bench.cycle()).outcome == "ok"


async def test_f1_down_for_three_days_while_everything_keeps_changing(bench: Bench, backend: Backend) -> None:
    """Few probes; each item is told once or twice afterwards, not 24 times; in order."""
    backend.receiver.faults = [Fault(times=None, status=503)]
    for cents in range(24):
        await change_everything(bench, cents)
        assert await backend.deliver() in {"failing", "waiting"}
        bench.clock.advance(3 * HOUR_S)
    assert len(backend.receiver.history) <= 20, "probes, not storms"
    backend.receiver.faults = []
    bench.clock.advance(24 * HOUR_S)
    assert await backend.deliver() == "drained"
    taken = Counter(event.subject for event in backend.told if event.verdict == "accepted")
    assert {subject: times for subject, times in taken.items() if times > 2} == {}
    assert backend.equals(bench)
    assert badly_told(backend.receiver.history, outbox(bench.store)) == []


async def test_f5_an_answer_after_the_deadline_is_asked_for_again(bench: Bench, backend: Backend) -> None:
    """The late answer was to events that the receiver had taken; it knows them when they come again."""
    await bench.cycle()
    late = Late(backend.receiver.app)
    backend.door.app = late
    assert await backend.deliver(deadline=0.3) == "failing"
    late.answer.set()
    backend.wait()
    assert await backend.deliver() == "drained"
    assert "duplicate" in {event.verdict for event in backend.told}
    assert backend.equals(bench)
    assert badly_told(backend.receiver.history, outbox(bench.store)) == []


class Late:
    """Takes a request in, and answers when a test says so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def later(message: Message) -> None:
            await self.answer.wait()
            await send(message)

        await self._app(scope, receive, later)


async def test_f9_the_secret_is_rotated_in_the_middle_of_a_backlog(bench: Bench, backend: Backend) -> None:
    """The sender signs with both first, then the receiver changes, then the old one goes; nothing is refused."""
    for cents, (held, signed) in enumerate(
        (
            ((SECRET,), (SECRET,)),
            ((SECRET,), (SECRET, NEXT_SECRET)),
            ((SECRET, NEXT_SECRET), (SECRET, NEXT_SECRET)),
            ((NEXT_SECRET,), (SECRET, NEXT_SECRET)),
            ((NEXT_SECRET,), (NEXT_SECRET,)),
        )
    ):
        await change_everything(bench, cents)
        backend.holding(*held)
        assert await backend.deliver(*signed) == "drained"
    assert {delivery.status for delivery in backend.receiver.history} == {200}
    assert backend.equals(bench)
    assert badly_told(backend.receiver.history, outbox(bench.store)) == []


async def test_f12_everything_again_while_changes_go_on(bench: Bench, backend: Backend) -> None:
    """Nothing overtakes, no version goes down, and the newest state wins."""
    await bench.cycle()
    await backend.deliver()
    await change_everything(bench, 1)
    resend(bench)
    await change_everything(bench, 2)
    resend(bench)
    backend.receiver.faults = [Fault(times=2, match="invoice/i3", status=503, applied=True)]
    ended = ""
    while ended != "drained":
        ended = await backend.deliver()
        backend.wait()
        if ended != "drained":
            await change_everything(bench, 3)
    assert backend.equals(bench)
    newest: dict[str, int] = {}
    for event in backend.told:
        if event.verdict == "accepted":
            assert event.entity_version > newest.get(event.subject, 0)
            newest[event.subject] = event.entity_version
    assert {one.state for one in outbox(bench.store)} <= {"delivered", "superseded"}


def resend(bench: Bench) -> None:
    now = bench.clock.now()
    lease = connections.claim(bench.store, 1, owner="me", now=now, ttl=TTL)
    linked = connections.find(bench.store, "acme")
    Resend(store=bench.store, clock=bench.clock, lease=lease, lease_ttl=TTL, connection=linked, run_id="again").run()
    connections.finish(bench.store, lease, now=now, next_due_at=now, outcome="ok", reason="", succeeded=True)


async def test_f7_a_time_that_the_endpoint_asks_for_is_kept_by_that_endpoint_only(
    bench: Bench, backend: Backend
) -> None:
    await bench.cycle()
    events_for(bench, "other")
    backend.receiver.faults = [Fault(status=429, headers={"Retry-After": "900"})]
    assert await backend.deliver() == "failing"
    bench.clock.advance(899)
    asked = len(backend.receiver.history)
    assert (await backend.deliver(), len(backend.receiver.history)) == ("waiting", asked)
    assert await backend.deliver(to="other") == "drained"
    bench.clock.advance(2)
    assert await backend.deliver() == "drained"
    assert badly_told(backend.receiver.history, outbox(bench.store)) == []


def events_for(bench: Bench, name: str) -> None:
    """Another client's books, for another endpoint."""
    other = connections.register(
        bench.store, name="globex", package="memory", administration="2", destination=name, now=bench.clock.now()
    )
    event = NewEvent(
        type="ar.invoice.upserted.v1",
        entity="invoice",
        external_id="i1",
        entity_version=1,
        ordering_key="2/B",
        data=b'{"meta":{"entity_version":1},"record":{"currency":"EUR"}}',
    )
    with bench.store.write() as connection:
        append(
            connection,
            connection_id=other.id,
            destination=name,
            source=other.source,
            events=[event],
            now=bench.clock.now(),
        )
