"""The token office: rotation, the 570 seconds, and every refusal as Exact words it (sheet 2)."""

from urllib.parse import parse_qs, urlsplit

from tests.adapters.exactonline.simulated import CALLBACK, simulated, unconnected

BAD_CHAIN = (
    '{ "error":"invalid_grant","error_description":"Token is not allowed, because of invalid or empty chainId" }'
)
TOO_EARLY = '{ "error":"access_denied","error_description":"Rate limit exceeded: access_token not expired" }'
OLD_TOKEN = '{"error":"unauthorized_client","error_description":"Old refresh token used."}'


async def test_the_answer_has_the_lifetime_as_a_string() -> None:
    async with unconnected() as client:
        tokens = await client.connect()
        assert tokens["expires_in"] == "600"
        assert tokens["token_type"] == "bearer"
        assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token"}


async def test_a_consent_page_is_shown_until_somebody_approves() -> None:
    async with unconnected() as client:
        page = await client.authorize(approve="0")
        assert page.status_code == 200
        assert "approve=1" in page.text
        redirect = await client.authorize()
        query = parse_qs(urlsplit(redirect.headers["location"]).query)
        assert redirect.status_code == 302
        assert query["state"] == ["xyz"]
        assert any(sign in query["code"][0] for sign in "+/=")  # has to be decoded exactly once


async def test_auto_approve_redirects_at_once_and_denial_says_so() -> None:
    async with unconnected(auto_approve=True) as client:
        approved = await client.authorize(approve="0")
        assert "code=" in approved.headers["location"]
        denied = await client.authorize(deny="1")
        assert "error=access_denied" in denied.headers["location"]


async def test_only_registered_redirect_uris_are_served() -> None:
    async with unconnected() as client:
        assert (await client.authorize(redirect_uri="https://evil.example/")).status_code == 401
        client.simulator.settings.redirect_uris = ("https://app.example/callback",)
        assert (await client.authorize()).status_code == 401
        assert (await client.authorize(redirect_uri="https://app.example/callback")).status_code == 302


async def test_a_code_works_once_and_for_three_minutes() -> None:
    async with unconnected() as client:
        code = await client.code()
        assert (await client.exchange(code)).status_code == 200
        again = await client.exchange(code)
        assert (again.status_code, again.text) == (400, BAD_CHAIN)
        late = await client.code()
        client.clock.advance(181)
        assert (await client.exchange(late)).text == BAD_CHAIN


async def test_a_code_of_an_earlier_authorization_run_is_refused() -> None:
    async with unconnected() as client:
        first, second = await client.code(), await client.code()
        assert (await client.exchange(first)).text == BAD_CHAIN
        assert (await client.exchange(second)).status_code == 200


async def test_a_refresh_burns_the_token_it_used() -> None:
    async with unconnected() as client:
        first = await client.connect()
        client.clock.advance(571)
        second = (await client.refresh(first["refresh_token"])).json()
        assert second["refresh_token"] != first["refresh_token"]
        client.clock.advance(571)
        old = await client.refresh(first["refresh_token"])
        assert (old.status_code, old.text) == (401, OLD_TOKEN)
        assert client.simulator.violations["old_refresh_token"] == 1
        assert (await client.refresh(second["refresh_token"])).status_code == 200


async def test_refreshing_before_570_seconds_is_refused_and_changes_nothing() -> None:
    async with unconnected() as client:
        tokens = await client.connect()
        client.clock.advance(569)
        early = await client.refresh(tokens["refresh_token"])
        assert (early.status_code, early.text) == (400, TOO_EARLY)
        assert early.headers["Reason"].startswith("TooEarlyToRefreshTokens")
        assert client.simulator.violations["too_early_refresh"] == 1
        client.clock.advance(1)
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_an_unused_refresh_token_lives_thirty_days() -> None:
    async with unconnected() as client:
        tokens = await client.connect()
        client.clock.advance(30 * 86_400 + 1)
        late = await client.refresh(tokens["refresh_token"])
        assert late.status_code == 400
        assert late.json() == {
            "error": "invalid_request",
            "error_description": "The refresh token expired at 12/20/2026 9:00:00 AM"
            " and it is now 12/20/2026 9:00:01 AM.",
        }


async def test_a_new_authorization_kills_the_earlier_refresh_token() -> None:
    async with unconnected() as client:
        first = await client.connect()
        await client.connect()
        client.clock.advance(600)
        assert (await client.refresh(first["refresh_token"])).text == OLD_TOKEN


async def test_wrong_credentials_and_malformed_requests() -> None:
    async with unconnected() as client:
        wrong = await client.token(client_secret="no", grant_type="refresh_token", refresh_token="x")
        assert (wrong.status_code, wrong.text) == (400, '{"error":"invalid_request"}')
        assert (await client.token(grant_type="password")).text == '{"error":"invalid_request"}'


async def test_credentials_may_come_in_a_header() -> None:
    async with unconnected() as client:
        settings, code = client.simulator.settings, await client.code()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        auth = (settings.client_id, settings.client_secret)
        assert (await client.http.post("/api/oauth2/token", data=form, auth=auth)).status_code == 200


async def test_the_access_token_lives_600_seconds() -> None:
    async with simulated() as client:
        client.clock.advance(599)
        assert (await client.get("system/Divisions")).status_code == 200
        client.clock.advance(1)
        refused = await client.get("system/Divisions")
        assert (refused.status_code, refused.headers["Reason"]) == (401, "Authentication Required")


async def test_the_old_access_token_survives_a_refresh_unless_switched_off() -> None:
    for survives in (True, False):
        async with unconnected(access_token_survives=survives) as client:
            tokens = await client.connect()
            client.clock.advance(575)
            await client.refresh(tokens["refresh_token"])
            answer = await client.get("system/Divisions")
            assert answer.status_code == (200 if survives else 401)


async def test_where_tolerated_the_old_refresh_token_dies_when_its_successor_is_used() -> None:
    async with unconnected(old_refresh_token_lives=True) as client:
        first = await client.connect()
        client.clock.advance(571)
        await client.refresh(first["refresh_token"])  # whose answer gets lost
        client.clock.advance(571)
        second = await client.refresh(first["refresh_token"])
        assert second.status_code == 200
        client.http.headers["Authorization"] = f"Bearer {second.json()['access_token']}"
        await client.get("system/Divisions")
        client.clock.advance(571)
        assert (await client.refresh(first["refresh_token"])).status_code == 401


async def test_two_hundred_token_calls_a_day() -> None:
    async with unconnected(token_day_limit=2) as client:
        await client.token(grant_type="password")
        await client.token(grant_type="password")
        assert (await client.token(grant_type="password")).status_code == 429
        client.clock.advance(86_400)
        assert (await client.token(grant_type="password")).status_code == 400


async def test_revoked_consent_ends_everything() -> None:
    async with unconnected() as client:
        tokens = await client.connect()
        await client.http.post("/_sim/revoke")
        assert (await client.get("system/Divisions")).status_code == 401
        client.clock.advance(600)
        assert (await client.refresh(tokens["refresh_token"])).status_code == 401
        assert "old_refresh_token" not in client.simulator.violations, "nobody knows of it before"
        assert (await client.refresh(tokens["refresh_token"])).status_code == 401
        assert (await client.http.get("/_sim/violations")).json()["old_refresh_token"] == 1


async def test_a_lost_token_response_still_consumed_the_token() -> None:
    async with unconnected() as client:
        tokens = await client.connect()
        client.clock.advance(575)
        client.simulator.faults.add("oauth2/token", "lose_token_response")
        lost = await client.refresh(tokens["refresh_token"])
        assert (lost.status_code, lost.text) == (
            500,
            "Failed to execute the ExtractVariables: ExtractAccessToken",
        )
        client.clock.advance(575)
        assert (await client.refresh(tokens["refresh_token"])).text == OLD_TOKEN


async def test_a_refusal_may_hand_out_a_new_token_all_the_same() -> None:
    async with unconnected() as client:
        tokens = await client.connect()
        client.clock.advance(575)
        client.simulator.faults.add("oauth2/token", "error_with_token")
        refused = await client.refresh(tokens["refresh_token"])
        assert refused.status_code == 400
        client.clock.advance(575)
        assert (await client.refresh(refused.json()["refresh_token"])).status_code == 200
