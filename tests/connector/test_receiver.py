"""The reference receiver: what it takes, what it refuses, and the mirror it keeps."""

import json
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import httpx
import msgspec
import pytest

from connector import signature
from connector.domain.events import cloud_event
from connector.receiver import BATCH, SINGLE, Fault, Receiver
from tests.clocks import ManualClock
from tests.servers import serve

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTE="
SOURCE = "urn:connector:acme:simulated:1"


def event(
    subject: str,
    version: int = 1,
    *,
    sequence: int | None = None,
    verb: str = "upserted",
    record: dict[str, Any] | None = None,
    source: str = SOURCE,
    partition: str = "1/c",
) -> bytes:
    entity = subject.partition("/")[0]
    return cloud_event(
        source=source,
        sequence=sequence if sequence is not None else crc32(f"{subject} {version} {verb}".encode()),
        event_type=f"ar.{entity}.{verb}.v1",
        subject=subject,
        partition=partition,
        time=ManualClock().now(),
        data=json.dumps({"meta": {"entity_version": version}, "record": record or {"currency": "EUR"}}).encode(),
    )[1]


class Sender:
    """Posts signed batches to a receiver."""

    def __init__(self, receiver: Receiver, http: httpx.AsyncClient) -> None:
        self.receiver = receiver
        self._http = http

    async def post(self, *events: bytes, **changed: Any) -> httpx.Response:
        return await self.raw(b"[" + b",".join(events) + b"]", **changed)

    async def raw(self, body: bytes, *, media_type: str = BATCH, secret: str = SECRET) -> httpx.Response:
        signed = signature.headers([signature.key(secret)], "dlv_1", self.receiver.clock.now(), body)
        return await self._http.post("/events", content=body, headers={"content-type": media_type} | signed)

    async def get(self, path: str) -> Any:
        return (await self._http.get(path)).json()

    async def fault(self, *faults: Fault) -> None:
        assert (await self._http.post("/faults", content=msgspec.json.encode(faults))).status_code == 204


@pytest.fixture
async def sender() -> Any:
    receiver = Receiver([SECRET], clock=ManualClock(), max_body=20_000)
    async with serve(receiver.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        yield Sender(receiver, http)


def verdicts(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [result["status"] for result in answer.json()["results"]]


async def test_keeps_the_newest_version_of_each_entity(sender: Sender) -> None:
    first = event("invoice/i", 1, sequence=1)
    assert verdicts(await sender.post(first, event("invoice/i", 3, sequence=3))) == ["accepted", "accepted"]
    assert verdicts(await sender.post(event("invoice/i", 2, sequence=2))) == ["superseded"]
    assert verdicts(await sender.post(first)) == ["duplicate"]
    assert [seen["entity_version"] for d in await sender.get("/history") for seen in d["events"]] == [1, 3, 2, 1]


async def test_a_removed_entity_does_not_come_back_by_an_old_event(sender: Sender) -> None:
    await sender.post(event("invoice/i", 1), event("invoice/i", 3, verb="removed"))
    assert verdicts(await sender.post(event("invoice/i", 2))) == ["superseded"]
    assert (await sender.get("/mirror"))[SOURCE]["invoices"] == {}
    assert verdicts(await sender.post(event("invoice/i", 4))) == ["accepted"]
    assert list((await sender.get("/mirror"))[SOURCE]["invoices"]) == ["i"]


async def test_the_mirror_adds_up_by_administration(sender: Sender) -> None:
    amounts = {"currency": "EUR", "open": "100.10", "base_open": "100.10"}
    dollars = {"currency": "USD", "open": "50", "base_open": "46.20"}
    money = {"currency": "EUR", "unallocated": "30.05", "base_unallocated": "30.05"}
    freshness = {"dunning_safe_as_of": "2026-11-19"}
    await sender.post(
        event("administration/1", record={"name": "Fietsen", "currency": "EUR"}),
        event("customer/c", record={"name": "Jansen", "external_id": "c"}),
        event("invoice/i", record=amounts),
        event("invoice/j", record=dollars),
        event("payment/p", record=money),
        event("freshness/1", verb="updated", record=freshness),
        event("invoice/i", source="urn:other", record=amounts),
    )
    mirror = await sender.get("/mirror")
    assert mirror == sender.receiver.mirror()
    books = mirror[SOURCE]
    assert books["totals"] == {"open": {"EUR": "70.05", "USD": "50"}, "base": "116.25"}
    assert books["counts"] == {"administration": 1, "customer": 1, "invoice": 2, "payment": 1}
    assert books["customers"]["c"]["name"] == "Jansen"
    assert books["administration"]["name"] == "Fietsen"
    assert books["freshness"] == freshness
    assert mirror["urn:other"]["totals"]["base"] == "100.10"


async def test_what_it_does_not_know_is_taken(sender: Sender) -> None:
    body = json.loads(event("gadget/g", verb="invented"))
    body["colour"] = "blue"
    assert verdicts(await sender.post(json.dumps(body).encode())) == ["accepted"]


async def test_a_single_event_needs_no_array(sender: Sender) -> None:
    assert verdicts(await sender.raw(event("invoice/i"), media_type=f"{SINGLE}; charset=utf-8")) == ["accepted"]


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"[", BATCH, 400),
        (b"{}", BATCH, 400),
        (b'[{"id": "1"}]', BATCH, 400),
        (b"[]", "application/json", 415),
        (b"[" + b" " * 20_001 + b"]", BATCH, 413),
        (b"[]", BATCH, 200),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_whole(
    sender: Sender, body: bytes, media_type: str, status: int
) -> None:
    assert (await sender.raw(body, media_type=media_type)).status_code == status
    assert [delivery["status"] for delivery in await sender.get("/history")] == [status]


async def test_nothing_unsigned_gets_in(sender: Sender) -> None:
    other = SECRET.replace("c2V", "c3V")
    assert (await sender.post(event("invoice/i"), secret=other)).status_code == 401
    assert await sender.get("/mirror") == {}


async def test_it_accepts_old_and_new_secret_during_a_rotation() -> None:
    other = SECRET.replace("c2V", "c3V")
    receiver = Receiver([SECRET, other], clock=ManualClock())
    async with serve(receiver.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for secret in (SECRET, other):
            assert (await Sender(receiver, http).post(event("invoice/i"), secret=secret)).status_code == 200


class TestFaults:
    """It misbehaves as told, and no longer."""

    async def test_a_status_before_or_after_taking(self, sender: Sender) -> None:
        await sender.fault(Fault(status=503, headers={"retry-after": "7"}), Fault(status=500, applied=True))
        first, second = [await sender.post(event("invoice/i")) for _ in range(2)]
        assert (first.status_code, first.headers["retry-after"], second.status_code) == (503, "7", 500)
        assert verdicts(await sender.post(event("invoice/i"))) == ["duplicate"]

    async def test_a_verdict_concerns_matching_events_and_stops_their_partition(self, sender: Sender) -> None:
        await sender.fault(Fault(match="invoice/bad", verdict="rejected", times=None))
        batch = [event("invoice/bad"), event("invoice/i"), event("invoice/j", partition="1/d")]
        for _ in range(2):
            assert verdicts(await sender.post(*batch))[:2] == ["rejected", "retry_later"]
        assert list((await sender.get("/mirror"))[SOURCE]["invoices"]) == ["j"]

    async def test_an_answer_that_breaks_off(self, sender: Sender) -> None:
        await sender.fault(Fault(broken=True))
        with pytest.raises(httpx.RemoteProtocolError):
            await sender.post(event("invoice/i"))
        assert [delivery["status"] for delivery in await sender.get("/history")] == [0]
        assert verdicts(await sender.post(event("invoice/i"))) == ["duplicate"]

    async def test_a_delay_is_on_its_own_clock(self, sender: Sender) -> None:
        await sender.fault(Fault(delay=29))
        before = sender.receiver.clock.now()
        await sender.post(event("invoice/i"))
        assert (sender.receiver.clock.now() - before).total_seconds() == 29


def test_it_knows_the_contract_only() -> None:
    """It could not be an oracle if it shared the records or the store with what it judges."""
    import ast
    from pathlib import Path

    import connector.receiver

    tree = ast.parse(Path(connector.receiver.__file__).read_text(encoding="utf-8"))
    ours: Sequence[str] = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("connector")
        for alias in node.names
    ]
    assert sorted(ours) == ["connector.clock.Clock", "connector.clock.SystemClock", "connector.signature"]
