"""The wire's bad days, and the doors for other processes (sheet 9.8)."""

import asyncio

import httpx
import pytest

from adapters.snelstart.simulator import SimulatorSettings, create
from connector.clock import SystemClock
from tests.adapters.snelstart.simulated import NIL, Client, simulated, small_books
from tests.servers import serve

INVOICES = "verkoopfacturen"


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (400, "errorCode"),
        (401, "statusCode"),
        (403, "statusCode"),
        (429, "statusCode"),
        (500, "Message"),
        (502, "Message"),
    ],
)
async def test_any_status_in_the_body_of_who_says_so(status: int, key: str) -> None:
    async with simulated() as client:
        client.simulator.faults.add(INVOICES, "status", status=status, headers={"Retry-After": "7"})
        answer = await client.get(INVOICES)
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
        body = answer.json()
        assert key in (body[0] if isinstance(body, list) else body)
        assert (await client.get(INVOICES)).status_code == 200
        counted = (await client.http.get("/_sim/answers")).json()
        assert counted == {"b2b": {"200": 1}, INVOICES: {str(status): 1, "200": 1}}


async def test_bodies_that_are_no_answer() -> None:
    async with simulated() as client:
        whole = (await client.get(INVOICES)).content
        for kind in ("truncate", "empty", "invalid_utf8", "html"):
            client.simulator.faults.add(INVOICES, kind, status=200 if kind == "html" else None)
            answer = await client.get(INVOICES)
            assert answer.status_code == 200
            assert answer.content != whole
        assert (await client.get(INVOICES)).content == whole


async def test_rows_that_are_wrong() -> None:
    async with simulated(nothing="null", drop_nulls=False) as client:
        faults, rows = client.simulator.faults, await client.one(INVOICES)
        faults.add(INVOICES, "bad_row", row=2)
        assert [row["openstaandSaldo"] for row in await client.one(INVOICES)][2] == {"unexpected": True}
        faults.add(INVOICES, "bad_row", field="vervalDatum", value="tomorrow")
        assert (await client.one(INVOICES))[0]["vervalDatum"] == "tomorrow"
        faults.add(INVOICES, "missing_field", field="relatie")
        assert all("relatie" not in row for row in await client.one(INVOICES))
        faults.add(INVOICES, "nil_ids", field="verkoopBoeking")
        assert {row["verkoopBoeking"]["id"] for row in await client.one(INVOICES)} == {NIL}
        faults.add(INVOICES, "repeat_rows")
        assert len(await client.one(INVOICES)) == 2 * len(rows)
        faults.add(INVOICES, "reverse_rows")
        assert [row["id"] for row in await client.one(INVOICES)] == [row["id"] for row in reversed(rows)]
        faults.add(INVOICES, "drop_rows", rows=3)
        assert len(await client.one(INVOICES)) == len(rows) - 3
        faults.add(INVOICES, "no_rows")
        assert await client.one(INVOICES) == []
        faults.add(f"{INVOICES}/{rows[0]['id']}", "missing_field", field="factuurBedrag")
        assert "factuurBedrag" not in await client.one(f"{INVOICES}/{rows[0]['id']}")


async def test_something_is_booked_between_two_pages() -> None:
    async with simulated() as client:
        first = await client.one(INVOICES, top="30", skip="0")
        doomed = client.books.matching.items[first[0]["id"]]
        client.simulator.faults.add("skip=30", "act", name="delete_entry", args={"item": doomed.id})
        second = await client.one(INVOICES, top="500", skip="30")
        read = {row["id"] for row in first + second}
        still = {row["id"] for row in await client.rows(INVOICES)}
        assert read - still == {doomed.id}
        assert len(still - read) == 1  # it moved up over the edge of the page, and nobody saw it
        client.simulator.faults.add(INVOICES, "act", name="delete_entry", args={"item": doomed.id})
        assert (await client.get(INVOICES)).status_code == 200


async def test_a_cut_connection_and_a_slow_one() -> None:
    simulator = create(small_books(), SystemClock(), SimulatorSettings())
    form = {"grant_type": "clientkey", "clientkey": simulator.koppelsleutel}
    async with serve(simulator.app) as base, httpx.AsyncClient(base_url=base, trust_env=False) as http:
        for kind in ("drop", "reset"):
            simulator.faults.add("b2b/token", kind)
            with pytest.raises(httpx.TransportError):
                await http.post("/b2b/token", data=form)
        simulator.faults.add("b2b/token", "slow", seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await http.post("/b2b/token", data=form)
        assert (await http.post("/b2b/token", data=form)).status_code == 200


async def test_acts_and_truth_from_outside() -> None:
    async with simulated() as client:
        done = (await client.http.post("/_sim/actions", json={"name": "pay"})).json()
        truth = (await client.http.get("/_sim/truth")).json()
        assert truth["items"][done["ids"][0]]["open"] == "0.00"
        again = await client.http.post("/_sim/actions", json={"name": "pay", "args": {"item": done["ids"][0]}})
        assert again.status_code == 409
        names = (await client.http.get("/_sim/actions")).json()["names"]
        assert {"pay_too_much", "pay_in_cash", "charge_back", "reissue_invoice", "write_off_by_journal"} <= set(names)
        assert not {"invoice_in_dollars", "journal"} & set(names)


async def test_faults_settings_and_requests_from_outside() -> None:
    async with simulated() as client:
        client.simulator.requests.clear()
        fault = {"match": INVOICES, "kind": "status", "status": 503, "times": 2}
        assert (await client.http.post("/_sim/faults", json=fault)).status_code == 204
        assert (await client.get(INVOICES)).status_code == 503
        await client.http.delete("/_sim/faults")
        assert (await client.get(INVOICES)).status_code == 200
        assert (await client.http.post("/_sim/faults", json={"match": "", "kind": "gremlins"})).status_code == 400
        shown = (await client.http.get("/_sim/requests")).json()
        assert [(one["status"], one["fault"]) for one in shown] == [(503, "status"), (200, None)]
        await client.http.post("/_sim/settings", json={"unfilterable": [], "order": "restless"})
        assert client.settings.unfilterable == frozenset()
        assert (await client.http.post("/_sim/settings", json={"order": "sorted"})).status_code == 400
        assert (await client.http.post("/_sim/settings", json={"nonsense": 1})).status_code == 400
        assert client.settings.order == "restless"
        assert (await client.http.get("/_sim/violations")).json() == {}


async def files_of(client: Client, kind: str) -> list[str]:
    sale = next(
        entry.id for entry in client.books.ledger.entries.values() if entry.id in client.books.documents.of_entry
    )
    return [row["fileName"] for row in await client.one(f"documenten/{kind}/{sale}")]


async def test_documents_and_ubl() -> None:
    async with simulated(small_books(customers=40, invoices=200)) as client:
        found = next(one for one in client.books.documents.documents.values() if len(one.attachments) > 1)
        item, sale = found.entry.lines[0].id, found.entry.id
        listed = await client.one(f"documenten/Verkoopboekingen/{sale}")
        assert {row["verkoopBoekingId"] for row in listed} == {sale}
        booking = await client.one(f"verkoopboekingen/{sale}")
        assert [row["id"] for row in booking["documents"]] == [row["id"] for row in listed]
        assert (await client.one(f"documenten/{listed[0]['id']}"))["content"].startswith("JVBERi0")
        answer = await client.get(f"verkoopfacturen/{item}/ubl")
        assert answer.headers["content-type"].startswith("application/xml")
        client.settings.ubl_as = "string"
        assert (await client.one(f"verkoopfacturen/{item}/ubl")) == answer.text
        client.settings.ubl_as = "list"
        assert isinstance((await client.one(f"verkoopfacturen/{item}/ubl"))[0], dict)
        plain = next(one.entry.lines[0].id for one in client.books.documents.documents.values() if one is not found
                     and len(one.attachments) == 1)  # fmt: skip
        assert (await client.get(f"verkoopfacturen/{plain}/ubl")).status_code == 404
        assert await files_of(client, "Relaties") == []
        client.settings.invoice_on_booking = False
        assert await files_of(client, "Verkoopboekingen") == []
        assert (await client.get(f"documenten/{listed[0]['id']}")).status_code == 404
        assert (await client.one("companyInfo"))["factuurAlsBijlageVerkoopboeking"] is False


async def test_orders_lead_to_the_clients_own_reference() -> None:
    async with simulated() as client:
        rows = [row for row in await client.rows(INVOICES) if row["verkoopOrders"]]
        for row in rows[:5]:
            order = await client.one(f"verkooporders/{row['verkoopOrders'][0]['id']}")
            assert order["verkoopfactuur"]["id"] == row["id"]
            assert order.get("orderreferentie") == client.books.matching.items[row["id"]].line.entry.reference
