"""The HTTP client against real sockets. B and D numbers: the fault catalogue."""

import asyncio
import gzip
import ssl
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from connector.errors import AuthRevoked, NeedsReconnect, PermissionLost, SourceDown, Stopped, Throttled
from connector.http import BadRequest, Circuit, Client, ForeignLink
from connector.network import TooLarge
from connector.secrets import Secret
from tests.clocks import ManualClock
from tests.servers import serve, serve_raw

Answer = Response | Callable[[Request], Awaitable[Response]]
JSON = {"content-type": "application/json"}


@dataclass
class Calls:
    """A budget that only writes down."""

    acquired: int = 0
    told_of: list[int] = field(default_factory=list)
    until: datetime | None = None

    async def acquire(self) -> None:
        self.acquired += 1

    async def told(self, status: int, headers: Mapping[str, str]) -> datetime | None:
        self.told_of.append(status)
        return self.until


@dataclass
class Tokens:
    """Gives token 1, and the next one each time the present one was refused."""

    number: int = 1

    async def __call__(self, refused: str | None) -> Secret:
        if refused == f"token-number-{self.number}":
            self.number += 1
        return Secret(f"token-number-{self.number}")


@dataclass
class Bench:
    """A package that gives the scripted answers in turn, the last one for ever."""

    client: Client
    budget: Calls
    clock: ManualClock
    circuit: Circuit
    url: str
    requests: list[Request]

    @property
    def authorizations(self) -> list[str]:
        return [request.headers["authorization"] for request in self.requests]


@asynccontextmanager
async def package(*answers: Answer, **options: Any) -> AsyncIterator[Bench]:
    requests: list[Request] = []

    async def answer(request: Request) -> Response:
        requests.append(request)
        scripted = answers[min(len(requests), len(answers)) - 1]
        return scripted if isinstance(scripted, Response) else await scripted(request)

    async with serve(Starlette(routes=[Route("/{path:path}", answer)])) as url, to(url, **options) as bench:
        bench.requests = requests
        yield bench


@asynccontextmanager
async def to(url: str, **options: Any) -> AsyncIterator[Bench]:
    budget, clock = Calls(), ManualClock()
    circuit = Circuit(clock)
    options = {"authorize": Tokens(), **options}
    client = Client("acme", origins=[url], budget=budget, circuit=circuit, clock=clock, **options)
    async with client:
        yield Bench(client, budget, clock, circuit, url, [])


def ok(body: str | bytes = "[]", **headers: str) -> Response:
    return Response(body, headers={**JSON, **headers})


def status(code: int, body: str = "", **headers: str) -> Response:
    return Response(body, status_code=code, headers=headers)


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


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("1234567890123456.78", Decimal("1234567890123456.78")),
        ("300", 300),
        ("1E5", Decimal("1E+5")),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ('\ufeff{"a": 0.1}', {"a": Decimal("0.1")}),
        (r'"cut \ud83d here"', "cut \ufffd here"),
        (r'"\ud83d\ude00 \\ud83d"', "\U0001f600 \\ud83d"),
        (r'["\ude00\ud83d", "\ud83d\ude00"]', ["\ufffd\ufffd", "\U0001f600"]),
        (r'["a\u0000b", "\\u0000", "\ud83d\u0000"]', ["a\ufffdb", "\\u0000", "\ufffd\ufffd"]),
    ],
)
async def test_json_is_exact(body: str, value: Any) -> None:
    """C6, B7."""
    async with package(ok(body)) as bench:
        assert (await bench.client.get(bench.url)).json() == value


@pytest.mark.parametrize(
    "body",
    [
        *("NaN", "[Infinity]", "-Infinity", '{"a": 1', "", "<html>"),
        *("1" * 5000, "1e99999999999999999999", "[" * 10**6, b'"caf\xe9"', b"\xff\xfe"),
    ],
)
async def test_unusable_json_is_the_source_s_failure(body: str | bytes) -> None:
    """B5, B7, C6."""
    async with package(ok(body)) as bench:
        answer = await bench.client.get(bench.url)
        with pytest.raises(SourceDown) as raised:
            answer.json()
    assert raised.value.where.startswith("acme: GET 127.0.0.1/")


async def test_a_declared_charset_is_honoured() -> None:
    async with package(
        Response('{"a": "café"}'.encode("latin-1"), headers={"content-type": "application/json; charset=iso-8859-1"}),
        Response(b"x", headers={"content-type": "text/plain; charset=klingon"}),
    ) as bench:
        assert (await bench.client.get(bench.url)).json() == {"a": "café"}
        with pytest.raises(SourceDown):
            _ = (await bench.client.get(bench.url)).text


async def test_gzip_is_unpacked_and_nothing_else_is() -> None:
    body = b'["' + b"x" * 300_000 + b'"]'
    async with package(
        ok(gzip.compress(body), **{"content-encoding": "gzip"}), ok(b"x", **{"content-encoding": "br"})
    ) as bench:
        assert (await bench.client.get(bench.url)).body == body
        with pytest.raises(SourceDown, match="encoded as br"):
            await bench.client.get(bench.url)


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


# --- bodies that misbehave -------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 100\r\n\r\n[1,",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n",
        HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"[1,2,3]")[:-5],
        HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + b"not gzip",
        HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"[1]") * 2,
        b"HTTP/1.1 200",
        b"",
    ],
)
async def test_a_broken_body_is_fetched_again_and_then_given_up(raw: bytes) -> None:
    """B3, B5."""
    connections = 0

    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(raw)

    async with serve_raw(broken) as url, to(url) as bench:
        with pytest.raises(SourceDown):
            await bench.client.get(url)
    assert connections == 3


async def test_a_reset_in_the_body_is_fetched_again() -> None:
    """B3."""
    connections = 0

    async def reset_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            writer.write(HEAD + b"Content-Length: 100\r\n\r\n[1,")
            await writer.drain()
            writer.transport.abort()
        else:
            writer.write(HEAD + b"Content-Length: 3\r\nConnection: close\r\n\r\n[1]")

    async with serve_raw(reset_once) as url, to(url) as bench:
        assert (await bench.client.get(url)).json() == [1]
    assert connections == 2


async def test_a_slow_drip_is_cut_by_the_deadline() -> None:
    """B4: one byte after the other never trips a read timeout."""
    connections = 0

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serve_raw(drip) as url, to(url, deadline_s=0.3) as bench:
        started = time.monotonic()
        with pytest.raises(SourceDown, match="within the time allowed"):
            await bench.client.get(url)
        assert time.monotonic() - started < 2
    assert connections == 1


async def test_the_deadline_covers_all_tries() -> None:
    async def slow_failure(_: Request) -> Response:
        await asyncio.sleep(0.2)
        return status(503)

    async with package(slow_failure, deadline_s=0.3) as bench:
        with pytest.raises(SourceDown, match="within the time allowed"):
            await bench.client.get(bench.url)
    assert len(bench.requests) == 2


async def test_an_endless_body_is_cut_at_the_cap() -> None:
    """B6."""
    sent = 0

    async def endless(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 65536
                await asyncio.sleep(0)
                yield b"x" * 65536

        return StreamingResponse(pieces(), headers=JSON)

    async with package(endless, max_body=1_000_000) as bench:
        with pytest.raises(TooLarge, match="larger than 976 kB"):
            await bench.client.get(bench.url)
    assert len(bench.requests) == 1
    assert sent < 20_000_000


async def test_a_zip_bomb_is_cut_while_unpacking() -> None:
    """B6: 128 MB in as many kB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(128)), packer.flush()])
    async with package(ok(bomb, **{"content-encoding": "gzip"})) as bench:
        tracemalloc.start()
        with pytest.raises(TooLarge):
            await bench.client.get(bench.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 100_000_000


# --- documents -------------------------------------------------------------------------------------------------------


async def collect(pieces: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in pieces]


async def test_a_document_comes_piece_by_piece() -> None:
    body = bytes(range(256)) * 1000
    async with package(status(503), Response(body, media_type="application/pdf")) as bench:
        pieces = await collect(bench.client.stream(f"{bench.url}/doc"))
    assert b"".join(pieces) == body
    assert len(pieces) > 1
    assert len(bench.requests) == 2


async def test_a_sign_in_page_is_no_document() -> None:
    async with package(Response("<html>please sign in", media_type="text/html")) as bench:
        with pytest.raises(SourceDown):
            await anext(bench.client.stream(bench.url))


async def test_a_document_that_breaks_off_is_an_error_not_a_short_document() -> None:
    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    async with serve_raw(broken) as url, to(url) as bench:
        with pytest.raises(SourceDown, match="broke off"):
            await collect(bench.client.stream(url))


async def test_a_consumer_that_stops_early_frees_the_connection() -> None:
    async def endless(_: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0)
                yield b"x" * 65536

        return StreamingResponse(pieces())

    async with package(endless, ok()) as bench:
        stream = bench.client.stream(bench.url)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator has it
        assert (await bench.client.get(bench.url)).status == 200


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


@pytest.mark.parametrize(("host", "expired"), [("127.0.0.1", False), ("other.example", False), ("127.0.0.1", True)])
async def test_a_bad_certificate_is_never_accepted(tmp_path: Path, host: str, expired: bool) -> None:
    """B14: one attempt, no credentials sent, and a reason of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path, host, expired=expired))
    heard: list[str] = []

    async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append("a request")

    async with serve_raw(listen, tls=context) as url, to(url) as bench:
        with pytest.raises(SourceDown, match="certificate is not valid"):
            await bench.client.get(url)
    assert bench.budget.acquired == 1
    assert not heard


def self_signed(folder: Path, host: str, *, expired: bool) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=-1 if expired else 1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


async def test_a_response_shows_neither_body_nor_token() -> None:
    async with package(ok('["customer data"]')) as bench:
        answer = await bench.client.get(bench.url)
    assert "customer data" not in repr(answer)
    assert isinstance(answer.headers, httpx.Headers)
