"""What every destination does, whatever it sends to. Inherit, and provide the fixtures."""

import pytest
from msgspec import Struct

from connector.destinations import TAKEN, Destination
from connector.domain.events import cloud_event
from connector.receiver import Fault, Receiver
from tests.clocks import ManualClock


class Event(Struct):
    """The part of a claimed event that a destination sees."""

    event_id: str
    body: bytes


def event(number: int, name: str = "", size: int = 0) -> Event:
    event_id, body = cloud_event(
        source="urn:connector:acme:simulated:1",
        sequence=number,
        event_type="ar.invoice.upserted.v1",
        subject=f"invoice/{name or number}",
        partition=f"1/{name or number}",
        time=ManualClock().now(),
        data=b'{"meta":{"entity_version":%d},"record":{"note":"%s"}}' % (number, b"x" * size),
    )
    return Event(event_id, body)


class DestinationConformance:
    """`receiver` is the other side, `destination` sends to it, `unreachable` sends to nobody."""

    @pytest.fixture
    def receiver(self) -> Receiver:
        raise NotImplementedError

    @pytest.fixture
    def destination(self) -> Destination:
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self) -> Destination:
        raise NotImplementedError

    async def test_every_event_arrives_once_and_in_order(self, destination: Destination, receiver: Receiver) -> None:
        batch = [event(number) for number in range(1, 6)]
        outcome = await destination.send(batch)
        assert outcome.kind == "answered"
        assert [outcome.results[sent.event_id].verdict for sent in batch] == ["accepted"] * 5
        (delivery,) = receiver.history
        assert [seen.id for seen in delivery.events] == [sent.event_id for sent in batch]

    async def test_the_same_batch_is_the_same_delivery(self, destination: Destination, receiver: Receiver) -> None:
        batch = [event(1), event(2)]
        first, again = await destination.send(batch), await destination.send(batch)
        other = await destination.send(batch[:1])
        assert first.delivery_id == again.delivery_id != other.delivery_id
        assert {result.verdict for result in again.results.values()} <= TAKEN
        digests = [delivery.digest for delivery in receiver.history]
        assert digests[0] == digests[1] != digests[2]

    @pytest.mark.parametrize("verdict", ["retry_later", "rejected"])
    async def test_a_verdict_concerns_its_event_only(
        self, destination: Destination, receiver: Receiver, verdict: str
    ) -> None:
        receiver.faults = [Fault(match="invoice/bad", verdict=verdict)]
        batch = [event(1), event(2, "bad"), event(3)]
        outcome = await destination.send(batch)
        assert [outcome.results[sent.event_id].verdict for sent in batch] == ["accepted", verdict, "accepted"]

    @pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=500, applied=True), Fault(broken=True)])
    async def test_what_goes_wrong_over_there_is_an_outcome(
        self, destination: Destination, receiver: Receiver, fault: Fault
    ) -> None:
        receiver.faults = [fault]
        failed = await destination.send([event(1)])
        assert failed.kind == "retry"
        assert failed.reason
        assert (await destination.send([event(1)])).kind == "answered"

    async def test_nobody_over_there_is_an_outcome(self, unreachable: Destination) -> None:
        outcome = await unreachable.send([event(1)])
        assert outcome.kind == "retry"
        assert outcome.reason

    async def test_closing_twice_does_no_harm(self, destination: Destination) -> None:
        await destination.close()
        await destination.close()
