"""Webhooks: validated by an empty POST, signed over the very bytes, and no promise of order (sheet 10)."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from tests.adapters.exactonline.simulated import Client, simulated

HOOK = "http://app.test/hook"


class Receiver:
    """Answers what it is told to and keeps every body."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append(await Request(scope, receive).body())
        await Response(status_code=self.status)(scope, receive, send)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Client, Receiver]]:
    receiver = Receiver()
    async with simulated() as client:
        client.simulator.webhooks._client = lambda: httpx.AsyncClient(transport=httpx.ASGITransport(app=receiver))
        yield client, receiver


async def subscribe(client: Client, topic: str = "Accounts") -> httpx.Response:
    url = f"/api/v1/{client.simulator.division}/webhooks/WebhookSubscriptions"
    answer = await client.http.post(url, json={"CallbackURL": HOOK, "Topic": topic})
    await client.simulator.webhooks.settle()
    return answer


async def test_a_subscription_is_validated_by_an_empty_post() -> None:
    async with listening() as (client, receiver):
        before = client.clock.now()
        answer = await subscribe(client)
        assert answer.status_code == 201
        assert receiver.bodies == [b""]
        assert (client.clock.now() - before).total_seconds() == 1
        [row] = await client.rows("webhooks/WebhookSubscriptions")
        assert (row["Topic"], row["CallbackURL"]) == ("Accounts", HOOK)


async def test_a_receiver_that_refuses_the_empty_post_loses_its_subscription() -> None:
    async with listening() as (client, receiver):
        receiver.status = 400
        await subscribe(client)
        assert await client.rows("webhooks/WebhookSubscriptions") == []
        assert client.simulator.violations["webhook_validation_failed"] == 1


async def test_one_subscription_per_topic() -> None:
    async with listening() as (client, _):
        await subscribe(client)
        again = await subscribe(client)
        assert (again.status_code, "Data already exists" in again.text) == (500, True)
        [row] = await client.rows("webhooks/WebhookSubscriptions")
        url = f"/api/v1/{client.simulator.division}/webhooks/WebhookSubscriptions(guid'{row['ID']}')"
        assert (await client.http.delete(url)).status_code == 204
        assert await client.rows("webhooks/WebhookSubscriptions") == []


async def test_a_delivery_is_signed_over_its_content_as_sent() -> None:
    async with listening() as (client, receiver):
        await subscribe(client)
        customer = client.simulator.bookkeeper.perform("change_email").ids[0]
        assert await client.simulator.webhooks.deliver() == 1
        body = receiver.bodies[-1]
        content = body.split(b'{"Content":')[1].split(b',"HashCode":"')[0]
        key = client.simulator.settings.webhook_secret.encode()
        expected = hmac.new(key, content, hashlib.sha256).hexdigest().upper()
        assert json.loads(body)["HashCode"] == expected
        told = json.loads(content)
        assert (told["Topic"], told["Action"], told["Key"]) == ("Accounts", "Update", customer)
        assert told["Division"] == client.simulator.division
        assert told["ExactOnlineEndpoint"].endswith(f"crm/Accounts(guid'{customer}')")


@pytest.mark.parametrize(
    ("act", "topic", "action"),
    [
        ("new_customer", "Accounts", "Create"),
        ("invoice", "SalesEntries", "Create"),
        ("pay", "BankEntries", "Create"),
        ("write_off", "GeneralJournalEntries", "Create"),
        ("delete_receipt", "BankEntries", "Delete"),
        ("invoice", "Documents", "Create"),
    ],
)
async def test_topics_of_bookings(act: str, topic: str, action: str) -> None:
    async with listening() as (client, receiver):
        await subscribe(client, topic)
        client.simulator.bookkeeper.perform(act)
        await client.simulator.webhooks.deliver()
        told = [json.loads(body)["Content"] for body in receiver.bodies[1:]]
        assert {(one["Topic"], one["Action"]) for one in told} == {(topic, action)}


async def test_matching_is_announced_to_nobody() -> None:
    async with listening() as (client, receiver):
        for topic in ("SalesEntries", "BankEntries", "GeneralJournalEntries", "Accounts"):
            await subscribe(client, topic)
        client.simulator.bookkeeper.perform("unmatch", item=_paid(client))
        assert await client.simulator.webhooks.deliver() == 0
        assert set(receiver.bodies) == {b""}


def _paid(client: Client) -> str:
    items = client.books.matching.items.values()
    return next(
        item.id
        for item in items
        if item.matches and {part.item.kind.value for part in item.matches[0].parts} == {"invoice", "receipt"}
    )


async def test_failed_deliveries_come_again_and_in_the_end_not() -> None:
    async with listening() as (client, receiver):
        await subscribe(client)
        client.simulator.bookkeeper.perform("change_email")
        receiver.status = 500
        assert await client.simulator.webhooks.deliver() == 0
        assert await client.simulator.webhooks.deliver() == 0
        assert len(receiver.bodies) == 2  # the second was not due yet
        client.clock.advance(2 * 60)
        await client.simulator.webhooks.deliver()
        assert len(receiver.bodies) == 3
        for _ in range(20):
            client.clock.advance(2**10 * 60)
            await client.simulator.webhooks.deliver()
        assert len(receiver.bodies) == 1 + 10


async def test_duplicates_and_disorder() -> None:
    async with listening() as (client, receiver):
        await subscribe(client)
        for _ in range(3):
            client.clock.advance(1)
            client.simulator.bookkeeper.perform("change_email")
        await client.simulator.webhooks.deliver(twice=True, backwards=True)
        stamps = [json.loads(body)["Content"]["EventCreatedOn"] for body in receiver.bodies[1:]]
        assert stamps[:3] == stamps[3:] == sorted(stamps[:3], reverse=True)
        assert len(set(stamps)) == 3


async def test_topics_are_listed() -> None:
    async with simulated() as client:
        rows = await client.rows("webhooks/WebhookTopics")
        assert {"Accounts", "SalesEntries", "BankEntries"} <= {row["Topic"] for row in rows}
