"""The doors for other processes, and that the wire and the truth agree."""

from collections import defaultdict
from decimal import Decimal

import pytest

from tests.adapters.exactonline.simulated import Client, simulated, small_books


async def test_an_act_is_done_by_name_and_says_what_it_did() -> None:
    async with simulated() as client:
        answer = await client.http.post("/_sim/actions", json={"name": "pay"})
        done = answer.json()
        assert " paid EUR " in done["sentence"]
        assert client.books.matching.items[done["ids"][0]].open == 0
        again = await client.http.post("/_sim/actions", json={"name": "pay", "args": {"item": done["ids"][0]}})
        assert (again.status_code, "open" in again.json()["error"]) == (409, True)
        unknown = await client.http.post("/_sim/actions", json={"name": "embezzle"})
        assert "no act 'embezzle'" in unknown.json()["error"]
        wrong = await client.http.post("/_sim/actions", json={"name": "pay", "colour": "red"})
        assert wrong.status_code == 409
        assert (await client.http.post("/_sim/actions", json={"name": "random"})).status_code == 200
        names = (await client.http.get("/_sim/actions")).json()["names"]
        assert {"pay", "pay_partly", "unmatch", "merge_customers", "back_date_invoice"} <= set(names)


async def test_faults_and_settings_from_outside() -> None:
    async with simulated() as client:
        fault = {"match": "Journals", "kind": "status", "status": 503, "times": 2}
        assert (await client.http.post("/_sim/faults", json=fault)).status_code == 204
        assert (await client.get("financial/Journals")).status_code == 503
        await client.http.delete("/_sim/faults")
        assert (await client.get("financial/Journals")).status_code == 200
        bad = await client.http.post("/_sim/faults", json={"match": "x", "kind": "gremlins"})
        assert bad.status_code == 400
        await client.http.post("/_sim/settings", json={"granted": [1], "mandatory_filter": False})
        assert client.simulator.settings.granted == frozenset({1})
        assert (await client.http.post("/_sim/settings", json={"nonsense": 1})).status_code == 400


async def test_requests_and_violations_are_shown_and_control_is_not_recorded() -> None:
    async with simulated(minute_limit=1) as client:
        client.simulator.requests.clear()
        await client.get("financial/Journals")
        await client.get("financial/Journals")
        requests = (await client.http.get("/_sim/requests")).json()
        assert [record["status"] for record in requests] == [200, 429]
        assert (await client.http.get("/_sim/violations")).json() == {"over_minute_limit": 1}


async def read_back(client: Client) -> dict[str, tuple[Decimal, str]]:
    """What a reader of the terms would say is open per ledger line, and on whom."""
    rows = await client.rows("sync/Cashflow/PaymentTerms", filter="Timestamp gt 1")
    found: dict[str, tuple[Decimal, str]] = defaultdict(lambda: (Decimal(0), ""))
    for row in rows:
        if row["LineType"] == 20 and row["Status"] < 50:
            amount, _ = found[row["TransactionID"]]
            found[row["TransactionID"]] = amount - Decimal(str(row["AmountDC"])), row["Account"]
    return {key: (amount.quantize(Decimal("0.01")), customer) for key, (amount, customer) in found.items()}


@pytest.mark.parametrize("seed", range(4))
async def test_the_terms_say_what_the_truth_says(seed: int) -> None:
    async with simulated(small_books(), minute_limit=1000) as client:
        client.simulator.bookkeeper._rng.seed(seed)
        for _ in range(8):
            for _ in range(10):
                client.simulator.bookkeeper.random_action()
            truth = await client.truth()
            expected = {
                key: (Decimal(item["base_open"]), item["customer"])
                for key, item in truth["items"].items()
                if Decimal(item["base_open"])
            }
            shown = {key: found for key, found in (await read_back(client)).items() if found[0]}
            assert shown == expected
            total = sum((amount for amount, _ in expected.values()), Decimal(0))
            assert total == Decimal(truth["receivable_balance"])
            assert truth["unassigned_balance"] == "0.00"
            accounts = {
                row["ID"]: row["Email"] for row in await client.rows("sync/CRM/Accounts", filter="Timestamp gt 1")
            }
            for key, customer in truth["customers"].items():
                assert accounts[key] == customer["email"]
