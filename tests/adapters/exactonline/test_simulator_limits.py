"""Call limits, their headers, and the error budget (sheet 9)."""

from datetime import UTC, datetime, timedelta

from tests.adapters.exactonline.simulated import simulated

DAILY = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
MINUTELY = {"X-RateLimit-Minutely-Limit", "X-RateLimit-Minutely-Remaining", "X-RateLimit-Minutely-Reset"}


def milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


async def test_every_answer_tells_what_is_left() -> None:
    async with simulated() as client:
        client.clock.advance(17)
        headers = (await client.get("financial/Journals")).headers
        assert headers["X-RateLimit-Minutely-Remaining"] == "59"
        assert headers["X-RateLimit-Remaining"] == "4999"
        now = client.clock.now()
        minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        assert headers["X-RateLimit-Minutely-Reset"] == milliseconds(minute)
        midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
        assert headers["X-RateLimit-Reset"] == milliseconds(midnight)


async def test_me_is_counted_nowhere() -> None:
    async with simulated(minute_limit=1) as client:
        for _ in range(5):
            answer = await client.http.get("/api/v1/current/Me")
            assert answer.status_code == 200
        assert not DAILY & set(answer.headers)
        assert (await client.get("financial/Journals")).status_code == 200


async def test_a_minute_429_has_only_the_minute_headers() -> None:
    async with simulated(minute_limit=2) as client:
        for _ in range(2):
            assert (await client.get("financial/Journals")).status_code == 200
        refused = await client.get("financial/Journals")
        assert refused.status_code == 429
        names = {name.title() for name in refused.headers}
        assert {name.title() for name in MINUTELY} <= names
        assert not {name.title() for name in DAILY} & names
        assert "Retry-After" not in refused.headers
        assert client.simulator.violations["over_minute_limit"] == 1
        client.clock.advance(60)
        assert (await client.get("financial/Journals")).status_code == 200


async def test_a_day_429_has_only_the_day_headers_and_lasts_until_midnight_utc() -> None:
    async with simulated(day_limit=2) as client:
        for _ in range(2):
            await client.get("financial/Journals")
        refused = await client.get("financial/Journals")
        assert refused.status_code == 429
        assert "X-RateLimit-Reset" in refused.headers
        assert "X-RateLimit-Minutely-Reset" not in refused.headers
        client.clock.advance(int(refused.headers["X-RateLimit-Reset"]) / 1000 - client.clock.now().timestamp())
        await client.connect()
        assert (await client.get("financial/Journals")).status_code == 200


async def test_other_jobs_of_the_app_use_up_the_same_calls() -> None:
    async with simulated() as client:
        client.simulator.limits.spend(client.simulator.division, 60)
        assert (await client.get("financial/Journals")).status_code == 429


async def test_limits_are_per_division() -> None:
    async with simulated(minute_limit=1, other_divisions=(777,)) as client:
        assert (await client.get("financial/Journals")).status_code == 200
        other = "http://exact.test/api/v1/777/financial/Journals"
        assert (await client.get(other)).status_code == 200
        assert (await client.get(other)).status_code == 429


async def test_ten_errors_on_an_endpoint_block_the_key_everywhere() -> None:
    async with simulated() as client:
        for _ in range(10):
            assert (await client.get("crm/Accounts", filter="Nonsense eq 1")).status_code == 400
        assert client.simulator.violations["errors_in_budget"] == 10
        blocked = await client.get("financial/Journals")
        assert (blocked.status_code, blocked.headers["Reason"]) == (403, "TooManyErrors")
        assert client.simulator.violations["calls_while_blocked"] == 1
        client.clock.advance(3600)
        await client.connect()
        assert (await client.get("financial/Journals")).status_code == 200


async def test_the_second_block_lasts_longer() -> None:
    async with simulated() as client:
        for _ in range(2):
            for _ in range(10):
                await client.get("crm/Nonsense")
            client.clock.advance(3601)
            await client.connect()
        assert (await client.get("financial/Journals")).status_code == 403
        client.clock.advance(3600)
        await client.connect()
        assert (await client.get("financial/Journals")).status_code == 200


async def test_errors_of_an_hour_ago_or_elsewhere_do_not_add_up() -> None:
    async with simulated() as client:
        for _ in range(9):
            await client.get("crm/Accounts", filter="Nonsense eq 1")
            await client.get("crm/Contacts", filter="Nonsense eq 1")
        client.clock.advance(3601)
        await client.connect()
        await client.get("crm/Accounts", filter="Nonsense eq 1")
        assert (await client.get("financial/Journals")).status_code == 200


async def test_an_expired_token_costs_errors_too() -> None:
    async with simulated() as client:
        client.clock.advance(600)
        for _ in range(10):
            assert (await client.get("financial/Journals")).status_code == 401
        assert (await client.get("financial/Journals")).status_code == 403


async def test_injected_errors_count_as_real_ones() -> None:
    async with simulated() as client:
        client.simulator.faults.add("Journals", "status", status=400, times=10)
        for _ in range(10):
            await client.get("financial/Journals")
        assert (await client.get("financial/GLAccounts")).status_code == 403


async def test_server_errors_and_429_are_not_counted_as_errors() -> None:
    async with simulated(minute_limit=1) as client:
        client.simulator.faults.add("Journals", "status", status=500, times=20)
        for _ in range(20):
            await client.get("financial/Journals")
        for _ in range(20):
            await client.get("financial/GLAccounts", filter="Type eq 20")
        assert client.simulator.violations["errors_in_budget"] == 0
