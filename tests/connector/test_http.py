"""The HTTP client against real sockets: requests, statuses, links. B numbers: the fault catalogue."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from starlette.responses import RedirectResponse, Response

from connector.errors import AuthRevoked, NeedsReconnect, PermissionLost, SourceDown, Stopped, Throttled
from connector.http import BadRequest, ForeignLink
from tests.certificates import HERE, certificate, server
from tests.scripted import ok, package, status, to
from tests.servers import serve_raw


async def test_a_get_carries_token_parameters_and_asks_the_budget() -> None:
    async with package(ok('{"a": 1.10}')) as bench:
        answer = await bench.client.get(f"{bench.url}/x?$top=1", params={"$filter": "Name eq 'a&b'"})
    (request,) = bench.requests
    assert (answer.status, answer.json()) == (200, {"a": Decimal("1.10")})
    assert dict(request.query_params) == {"$top": "1", "$filter": "Name eq 'a&b'"}
    assert request.headers["authorization"] == "Bearer token-number-1"
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip"
    assert (bench.budget.acquired, bench.budget.told_of) == (1, [200])


@pytest.mark.parametrize("code", [502, 503, 504])
async def test_what_passes_is_tried_three_times(code: int) -> None:
    """B2."""
    async with package(status(code), status(code), ok("[1]")) as bench:
        assert (await bench.client.get(bench.url)).json() == [1]
    assert bench.budget.told_of == [code, code, 200]
    async with package(status(code)) as bench:
        with pytest.raises(SourceDown, match=f"HTTP {code}"):
            await bench.client.get(bench.url)
    assert bench.budget.acquired == 3


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (status(400, '{"error": "add a $select"}'), BadRequest, "add a \\$select"),
        (status(404), BadRequest, "HTTP 404"),
        (status(405), BadRequest, "HTTP 405"),
        (status(403, Reason="Forbidden - scope"), PermissionLost, "denies access: Forbidden - scope"),
        (status(408), SourceDown, "HTTP 408"),
        (status(500, "oops"), SourceDown, "HTTP 500"),
        (status(429), Throttled, "call limit"),
        (Response("<html>", media_type="text/html"), SourceDown, "HTML"),
        (RedirectResponse("https://evil.example/x"), SourceDown, "redirected"),
        (RedirectResponse("http://evil.example/", 301), SourceDown, "redirected"),
        (RedirectResponse("/docs/Login.aspx?ReturnUrl=x", 302), NeedsReconnect, "sign-in page"),
        (RedirectResponse("/api/oauth2/auth", 308), NeedsReconnect, "sign-in page"),
    ],
)
async def test_other_statuses_are_typed_errors_and_never_retried(
    answer: Response, error: type[Exception], words: str
) -> None:
    """B2, B8, B11."""
    async with package(answer) as bench:
        with pytest.raises(error, match=words) as raised:
            await bench.client.get(f"{bench.url}/crm/Accounts")
    assert len(bench.requests) == 1
    assert getattr(raised.value, "where", None) == "acme: GET 127.0.0.1/crm/Accounts"
    assert getattr(raised.value, "fix", None)


async def test_a_429_says_until_when() -> None:
    async with package(status(429)) as bench:
        bench.budget.until = datetime(2026, 11, 20, 9, 1, tzinfo=UTC)
        with pytest.raises(Throttled) as raised:
            await bench.client.get(bench.url)
    assert raised.value.until == bench.budget.until


async def test_a_bad_request_knows_its_status_and_hides_what_is_secret_or_unprintable() -> None:
    async with package(status(404, "no\x1b[2J such thing for token-number-1 " + "x" * 1000)) as bench:
        with pytest.raises(BadRequest) as raised:
            await bench.client.get(bench.url)
    assert raised.value.status == 404
    assert "token-number-1" not in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 500


async def test_one_401_is_met_with_a_newer_token() -> None:
    """B10."""
    async with package(status(401), ok("[1]")) as bench:
        assert (await bench.client.get(bench.url)).json() == [1]
        await bench.client.get(bench.url)
    assert bench.authorizations == ["Bearer token-number-1", "Bearer token-number-2", "Bearer token-number-2"]


async def test_401_for_ever_is_two_requests() -> None:
    """B10."""
    async with package(status(401)) as bench:
        with pytest.raises(AuthRevoked):
            await bench.client.get(bench.url)
    assert len(bench.requests) == 2


async def test_without_an_authorizer_no_credentials_are_sent() -> None:
    async with package(status(401), authorize=None) as bench:
        with pytest.raises(AuthRevoked):
            await bench.client.get(bench.url)
    (request,) = bench.requests
    assert "authorization" not in request.headers


async def test_an_endpoint_that_keeps_refusing_is_left_alone_for_an_hour() -> None:
    """B12: five errors, whatever the key; other endpoints go on."""
    async with package(*[status(400)] * 5, ok()) as bench:
        accounts, other = f"{bench.url}/crm/Accounts", f"{bench.url}/crm/Contacts"
        for number in range(5):
            with pytest.raises(BadRequest):
                await bench.client.get(f"{accounts}(guid'{number}')")
        with pytest.raises(Stopped, match=f"no more are made until {bench.clock.now() + timedelta(hours=1):%H:%M:%S}"):
            await bench.client.get(accounts)
        assert len(bench.requests) == 5
        await bench.client.get(other)
        bench.clock.advance(3601)
        await bench.client.get(accounts)
        assert len(bench.requests) == 7


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/v1/123/x",
        "{scheme}://user:password@{rest}/api/v1/123/x",
        "{scheme}://127.0.0.1:1/api/v1/123/x",
        "https://{rest}/api/v1/123/x",
        "{url}/api/v1/124/x",
        "{url}/api/v1/123/%2e%2e/124/x",
        "//evil.example/api/v1/123/x",
        "http://[bad",
    ],
)
async def test_no_request_leaves_for_a_foreign_url(link: str) -> None:
    """B9."""
    async with package(ok()) as bench:
        scheme, rest = bench.url.split("://")
        client = bench.client.within("/api/v1/123/", "/api/v1/current/Me")
        with pytest.raises(ForeignLink):
            await client.get(link.format(scheme=scheme, rest=rest, url=bench.url))
        with pytest.raises(ForeignLink):
            await anext(client.stream(link.format(scheme=scheme, rest=rest, url=bench.url)))
        await client.get(f"{bench.url}/api/v1/current/Me")
    assert len(bench.requests) == 1
    assert bench.budget.acquired == 1


async def test_proxies_and_cookies_of_the_environment_play_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with package(ok(**{"set-cookie": "session=1; Path=/"})) as bench:
        await bench.client.get(bench.url)
        await bench.client.get(bench.url)
    assert all("cookie" not in request.headers for request in bench.requests)


# --- the way there ---------------------------------------------------------------------------------------------------


async def test_nobody_listening_and_no_such_name_are_told_apart() -> None:
    """B14."""
    async with serve_raw(lambda *_: asyncio.sleep(0)) as url:
        pass
    async with to(url) as bench:
        with pytest.raises(SourceDown, match="connection was refused"):
            await bench.client.get(url)
    assert bench.budget.acquired == 3
    async with to("http://no-such-host.invalid") as bench:
        with pytest.raises(SourceDown, match="cannot be resolved"):
            await bench.client.get("http://no-such-host.invalid/")


@pytest.mark.parametrize(("host", "expired"), [(HERE, False), ("other.example", False), (HERE, True)])
async def test_a_bad_certificate_is_never_accepted(tmp_path: Path, host: str, expired: bool) -> None:
    """B14: one attempt, no credentials sent, and a reason of its own."""
    context = server(certificate(tmp_path, host=host, expired=expired))
    heard: list[str] = []

    async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append("a request")

    async with serve_raw(listen, tls=context) as url, to(url) as bench:
        with pytest.raises(SourceDown, match="certificate is not valid"):
            await bench.client.get(url)
    assert bench.budget.acquired == 1
    assert not heard


async def test_a_response_shows_neither_body_nor_token() -> None:
    async with package(ok('["customer data"]')) as bench:
        answer = await bench.client.get(bench.url)
    assert "customer data" not in repr(answer)
    assert isinstance(answer.headers, httpx.Headers)
