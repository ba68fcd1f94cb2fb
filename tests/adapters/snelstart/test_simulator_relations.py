"""Relations and the registers around them (sheet 4, 5.1, 5.7)."""

from typing import Any

from adapters.simulation import generate
from adapters.simulation.relations import Role
from tests.adapters.snelstart.simulated import NIL, Client, named, simulated, small_books
from tests.clocks import ManualClock


async def relation(client: Client, key: str) -> dict[str, Any]:
    (row,) = await client.rows("relaties", filter=f"Id eq guid'{key}'")
    return row


def debtor(client: Client, **having: Any) -> Any:
    return next(
        one for one in client.books.relations.customers.values()
        if one.role is Role.CUSTOMER and all(getattr(one, name) == value for name, value in having.items())
    )  # fmt: skip


async def test_three_relations_of_every_administration_are_no_customers() -> None:
    async with simulated() as client:
        rows = {row["relatiecode"]: row for row in await client.rows("relaties", filter="Relatiecode lt 10000")}
        assert {code: (row["naam"], row["relatiesoort"]) for code, row in rows.items()} == {
            1: ("<Vul hier uw bedrijfsnaam in>", ["Eigen"]),
            -1: ("Leverancier onbekend", ["Leverancier"]),
            -2: ("Klant onbekend", ["Klant"]),
        }
        key = client.act("invoice", customer=rows[-2]["id"])[0]
        assert named((await client.one(f"verkoopfacturen/{key}"))["relatie"]) == rows[-2]["id"]
        assert client.simulator.truth()["items"][key]["customer"] == rows[-2]["id"]


async def test_customers_say_who_they_are_and_how_they_are_reminded() -> None:
    async with simulated(small_books(customers=60), drop_nulls=False, nothing="null") as client:
        for customer in client.books.relations.customers.values():
            row = await relation(client, customer.id)
            if customer.role is not Role.CUSTOMER:
                continue
            assert row["naam"] == customer.name
            assert row["relatiecode"] == customer.number
            assert row["email"].split(";")[0] == customer.email
            expected = "Consument" if customer.consumer else "Onderneming"
            assert row["aanmaningsoort"] in {expected, "Nee"}
            assert row["krediettermijn"] == customer.condition.days
            assert (row["incassoSoort"] != "Geen") is (customer.mandate is not None)
        rows = await client.rows("relaties")
        assert any(";" in (row["email"] or "") for row in rows)
        assert any("; " in row["aanmaningEmailVersturen"]["email"] for row in rows)
        assert any(row["factuurEmailVersturen"] is None for row in rows)


async def test_mandates_cost_a_call_each() -> None:
    async with simulated(small_books(customers=60), nothing="null", drop_nulls=False) as client:
        customer = next(one for one in client.books.relations.customers.values() if one.mandate)
        (row,) = await client.one(f"relaties/{customer.id}/doorlopendeincassomachtigingen")
        assert (row["kenmerk"], row["klant"]["id"]) == (customer.mandate.reference, customer.id)
        assert row["intrekkingsDatum"] is None
        customer.mandates[0].cancelled = client.clock.now().date()
        (row,) = await client.one(f"relaties/{customer.id}/doorlopendeincassomachtigingen")
        assert row["intrekkingsDatum"] == "2026-11-20T00:00:00"
        assert await client.one(f"relaties/{customer.id}/customFields") == {
            "klantCustomFields": [],
            "leverancierCustomFields": [],
        }


async def test_deleted_and_blocked_are_inactive_here() -> None:
    async with simulated() as client:
        (deleted,) = client.act("new_customer")
        client.act("delete_customer", customer=deleted)
        (blocked,) = client.act("block_customer")
        for key in (deleted, blocked):
            assert (await relation(client, key))["nonactief"] is True
            assert (await client.get(f"relaties/{key}")).status_code == 404
        client.settings.inactive_by_id = True
        assert (await client.one(f"relaties/{deleted}"))["nonactief"] is True
        client.settings.inactive_listed = False
        assert await client.rows("relaties", filter="Nonactief eq true") == []


async def test_a_merged_customer_stays_behind_without_invoices() -> None:
    async with simulated() as client:
        gone, kept = client.act("merge_customers")
        rows = await client.rows("verkoopfacturen")
        assert gone not in {named(row["relatie"]) for row in rows}
        assert (await relation(client, gone))["nonactief"] is True
        for row in await client.one(f"relaties/{kept}/verkoopboekingen"):
            assert named(row["klant"]) == kept


async def test_a_tenant_fills_in_fields_that_the_books_do_not_know() -> None:
    async with simulated() as client:
        one, other = (key for key, row in list(client.books.relations.customers.items())[:2])
        before = await relation(client, one)
        client.clock.advance(60)
        fields = {"factuurRelatie": {"id": other, "uri": f"/relaties/{other}"}, "kredietLimiet": 5000}
        answer = await client.http.post("/_sim/relations", json={"id": one, "fields": fields})
        assert answer.status_code == 204
        after = await relation(client, one)
        assert (after["factuurRelatie"]["id"], after["kredietLimiet"]) == (other, 5000)
        assert after["modifiedOn"] > before["modifiedOn"]
        unknown = await client.http.post("/_sim/relations", json={"id": NIL, "fields": {}})
        assert unknown.status_code == 404


async def test_nothing_is_written_in_three_ways() -> None:
    async with simulated(small_books(customers=60)) as client:
        ways = set()
        for row in await client.rows("relaties"):
            link = row.get("factuurRelatie", "absent")
            ways.add("nil" if isinstance(link, dict) and link["id"] == NIL else str(link))
        assert ways == {"nil", "absent", "None"}
        client.settings.nothing = "nil"
        assert {named(row["factuurRelatie"]) for row in await client.rows("relaties")} == {None}


async def test_stamps_have_no_zone_and_any_number_of_digits() -> None:
    async with simulated(small_books(customers=60, invoices=200)) as client:
        stamps = [row["modifiedOn"] for row in await client.rows("verkoopfacturen")]
        assert {len(stamp.partition(".")[2]) for stamp in stamps} >= {0, 1, 2, 3}
        assert not any(stamp.endswith("0") for stamp in stamps if "." in stamp)
        client.act("rename_customer", customer=debtor(client).id)
        row = await relation(client, debtor(client).id)
        assert row["modifiedOn"].startswith("2026-11-20T10:00:07")  # Amsterdam is an hour ahead in winter
        client.settings.fraction_digits = 7
        assert len((await relation(client, debtor(client).id))["modifiedOn"].partition(".")[2]) == 7


async def test_amounts_have_two_or_four_decimals_or_as_few_as_they_need() -> None:
    async with simulated(small_books(invoices=100)) as client:
        text = (await client.get("verkoopfacturen")).text
        digits = {len(part.partition(".")[2]) for part in _numbers(text)}
        assert digits >= {0, 1, 2, 4}
        client.settings.decimals = "two"
        assert {len(part.partition(".")[2]) for part in _numbers((await client.get("verkoopfacturen")).text)} == {2}


def _numbers(text: str) -> list[str]:
    return [part.split(",")[0].rstrip("}") for part in text.split('"factuurBedrag":')[1:]]


async def test_a_journal_is_an_account_under_another_id() -> None:
    async with simulated() as client:
        journals = {row["nummer"]: row for row in await client.one("dagboeken")}
        accounts = {row["nummer"]: row for row in await client.rows("grootboeken")}
        assert {row["soort"] for row in journals.values()} == {
            "Kas",
            "Bank",
            "Verkoop",
            "Inkoop",
            "Memoriaal",
            "Balans",
        }
        for number, row in journals.items():
            assert accounts[number]["id"] != row["id"]
            assert accounts[number]["grootboekfunctie"] == f"Dagboek{row['soort']}"


async def test_countries_have_ids_of_their_own_in_every_administration() -> None:
    shown = []
    for seed in (1, 2):
        today = ManualClock().now().date()
        books = generate(seed=seed, customers=2, invoices=2, today=today, foreign_currency=False)
        async with simulated(books) as client:
            countries = {row["landcode"]: row for row in await client.one("landen")}
            assert countries["NL"]["landcodeISO"] == "NLD"
            assert await client.one(f"landen/{countries['NL']['id']}") == countries["NL"]
            shown.append(countries["NL"]["id"])
    assert shown[0] != shown[1]


async def test_the_period_balance_adds_up() -> None:
    async with simulated() as client:
        rows = await client.one("rapportages/periodebalans?start=2026-01-01&end=2026-12-31")
        assert sum(row["eindSaldoPeriode"] for row in rows) == 0
        for row in rows:
            assert row["startSaldoPeriode"] + row["debet"] - row["credit"] == row["eindSaldoPeriode"]
        receivable = sum(row["eindSaldoPeriode"] for row in rows if row["grootboekNummer"] in {1300, 1310})
        assert receivable == sum(row["openstaandSaldo"] for row in await client.rows("verkoopfacturen"))
        refused = await client.get("rapportages/periodebalans?start=2026-01-01")
        assert (refused.status_code, set(refused.json())) == (400, {"message", "modelState"})
