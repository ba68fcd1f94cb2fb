"""The wire's bad days, in process and on real sockets (sheet 12.10)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from adapters.exactonline.simulator import SimulatorSettings, create
from connector.clock import SystemClock
from tests.adapters.exactonline.simulated import Client, simulated, small_books
from tests.clocks import ManualClock
from tests.servers import serve

JOURNALS = "financial/Journals"


@asynccontextmanager
async def on_a_socket() -> AsyncIterator[Client]:
    simulator = create(small_books(), SystemClock(), SimulatorSettings())
    async with (
        serve(simulator.app) as base,
        httpx.AsyncClient(base_url=base, headers={"Accept": "application/json"}) as http,
    ):
        client = Client(simulator, ManualClock(), http)
        await client.connect()
        yield client


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 502, 503, 504])
async def test_any_status(status: int) -> None:
    async with simulated() as client:
        client.simulator.faults.add(JOURNALS, "status", status=status, headers={"Retry-After": "7"})
        answer = await client.get(JOURNALS)
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
        assert (await client.get(JOURNALS)).status_code == 200


async def test_a_fault_waits_for_its_turn_and_is_used_up() -> None:
    async with simulated() as client:
        client.simulator.faults.add(JOURNALS, "status", status=503, after=1, times=2)
        statuses = [(await client.get(JOURNALS)).status_code for _ in range(5)]
        assert statuses == [200, 503, 503, 200, 200]
        client.simulator.faults.add(JOURNALS, "status", status=500, times=None)
        assert {(await client.get(JOURNALS)).status_code for _ in range(4)} == {500}
        client.simulator.faults.clear()
        assert (await client.get(JOURNALS)).status_code == 200


async def test_a_fault_can_match_the_query() -> None:
    async with simulated() as client:
        client.simulator.faults.add("skiptoken", "status", status=500)
        assert (await client.get("cashflow/Receivables", filter="Status lt 60", select="ID")).status_code == 200
        with pytest.raises(AssertionError):
            await client.rows("cashflow/Receivables", filter="Status lt 60", select="ID")


async def test_html_with_any_status() -> None:
    async with simulated() as client:
        client.simulator.faults.add(JOURNALS, "html")
        client.simulator.faults.add(JOURNALS, "html", status=200)
        first, second = await client.get(JOURNALS), await client.get(JOURNALS)
        assert (first.status_code, second.status_code) == (503, 200)
        assert second.text.startswith("<html>")


async def test_truncated_empty_and_undecodable_bodies() -> None:
    async with simulated() as client:
        whole = await client.get(JOURNALS)
        client.simulator.faults.add(JOURNALS, "truncate")
        cut = await client.get(JOURNALS)
        assert whole.content.startswith(cut.content)
        assert 0 < len(cut.content) < len(whole.content)
        client.simulator.faults.add(JOURNALS, "empty")
        assert (await client.get(JOURNALS)).content == b""
        client.simulator.faults.add(JOURNALS, "invalid_utf8")
        with pytest.raises(UnicodeDecodeError):
            (await client.get(JOURNALS)).content.decode()


async def test_redirects_to_elsewhere() -> None:
    async with simulated() as client:
        client.simulator.faults.add(JOURNALS, "redirect")
        answer = await client.get(JOURNALS)
        assert (answer.status_code, answer.headers["location"]) == (302, "https://elsewhere.example/login")
        client.simulator.faults.add(JOURNALS, "redirect", status=307, location="http://exact.test/login")
        assert (await client.get(JOURNALS)).headers["location"] == "http://exact.test/login"


async def test_a_next_page_that_is_not_ours_or_goes_in_circles() -> None:
    async with simulated() as client:
        client.simulator.faults.add(JOURNALS, "foreign_next")
        foreign = (await client.get(JOURNALS)).json()["d"]["__next"]
        assert foreign.startswith("https://elsewhere.example/api/v1/")
        client.simulator.faults.add(JOURNALS, "loop_next")
        answer = await client.get(JOURNALS, select="ID")
        assert httpx.URL(answer.json()["d"]["__next"]) == answer.url


async def test_rows_that_are_wrong() -> None:
    async with simulated() as client:
        path = {"filter": "Timestamp gt 1", "select": "ID,AmountDC,Division,Timestamp"}
        sync = "sync/Financial/TransactionLines"
        right = (await client.get(sync, **path)).json()["d"]["results"]
        client.simulator.faults.add(sync, "wrong_division_rows", division=5)
        assert {row["Division"] for row in (await client.get(sync, **path)).json()["d"]["results"]} == {5}
        client.simulator.faults.add(sync, "bad_row", row=2)
        bad = (await client.get(sync, **path)).json()["d"]["results"]
        assert [place for place, row in enumerate(bad) if row != right[place]] == [2]
        client.simulator.faults.add(sync, "bad_row", field="ID", value=None)
        assert (await client.get(sync, **path)).json()["d"]["results"][0]["ID"] is None
        client.simulator.faults.add(sync, "missing_field", field="AmountDC")
        assert all("AmountDC" not in row for row in (await client.get(sync, **path)).json()["d"]["results"])
        client.simulator.faults.add(sync, "repeat_rows")
        assert (await client.get(sync, **path)).json()["d"]["results"] == right + right
        client.simulator.faults.add(sync, "reverse_rows")
        assert (await client.get(sync, **path)).json()["d"]["results"] == right[::-1]
        client.simulator.faults.add(sync, "no_rows")
        assert (await client.get(sync, **path)).json()["d"] == {"results": []}


async def test_a_fault_nobody_knows_is_refused() -> None:
    async with simulated() as client:
        with pytest.raises(ValueError, match="no fault 'gremlins'; there are: bad_row"):
            client.simulator.faults.add(JOURNALS, "gremlins")


async def test_every_request_is_recorded_with_what_became_of_it() -> None:
    async with simulated() as client:
        client.simulator.requests.clear()
        client.simulator.faults.add(JOURNALS, "html")
        await client.get(JOURNALS, select="ID")
        client.simulator.faults.add(JOURNALS, "drop")
        with pytest.raises(httpx.TransportError):
            await client.get(JOURNALS)
        first, second = client.simulator.requests
        assert (first.status, first.fault, first.query) == (503, "html", "%24select=ID")
        assert (second.status, second.fault) == (None, "drop")


async def test_a_slow_body_takes_its_time_on_the_clock() -> None:
    async with simulated() as client:
        before = client.clock.now()
        client.simulator.faults.add(JOURNALS, "slow", seconds=90)
        answer = await client.get(JOURNALS)
        assert len(answer.json()["d"]["results"]) == len(client.books.ledger.journals)
        assert round((client.clock.now() - before).total_seconds()) == 90


@pytest.mark.parametrize("kind", ["drop", "reset"])
async def test_a_broken_connection_breaks_on_a_real_socket(kind: str) -> None:
    async with on_a_socket() as client:
        client.simulator.faults.add(JOURNALS, kind)
        with pytest.raises(httpx.TransportError):
            await client.get(JOURNALS)
        assert (await client.get(JOURNALS)).status_code == 200


async def test_a_slow_body_can_be_given_up_on_a_real_socket() -> None:
    async with on_a_socket() as client:
        client.simulator.faults.add(JOURNALS, "slow", seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.get(JOURNALS)
        assert (await client.get(JOURNALS)).status_code == 200


async def test_a_huge_body_can_be_cut_off_on_a_real_socket() -> None:
    async with on_a_socket() as client:
        client.simulator.faults.add(JOURNALS, "huge", size=1 << 30)
        url = f"/api/v1/{client.simulator.division}/{JOURNALS}"
        seen = 0
        async with client.http.stream("GET", url) as answer:
            assert "content-length" not in answer.headers
            async for chunk in answer.aiter_bytes():
                seen += len(chunk)
                if seen > 1 << 20:
                    break
        assert seen < 1 << 22


async def test_a_lost_token_response_breaks_the_connection_when_dropped() -> None:
    async with on_a_socket() as client:
        code = await client.code()
        client.simulator.faults.add("oauth2/token", "drop")
        with pytest.raises(httpx.TransportError):
            await client.exchange(code)
        assert (await client.exchange(code)).status_code == 200  # dropped before anything happened
