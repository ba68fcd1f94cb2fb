"""How a koppelsleutel reaches an integration, and how it is taken away (sheet 1.2)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.adapters.snelstart.simulated import Client, simulated
from tests.servers import serve

PAGE = "/couplings/activate/SimulatedDunning"


class Inbox:
    """An integration's webhook, which keeps what it was told."""

    def __init__(self) -> None:
        self.status = 204
        self.told: list[dict[str, str]] = []
        self.headers: list[Any] = []
        self.app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        self.told.append(await request.json())
        self.headers.append(request.headers)
        return Response(status_code=self.status)


@asynccontextmanager
async def told() -> AsyncIterator[tuple[Client, Inbox]]:
    inbox = Inbox()
    async with serve(inbox.app) as base, simulated(webhook_url=f"{base}/hook") as client:
        yield client, inbox


async def test_activating_in_the_browser_tells_the_app_and_sends_the_user_back() -> None:
    async with told() as (client, inbox):
        asked = {"referenceKey": "r-1", "successUrl": "http://127.0.0.1:1/done?x=1"}
        page = await client.http.get(PAGE, params=asked)
        assert page.status_code == 200
        assert "approve=1" in page.text
        assert inbox.told == []
        done = await client.http.get(PAGE, params={**asked, "approve": "1"})
        assert (done.status_code, done.headers["location"]) == (302, asked["successUrl"])
        key = client.simulator.koppelsleutel
        assert inbox.told == [{"KoppelSleutel": key, "ActionType": "Create", "ReferenceKey": "r-1"}]
        assert not any("sign" in name or "hmac" in name for name in inbox.headers[0])
        await client.connect()
        assert (await client.get("companyInfo")).status_code == 200


@pytest.mark.parametrize("reference", [None, "", "x" * 501])
async def test_a_link_without_a_proper_reference_ends_on_an_error_page(reference: str | None) -> None:
    async with told() as (client, inbox):
        params = {"approve": "1"} | ({"referenceKey": reference} if reference is not None else {})
        assert (await client.http.get(PAGE, params=params)).status_code == 400
        assert (await client.http.get("/couplings/activate/Other", params={"referenceKey": "r"})).status_code == 400
        assert inbox.told == []


async def test_a_regenerated_key_replaces_the_old_one_at_once() -> None:
    async with told() as (client, inbox):
        client.simulator.activation.reference = "r-1"
        old = client.simulator.koppelsleutel
        answer = await client.http.post("/_sim/koppelsleutel", json={"action": "Regenerate"})
        new = answer.json()["koppelsleutel"]
        assert answer.json()["told"] is True
        assert inbox.told == [{"KoppelSleutel": new, "ActionType": "Regenerate", "ReferenceKey": "r-1"}]
        assert new != old
        assert (await client.get("companyInfo")).status_code == 401
        assert (await client.token(grant_type="clientkey", clientkey=old)).status_code == 400
        before = client.simulator.administration
        await client.connect()
        assert (await client.one("companyInfo"))["administratieIdentifier"] == before


async def test_a_new_key_may_open_other_books() -> None:
    async with told() as (client, _):
        await client.http.post("/_sim/koppelsleutel", json={"action": "Regenerate", "other_books": True})
        await client.connect()
        company = await client.one("companyInfo")
        assert company["administratieIdentifier"] != client.simulator.administration
        assert await client.rows("verkoopfacturen") == []


async def test_a_deleted_key_opens_nothing() -> None:
    async with told() as (client, inbox):
        await client.http.post("/_sim/koppelsleutel", json={"action": "Delete"})
        assert inbox.told[0]["ActionType"] == "Delete"
        assert (await client.get("companyInfo")).status_code == 401
        key = client.simulator.koppelsleutel
        assert (await client.token(grant_type="clientkey", clientkey=key)).status_code == 400


async def test_what_is_not_accepted_is_lost() -> None:
    async with told() as (client, inbox):
        inbox.status = 500
        answer = await client.http.post("/_sim/koppelsleutel", json={"action": "Regenerate"})
        assert answer.json()["told"] is False
        assert len(inbox.told) == 1
        client.settings.webhook_url = "http://127.0.0.1:1/hook"
        await client.http.post("/_sim/koppelsleutel", json={"action": "Regenerate"})
        assert client.simulator.violations["webhook_lost"] == 2
        await client.connect()


async def test_events_come_twice_or_late_when_told_to() -> None:
    async with told() as (client, inbox):
        old = (await client.http.get("/_sim/koppelsleutel")).json()["koppelsleutel"]
        await client.http.post("/_sim/koppelsleutel", json={"action": "Create"})
        late = {"action": "Delete", "key": old, "reference": "r-9", "times": 2}
        assert (await client.http.post("/_sim/webhook", json=late)).json() == {"told": [True, True]}
        assert inbox.told[1:] == [{"KoppelSleutel": old, "ActionType": "Delete", "ReferenceKey": "r-9"}] * 2
        await client.connect()
