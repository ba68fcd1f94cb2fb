"""Two credentials with two owners, and what an administration may be asked in a minute and an hour (sheet 1, 2)."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest

from adapters.snelstart.simulator import SimulatorSettings, create
from connector.clock import SystemClock
from tests.adapters.snelstart.simulated import Client, simulated, small_books, unconnected

DAY = 86_400


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


async def test_the_koppelsleutel_is_exchanged_for_a_token_without_a_refresh_token() -> None:
    async with unconnected() as client:
        body = await client.connect()
        assert set(body) == {"access_token", "token_type", "expires_in"}
        assert (body["token_type"], body["expires_in"]) == ("bearer", 3599)
        assert "bankieren:read" in claims(body["access_token"])["scopes"].split()
        assert (await client.one("companyInfo"))["administratieIdentifier"] == client.simulator.administration
        client.settings.scopes_as_list = True
        assert "bankieren:read" in claims((await client.connect())["access_token"])["scopes"]


async def test_the_decoded_pair_works_for_the_older_grant() -> None:
    async with unconnected() as client:
        key = client.simulator.koppelsleutel
        assert {"+", "/", "="} <= set(key)
        assert len(key) > 300
        name, _, password = base64.b64decode(key).decode().partition(":")
        answer = await client.token(grant_type="password", username=name, password=password)
        assert answer.json()["expires_in"] == 3599


async def test_a_key_has_to_be_encoded_in_the_form() -> None:
    async with unconnected() as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        raw = f"grant_type=clientkey&clientkey={client.simulator.koppelsleutel}"
        assert (await client.http.post("/b2b/token", content=raw, headers=headers)).status_code == 400


@pytest.mark.parametrize("status", [400, 401])
async def test_a_wrong_key_is_refused_with_an_english_sentence(status: int) -> None:
    async with unconnected(token_refusal_status=status) as client:
        answer = await client.token(grant_type="clientkey", clientkey="d3Jvbmc6a2V5")
        assert answer.status_code == status
        assert set(answer.json()) == {"error"}
        assert "clientkey" in answer.json()["error"]
        client.settings.token_description = True
        answer = await client.token(grant_type="password", username="wrong", password="key")
        assert set(answer.json()) == {"error", "error_description"}
        assert (await client.token(grant_type="client_credentials")).status_code == 400
        assert client.simulator.violations["refused_koppelsleutel"] == 2


async def test_the_token_server_never_looks_at_the_subscription_key() -> None:
    async with unconnected(subscription_expired=True) as client:
        del client.http.headers["Ocp-Apim-Subscription-Key"]
        await client.connect()
        assert (await client.get("companyInfo")).status_code == 401


async def test_a_dead_subscription_key_is_the_gateways_refusal() -> None:
    async with simulated(subscription_days=90) as client:
        assert (await client.get("companyInfo")).status_code == 200
        client.clock.advance(90 * DAY)
        await client.connect()
        answer = await client.get("companyInfo")
        assert answer.status_code == 401
        assert answer.json() == {
            "statusCode": 401,
            "message": "Access denied due to invalid subscription key. "
            "Make sure to provide a valid key for an active subscription.",
        }
        await client.http.post("/_sim/subscription")
        assert (await client.get("companyInfo")).status_code == 200


async def test_either_key_in_the_header_or_in_the_query() -> None:
    async with simulated() as client:
        for key in client.settings.subscription_keys:
            client.http.headers["Ocp-Apim-Subscription-Key"] = key
            assert (await client.get("companyInfo")).status_code == 200
        del client.http.headers["Ocp-Apim-Subscription-Key"]
        assert (await client.get(f"companyInfo?subscription-key={key}")).status_code == 200
        assert (await client.get(f"companyInfo?subscription-key={key}\\n")).status_code == 401


async def test_the_subscription_is_judged_before_the_bearer_and_the_bearer_before_the_route() -> None:
    async with unconnected() as client:
        answer = await client.get("nonsense")
        assert (answer.status_code, set(answer.json())) == (401, {"Message"})
        await client.connect()
        answer = await client.get("nonsense")
        assert (answer.status_code, answer.content) == (404, b"")
        client.http.headers["Ocp-Apim-Subscription-Key"] = "0" * 32
        assert (await client.get("nonsense")).json()["statusCode"] == 401


async def test_tokens_end_and_may_die_early() -> None:
    async with simulated() as client:
        client.clock.advance(3598)
        assert (await client.get("companyInfo")).status_code == 200
        client.clock.advance(1)
        assert (await client.get("companyInfo")).status_code == 401
        await client.connect()
        await client.http.post("/_sim/revoke")
        assert (await client.get("companyInfo")).status_code == 401
        await client.connect()
        assert (await client.get("companyInfo")).status_code == 200


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("orders", "verkoopfacturen"), ("relaties", "relaties"), ("bankieren", "bankboekingen"),
        ("kas", "kasboekingen"), ("boekhouden", "grootboekmutaties"), ("boekhouden", "dagboeken"),
        ("settings", "companyInfo"), ("settings", "landen"),
    ],
)  # fmt: skip
async def test_a_scope_that_is_missing_is_a_403_that_no_new_token_mends(scope: str, path: str) -> None:
    left = tuple(one for one in SimulatorSettings().scopes if not one.startswith(scope))
    async with simulated(scopes=left) as client:
        answer = await client.get(path)
        assert answer.status_code == 403
        assert "quota" not in answer.text
        assert client.simulator.violations["outside_scope"] == 1


async def statuses(client: Client, calls: int) -> list[int]:
    return [(await client.get("landen")).status_code for _ in range(calls)]


async def test_a_hundred_calls_a_minute_on_a_development_key() -> None:
    async with simulated(minute_limit=None, hour_limit=None) as client:
        assert await statuses(client, 101) == [200] * 100 + [429]
        client.clock.advance(20.5)
        answer = await client.get("landen")
        assert answer.headers["Retry-After"] == "40"
        assert answer.json() == {"statusCode": 429, "message": "Rate limit is exceeded. Try again in 40 seconds."}
        client.settings.retry_after = False
        assert "Retry-After" not in (await client.get("landen")).headers
        client.clock.advance(40)
        assert await statuses(client, 1) == [200]
        assert client.simulator.violations["over_minute_limit"] == 3


async def test_the_tier_can_be_switched() -> None:
    async with simulated(minute_limit=None, hour_limit=None, tier="production") as client:
        await client.http.post("/_sim/spend", json={"calls": 499})
        assert await statuses(client, 2) == [200, 429]
        await client.http.post("/_sim/settings", json={"tier": "development"})
        client.clock.advance(60)
        assert await statuses(client, 1) == [200]


@pytest.mark.parametrize(
    ("as_quota", "status", "text"),
    [
        (False, 429, "Rate limit is exceeded. Try again in 3540 seconds."),
        (True, 403, "Out of call volume quota. Quota will be replenished in 00:59:00."),
    ],
)
async def test_a_thousand_calls_an_hour(*, as_quota: bool, status: int, text: str) -> None:
    async with simulated(hour_limit=None, hour_is_quota=as_quota) as client:
        client.simulator.spend(1000)
        client.clock.advance(60)
        answer = await client.get("landen")
        assert (answer.status_code, answer.json()) == (status, {"statusCode": status, "message": text})
        client.clock.advance(3540)
        await client.connect()
        assert await statuses(client, 1) == [200]


async def test_limits_belong_to_the_administration_and_a_new_token_does_not_help() -> None:
    async with simulated(minute_limit=3) as client:
        assert await statuses(client, 4) == [200, 200, 200, 429]
        await client.connect()
        assert await statuses(client, 1) == [429]
        client.http.headers["Authorization"] = "Bearer somebody-elses"
        assert await statuses(client, 1) == [401]


async def test_five_calls_at_the_same_time() -> None:
    simulator = create(small_books(), SystemClock(), SimulatorSettings(page_latency=0.05))
    headers = {"Ocp-Apim-Subscription-Key": simulator.settings.subscription_keys[0]}
    transport = httpx.ASGITransport(app=simulator.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://snelstart.test", headers=headers) as http:
        form = {"grant_type": "clientkey", "clientkey": simulator.koppelsleutel}
        token = (await http.post("/b2b/token", data=form)).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        answers = await asyncio.gather(*(http.get("/v2/landen") for _ in range(7)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 2
        assert (await http.get("/v2/landen")).status_code == 200
    assert simulator.violations == {"over_concurrency_limit": 2}


async def test_probes() -> None:
    async with simulated() as client:
        assert await client.one("echo/hallo") == "hallo"
        assert (await client.get("echo/")).status_code == 204
        assert await client.one("authorization/HasUserAccessToAdministration?userIdentifier=1") == {"hasAccess": True}
        assert (await client.http.get("/echo/resource")).status_code == 200
        assert (await client.http.get("/echo/resource", headers={"Ocp-Apim-Subscription-Key": "x"})).status_code == 401
        assert (await client.http.post("/v2/relaties", json={})).status_code == 405
