"""The webhook: what it sends, and what it makes of answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from connector.clock import SystemClock
from connector.destinations import Destination, webhook
from connector.destinations.webhook import Webhook, understand
from connector.receiver import Receiver
from connector.secrets import Secret
from tests.conformance.destinations import DestinationConformance, event
from tests.sending import CLOCK, SECRET, local
from tests.servers import serve, serve_raw

NEXT = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
NOW = CLOCK.now()
IDS = ("a", "b")


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
            sender = local(f"{url}/events", clock=SystemClock())
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
