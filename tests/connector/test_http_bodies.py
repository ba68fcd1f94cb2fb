"""The HTTP client and what comes in bodies: JSON, encodings, ends that do not come. B numbers: the fault catalogue."""

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from connector.errors import SourceDown
from connector.network import TooLarge
from tests.scripted import JSON, ok, package, status, to
from tests.servers import serve_raw


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
