"""The webhook: what it sends, what it makes of answers, and where it refuses to go."""

import asyncio
import base64
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connector.clock import SystemClock
from connector.destinations import Destination, targets, webhook
from connector.destinations.webhook import Webhook, understand
from connector.errors import ConfigurationError
from connector.receiver import Receiver
from connector.secrets import Secret
from tests.clocks import ManualClock
from tests.conformance.destinations import DestinationConformance, event
from tests.servers import serve, serve_raw

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEXT = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
CLOCK = ManualClock()
NOW = CLOCK.now()
IDS = ("a", "b")


def local(url: str, *secrets: str, **options: Any) -> Webhook:
    given = [Secret(secret) for secret in secrets or (SECRET,)]
    return Webhook(url, given, clock=CLOCK, allow_private=True, **options)


class TestWebhook(DestinationConformance):
    @pytest.fixture
    def receiver(self) -> Receiver:
        return Receiver([SECRET], clock=CLOCK)

    @pytest.fixture
    async def destination(self, receiver: Receiver) -> AsyncIterator[Destination]:
        async with serve(receiver.app) as url:
            sender = local(f"{url}/events")
            yield sender
            await sender.close()

    @pytest.fixture
    async def unreachable(self) -> AsyncIterator[Destination]:
        async with serve_raw(_silent) as url:
            gone = url
        sender = local(gone)
        yield sender
        await sender.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes without a word."""


@asynccontextmanager
async def answered(*answers: bytes, **options: Any) -> AsyncIterator[tuple[Webhook, list[str]]]:
    """A webhook to a server that gives these raw bytes, the last ones for ever; and the request lines it got."""
    lines: list[str] = []

    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[min(len(lines), len(answers) - 1)])
        lines.append("request")

    async with serve_raw(handler) as url:
        sender = local(url, **options)
        yield sender, lines
        await sender.close()


class TestRequest:
    async def test_signs_with_every_secret_during_a_rotation(self) -> None:
        for held in (SECRET, NEXT):
            receiver = Receiver([held], clock=CLOCK)
            async with serve(receiver.app) as url:
                sender = local(f"{url}/events", SECRET, NEXT)
                assert (await sender.send([event(1)])).kind == "answered"
                await sender.close()

    async def test_an_unknown_secret_pauses(self) -> None:
        receiver = Receiver([NEXT])
        async with serve(receiver.app) as url:
            sender = Webhook(f"{url}/events", [Secret(SECRET)], clock=SystemClock(), allow_private=True)
            outcome = await sender.send([event(1)])
            await sender.close()
        assert (outcome.kind, outcome.status) == ("pause", 401)
        assert "no signature matches" in outcome.reason


class TestAnswer:
    """What an answer means, each kind once."""

    @staticmethod
    def of(status: int, body: bytes | None = b"", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return understand(IDS, httpx.Response(status, headers=named), body, delivery_id="dlv_1", now=NOW)

    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    @pytest.mark.parametrize("body", [b"", b"OK", b"{}", b"[]", b"null", b'{"result": 1}', b"{", b"[" * 50_000])
    def test_any_2xx_without_results_takes_all(self, status: int, body: bytes) -> None:
        outcome = self.of(status, body)
        assert outcome.kind == "answered"
        assert [outcome.results[name].verdict for name in IDS] == ["accepted", "accepted"]

    @pytest.mark.parametrize("verdict", ["accepted", "duplicate", "superseded", "retry_later", "rejected"])
    def test_each_event_has_its_own_verdict(self, verdict: str) -> None:
        body = {"results": [{"id": "a", "status": verdict, "reason": "why\n"}, {"id": "b", "status": "accepted"}]}
        outcome = self.of(200, json.dumps(body).encode())
        assert outcome.results["a"] == webhook.Result(verdict, "why")  # type: ignore[arg-type]  # parametrized
        assert outcome.results["b"].verdict == "accepted"

    @pytest.mark.parametrize(
        "results",
        [
            [],
            [{"id": "a", "status": "accepted"}],
            [{"id": "a", "status": "accepted"}, {"id": "c", "status": "accepted"}],
            [{"id": "a", "status": "accepted"}, {"id": "b", "status": "perhaps"}],
            {"a": "accepted"},
            [{"id": ["b"], "status": "accepted"}],
            "accepted",
            None,
        ],
    )
    def test_an_event_without_a_clear_verdict_is_sent_again(self, results: Any) -> None:
        assert self.of(200, json.dumps({"results": results}).encode()).results["b"].verdict == "retry_later"

    def test_a_409_with_results_is_an_answer_and_without_is_not(self) -> None:
        body = b'{"results": [{"id": "a", "status": "superseded"}, {"id": "b", "status": "superseded"}]}'
        assert self.of(409, body).results["a"].verdict == "superseded"
        assert self.of(409, b"busy").kind == "retry"

    @pytest.mark.parametrize(
        ("kind", "statuses"),
        [
            ("retry", (301, 302, 307, 308, 402, 405, 408, 425, 429, 500, 502, 503, 504, 599)),
            ("pause", (401, 403, 404, 410)),
            ("refused", (400, 413, 415, 422)),
        ],
    )
    def test_every_other_status_has_its_kind(self, kind: str, statuses: Sequence[int]) -> None:
        for status in statuses:
            outcome = self.of(status, b"no\x00\n  thanks")
            assert (outcome.kind, outcome.status, outcome.results) == (kind, status, {})
            assert outcome.reason == f"HTTP {status}: no thanks"

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("120", 120.0),
            ("0", 1.0),
            ("999999999", 3600.0),
            ("Fri, 20 Nov 2026 09:10:00 GMT", 600.0),
            ("Fri, 20 Nov 2026 08:00:00 GMT", 1.0),
            ("soon", None),
            ("-5", None),
            ("", None),
        ],
    )
    def test_retry_after_is_honoured_within_bounds(self, value: str, seconds: float | None) -> None:
        assert self.of(429, retry_after=value).retry_after == seconds

    def test_a_401_from_a_wrong_clock_says_so_and_is_tried_again(self) -> None:
        outcome = self.of(401, b"old", date="Fri, 20 Nov 2026 09:10:00 GMT")
        assert outcome.kind == "retry"
        assert outcome.reason == "HTTP 401: old - its clock is 10 min ahead of this one"
        assert self.of(401, date="Fri, 20 Nov 2026 09:01:00 GMT").kind == "pause"

    def test_a_reason_is_short_and_shows_no_secret(self) -> None:
        secret = Secret("hunter2-hunter2")
        outcome = self.of(400, f"bad token {secret.reveal()} {'x' * 1000}".encode())
        assert "hunter2" not in outcome.reason
        assert len(outcome.reason) < 320

    def test_a_cut_answer_takes_all_unless_it_held_results(self) -> None:
        assert self.of(200, None, content_type="text/html").results["a"].verdict == "accepted"
        assert self.of(200, None, content_type="application/json").results["a"].verdict == "retry_later"


class TestOnTheWire:
    """Answers that no proper server would give."""

    async def test_an_answer_without_end_is_cut(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
        async with answered(head + b"4000\r\n" + b"x" * 0x4000 + b"\r\n" * 1 + b"") as (sender, _):
            assert (await sender.send([event(1)])).kind == "retry", "it broke off below the limit"
        async with answered(head + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 100) as (sender, _):
            assert (await sender.send([event(1)])).kind == "answered"

    async def test_a_compressed_answer_is_not_guessed_at(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b"
        async with answered(answer) as (sender, _):
            sent = event(1)
            outcome = await sender.send([sent])
        assert outcome.results[sent.event_id].verdict == "retry_later"

    async def test_a_redirect_is_not_followed(self) -> None:
        async with answered(b"HTTP/1.1 307 Away\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n") as (sender, got):
            outcome = await sender.send([event(1)])
        assert (outcome.kind, outcome.status, len(got)) == ("retry", 307, 1)

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"nonsense\r\n\r\n"])
    async def test_a_broken_answer_is_tried_again(self, answer: bytes) -> None:
        async with answered(answer) as (sender, _):
            assert (await sender.send([event(1)])).kind == "retry"

    async def test_an_early_hint_is_no_answer(self) -> None:
        answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        async with answered(answer) as (sender, _):
            assert (await sender.send([event(1)])).status == 204

    @pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12"])
    async def test_the_deadline_covers_the_whole_answer(self, head: bytes) -> None:
        ended = asyncio.Event()

        async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head)
            await ended.wait()

        async with serve_raw(hang) as url:
            sender = local(url, deadline=0.2)
            outcome = await sender.send([event(1)])
            await sender.close()
            ended.set()
        assert (outcome.kind, outcome.reason) == ("retry", "no answer within 0.2 s")


class TestTargets:
    @pytest.mark.parametrize(
        "url",
        [
            "http://dunning.example/events",
            "https://127.0.0.1/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
            "https://[fe80::1]/",
            "https://224.0.0.1/",
            "https://0.0.0.0/",
            "https://0177.0.0.1/",
            "https://user:password@dunning.example/",
            "https://dunning.example:22/",
            "ftp://dunning.example/",
            "https://",
            "dunning.example",
            "https://dunning.example:x/",
        ],
    )
    def test_a_private_or_odd_url_is_refused_when_it_is_configured(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="webhook URL"):
            Webhook(url, [Secret(SECRET)], clock=CLOCK)

    @pytest.mark.parametrize("url", ["https://user@127.0.0.1/", "gopher://127.0.0.1/", "https:///events"])
    def test_some_urls_are_odd_even_for_a_private_backend(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            local(url)

    @pytest.mark.parametrize("secrets", [[], ["short"], ["whsec_?"]])
    def test_a_webhook_needs_a_proper_secret(self, secrets: list[str]) -> None:
        with pytest.raises(ConfigurationError, match="secret"):
            Webhook("https://dunning.example/", [Secret(secret) for secret in secrets], clock=CLOCK)

    @pytest.mark.parametrize(
        "found",
        [
            ["127.0.0.1"],
            ["93.184.216.34", "10.1.2.3"],
            ["::ffff:169.254.169.254"],
            ["fe80::1%eth0"],
            ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.168.0.1"],
        ],
    )
    async def test_a_name_that_leads_inside_is_refused_at_delivery(self, found: list[str]) -> None:
        async def resolve(_: str, __: int) -> Sequence[str]:
            return found

        sender = Webhook("https://dunning.example/", [Secret(SECRET)], clock=CLOCK, resolve=resolve)
        outcome = await sender.send([event(1)])
        await sender.close()
        assert (outcome.kind, outcome.status) == ("pause", None)
        assert "public internet" in outcome.reason

    @pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1"])
    async def test_a_disguised_address_is_refused_at_delivery(self, host: str) -> None:
        sender = Webhook(f"https://{host}/", [Secret(SECRET)], clock=CLOCK)
        outcome = await sender.send([event(1)])
        await sender.close()
        assert outcome.kind == "pause"

    async def test_the_name_is_resolved_for_every_delivery(self) -> None:
        answers = [["93.184.216.34"], ["127.0.0.1"]]
        asked: list[str] = []

        async def resolve(name: str, _: int) -> Sequence[str]:
            asked.append(name)
            if len(asked) == 1:
                raise OSError("unknown for now")
            return answers[1]

        sender = Webhook("https://dunning.example/", [Secret(SECRET)], clock=CLOCK, resolve=resolve)
        kinds = [(await sender.send([event(1)])).kind for _ in range(2)]
        await sender.close()
        assert kinds == ["retry", "pause"]
        assert asked == ["dunning.example", "dunning.example"]

    async def test_tls_and_host_keep_the_name_while_the_checked_address_is_called(self, tmp_path: Path) -> None:
        server_tls, client_tls = _certificate(tmp_path, "dunning.example")
        hosts: list[str] = []
        names: list[str | None] = []
        server_tls.sni_callback = lambda _, name, __: names.append(name)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            hosts.extend(line for line in head.split("\r\n") if line.lower().startswith("host:"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
            writer.close()

        async def resolve(_: str, __: int) -> Sequence[str]:
            return ["127.0.0.1"]

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]
        async with server:
            good = local(f"https://dunning.example:{port}/", tls=client_tls, resolve=resolve)
            outcome = await good.send([event(1)])
            wrong = local(f"https://other.example:{port}/", tls=client_tls, resolve=resolve)
            mistaken = await wrong.send([event(1)])
            await good.close()
            await wrong.close()
        assert outcome.status == 204
        assert hosts == [f"Host: dunning.example:{port}"]
        assert names == ["dunning.example", "other.example"]
        assert mistaken.kind == "retry"
        assert "certificate" in mistaken.reason

    async def test_the_second_address_is_tried_when_the_first_does_not_answer(self) -> None:
        receiver = Receiver([SECRET], clock=CLOCK)
        async with serve(receiver.app) as url:
            port = httpx.URL(url).port

            async def resolve(_: str, __: int) -> Sequence[str]:
                return ["127.0.0.2", "127.0.0.1"]

            sender = local(f"http://dunning.example:{port}/events", resolve=resolve)
            assert (await sender.send([event(1)])).kind == "answered"
            await sender.close()

    @pytest.mark.parametrize(
        ("address", "public"),
        [
            ("93.184.216.34", True),
            ("2606:2800:220:1::1", True),
            ("::ffff:93.184.216.34", True),
            ("64:ff9b::5db8:d822", True),
            ("::93.184.216.34", True),
            ("::10.0.0.1", False),
            ("::", False),
            ("fc00::1", False),
            ("ff02::1", False),
            ("192.0.2.1", False),
            ("198.18.0.1", False),
        ],
    )
    def test_public_means_public_all_the_way_in(self, address: str, public: bool) -> None:
        assert targets.is_public(ipaddress.ip_address(address)) is public


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS with a certificate for a name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(secret + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return server, ssl.create_default_context(cadata=pem.decode())
