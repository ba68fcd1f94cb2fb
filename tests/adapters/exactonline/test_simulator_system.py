"""Who is asking, which divisions there are, and what they may be asked (sheet 2.5)."""

from datetime import UTC, datetime

from tests.adapters.exactonline.simulated import simulated, unconnected
from tests.clocks import ManualClock


async def test_me_has_server_time_and_its_offset() -> None:
    async with simulated() as client:
        me = (await client.http.get("/api/v1/current/Me")).json()["d"]["results"][0]
        assert me["ServerTime"] == "2026-11-20T10:00:00"
        assert me["ServerUtcOffset"] == 3600
        assert me["Legislation"] == "1"
        client.clock.advance(240 * 86_400)
        await client.connect()
        me = (await client.http.get("/api/v1/current/Me")).json()["d"]["results"][0]
        assert me["ServerUtcOffset"] == 7200


async def test_the_current_division_follows_the_browser() -> None:
    async with simulated(other_divisions=(777,)) as client:
        answer = await client.http.get("/api/v1/current/Me", params={"$select": "CurrentDivision"})
        assert answer.json()["d"]["results"][0]["CurrentDivision"] == client.simulator.division
        await client.http.post("/_sim/current-division", json={"division": 777})
        answer = await client.http.get("/api/v1/current/Me", params={"$select": "CurrentDivision"})
        assert answer.json()["d"]["results"][0]["CurrentDivision"] == 777
        current = {row["Code"]: row["Current"] for row in await client.rows("system/Divisions")}
        assert current == {client.simulator.division: False, 777: True}


async def test_divisions_are_listed_whatever_division_is_asked() -> None:
    async with simulated(other_divisions=(777,)) as client:
        rows = await client.rows("http://exact.test/api/v1/1/system/Divisions")
        own = next(row for row in rows if row["Code"] == client.simulator.division)
        assert len(rows) == 2
        assert (own["Status"], own["BlockingStatus"], own["Currency"]) == (1, 0, "EUR")
        assert isinstance(own["Hid"], str)
        assert own["Country"] == "NL "


async def test_only_granted_divisions_are_shown_and_served() -> None:
    async with simulated(other_divisions=(777,)) as client:
        own = client.simulator.division
        client.simulator.settings.granted = frozenset({777})
        assert [row["Code"] for row in await client.rows("system/Divisions")] == [777]
        refused = await client.get("financial/Journals")
        assert (refused.status_code, refused.headers["Reason"]) == (403, "NoDivisionAccess")
        assert client.simulator.violations["outside_division"] == 1
        unknown = await client.get("http://exact.test/api/v1/31337/financial/Journals")
        assert unknown.status_code == 403
        assert own != 777


async def test_a_blocked_division_says_so() -> None:
    async with simulated(division_blocking_status=6) as client:
        refused = await client.get("financial/Journals")
        assert (refused.status_code, refused.headers["Reason"]) == (403, "DivisionBlocked")
        assert (await client.rows("system/Divisions"))[0]["BlockingStatus"] == 6


async def test_another_division_holds_nothing_of_these_books() -> None:
    async with simulated(other_divisions=(777,)) as client:
        base = "http://exact.test/api/v1/777"
        answer = await client.http.get(f"{base}/sync/CRM/Accounts", params={"$filter": "Timestamp gt 1"})
        assert answer.json() == {"d": {"results": []}}
        customer = next(iter(client.books.relations.customers))
        assert (await client.http.get(f"{base}/crm/Accounts(guid'{customer}')")).status_code == 404


async def test_hrm_divisions_hides_other_licences() -> None:
    async with simulated(other_divisions=(777,)) as client:
        rows = await client.rows("hrm/Divisions")
        assert [row["Code"] for row in rows] == [client.simulator.division]
        assert isinstance(rows[0]["HID"], int | str)


async def test_without_a_token_nothing_is_served() -> None:
    async with unconnected() as client:
        assert (await client.get("financial/Journals")).status_code == 401
        assert (await client.http.get("/api/v1/current/Me")).status_code == 401


async def test_journals_tell_banks_from_sales() -> None:
    async with simulated() as client:
        rows = {row["Code"]: row for row in await client.rows("financial/Journals")}
        assert rows["20"]["Type"] == 12
        assert rows["20"]["BankAccountIBAN"] == "NL91INGB0417164300"
        assert rows["20"]["GLAccountType"] == 12
        assert (rows["10"]["Type"], rows["70"]["Type"], rows["60"]["Type"], rows["93"]["Type"]) == (10, 20, 22, 90)


async def test_payment_conditions_tell_days_discount_and_collection() -> None:
    async with simulated() as client:
        rows = {row["Code"]: row for row in await client.rows("cashflow/PaymentConditions")}
        assert rows["30"]["PaymentDays"] == 30
        assert (rows["K2"]["DiscountPercentage"], rows["K2"]["DiscountPaymentDays"]) == (2, 8)
        assert rows["IN"]["PaymentMethod"] == "I"


async def test_bank_accounts_and_mandates_of_one_account() -> None:
    async with simulated() as client:
        customer = next(one for one in client.books.relations.customers.values() if one.mandates)
        [bank] = await client.rows("crm/BankAccounts", filter=f"Account eq guid'{customer.id}'")
        [mandate] = await client.rows("cashflow/DirectDebitMandates", filter=f"Account eq guid'{customer.id}'")
        assert bank["IBAN"] == customer.bank_accounts[0].iban
        assert mandate["BankAccount"] == bank["ID"]


async def test_invoice_addresses_are_rows_of_their_own() -> None:
    async with simulated() as client:
        rows = await client.rows("bulk/CRM/Addresses", filter="Type eq 3", select="Account,AddressLine1,City")
        assert rows
        accounts = await client.rows("crm/Accounts", filter="Status eq 'C'", select="ID,AddressLine1")
        visited = {row["ID"]: row["AddressLine1"] for row in accounts}
        assert all(row["AddressLine1"].startswith("Postbus") for row in rows)
        assert all(visited[row["Account"]] != row["AddressLine1"] for row in rows)


async def test_page_latency_passes_on_the_simulators_clock() -> None:
    async with simulated(page_latency=2.5) as client:
        before = client.clock.now()
        await client.get("financial/Journals")
        assert (client.clock.now() - before).total_seconds() == 2.5


def test_the_autumn_hour_happens_twice_on_the_servers_wall() -> None:
    from adapters.exactonline.simulator.encoding import WallClock, milliseconds

    wall = WallClock("Europe/Amsterdam")
    first, second = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    assert wall.local(first) == wall.local(second)
    assert (wall.offset(first), wall.offset(second)) == (7200, 3600)
    assert milliseconds(datetime(1969, 12, 31, tzinfo=None)) == "/Date(-86400000)/"  # noqa: DTZ001
    assert ManualClock().now().tzinfo is UTC
