"""The query dialect: OData 3, names with capitals, pages without an order (sheet 3)."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulation.relations import Role
from tests.adapters.snelstart.simulated import Client, simulated, small_books


async def ids(client: Client, path: str, **options: str) -> set[str]:
    return {row["id"] for row in await client.rows(path, **options)}


async def test_every_documented_form_of_a_filter() -> None:
    async with simulated() as client:
        for _ in range(4):
            client.act("rename_customer")
        rows = await client.rows("relaties")
        row = next(row for row in rows if row["relatiecode"] > 10_000)
        name, land = row["naam"], row["vestigingsAdres"]["land"]["id"]
        forms = {
            f"Id eq guid'{row['id'].upper()}'": lambda one: one["id"] == row["id"],
            f"Naam eq '{name}'": lambda one: one["naam"] == name,
            f"ModifiedOn gt datetime'{row['modifiedOn']}'": lambda one: one["modifiedOn"] > row["modifiedOn"],
            "ModifiedOn ge datetime'2026-01-01'": lambda one: one["modifiedOn"] >= "2026",
            "ModifiedOn lt datetime'2026-01-01T00:00'": lambda one: one["modifiedOn"] < "2026",
            "ModifiedOn ge datetime'2026-01-01' and Relatiecode gt 10001 and ModifiedOn lt datetime'2027-01-01'": (
                lambda one: one["modifiedOn"] >= "2026" and one["relatiecode"] > 10_001
            ),
            "ModifiedOn ge datetime'2026-01-01' or Nonactief eq false": lambda one: True,
            f"substringof('{name[3:8]}', Naam) eq true": lambda one: name[3:8].lower() in one["naam"].lower(),
            f"startswith(Naam,'{name[:4]}') eq false": lambda one: not one["naam"].startswith(name[:4]),
            "Relatiesoort/any(r:r eq 'Klant')": lambda one: "Klant" in one["relatiesoort"],
            "Relatiecode gt 0 and Relatiesoort/any(x: x eq 'Klant')": lambda one: (
                one["relatiecode"] > 10_000 and "Klant" in one["relatiesoort"]
            ),
            "not (IncassoSoort eq 'Geen')": lambda one: one["incassoSoort"] != "Geen",
            "Nonactief eq false or Relatiecode eq -1": lambda one: not one["nonactief"] or one["relatiecode"] == -1,
            f"VestigingsAdres/Land/Id eq (guid'{land}')": lambda one: (
                bool(one.get("vestigingsAdres")) and one["vestigingsAdres"]["land"]["id"] == land
            ),
            "ExtraVeldenKlant/any(e:e/Waarde eq '5' and e/Naam eq 'lid')": lambda one: False,
        }
        for text, keeps in forms.items():
            expected = {one["id"] for one in rows if keeps(one)}
            assert await ids(client, "relaties", filter=text) == expected, text


async def test_dates_amounts_and_nested_ids_elsewhere() -> None:
    async with simulated() as client:
        bank = await client.rows("bankboekingen", filter="year(Datum) eq 2026 and month(Datum) ge 6")
        assert bank
        assert all(row["datum"][:4] == "2026" and row["datum"][5:7] >= "06" for row in bank)
        journal = bank[0]["dagboek"]["id"]
        rows = await client.rows("bankboekingen", filter=f"Dagboek/Id eq guid'{journal}'")
        assert {row["dagboek"]["id"] for row in rows} == {journal}
        below = await client.rows("grootboekmutaties", filter="Saldo lt 0")
        assert below
        assert all(row["saldo"] < 0 < row["credit"] for row in below)


async def test_nothing_can_be_asked_for() -> None:
    async with simulated() as client:
        rows = await client.rows("relaties")
        missing = await ids(client, "relaties", filter="Iban eq null")
        assert missing == {row["id"] for row in rows if row.get("iban") is None} != set()
        assert missing.isdisjoint(await ids(client, "relaties", filter="Iban ne null"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("relaties", "Could not find a property named 'email' on type '{}Relaties.RelatieModel'."),
        ("bankboekingen", "Could not find a property named 'modifiedOn' on type '{}Bankboekingen.BankboekingModel'."),
    ],
)
async def test_names_have_capitals(path: str, text: str) -> None:
    name = text.split("'")[1]
    async with simulated() as client:
        answer = await client.get(path, filter=f"{name} eq null")
        assert answer.status_code == 400
        assert answer.json() == {"Message": text.format("SnelStart.B2B.Api.V2.Models.")}


@pytest.mark.parametrize(
    "text",
    [
        "Naam eq", "eq 'x'", "Naam is 'x'", "(Naam eq 'x'", "contains(Naam,'x')", "Uri eq '/relaties'",
        "Naam eq 'x' and", 'Naam eq "x"', "Relatiesoort/all(r:r eq 'Klant')", "VerkoopBoekingenUri ne null",
    ],
)  # fmt: skip
async def test_what_is_not_understood_has_a_code_or_a_message(text: str) -> None:
    async with simulated() as client:
        answer = await client.get("relaties", filter=text)
        assert answer.status_code == 400
        body = answer.json()
        assert body == [{"errorCode": "ALG-0104", "message": "Ongeldig OData filter", "details": None}] or body[
            "Message"
        ].startswith("Could not find a property named")


@pytest.mark.parametrize(
    "text",
    ["Naam eq 5", "Relatiecode eq 'x'", "Id eq 'x'", "ModifiedOn gt '2026-01-01'", "ModifiedOn gt datetime'2026-13-01'",
     "ModifiedOn gt datetime'2026-01-01T00:00:00Z'", "substringof('1', Relatiecode)"],
)  # fmt: skip
async def test_types_have_to_fit(text: str) -> None:
    async with simulated() as client:
        answer = await client.get("relaties", filter=text)
        assert answer.status_code == 400
        assert set(answer.json()) == {"Message"}


async def test_quotes_are_doubled() -> None:
    async with simulated() as client:
        key = next(one.id for one in client.books.relations.customers.values() if one.role is Role.CUSTOMER)
        client.act("rename_customer", customer=key, name="O'Brien & Zn.")
        assert await ids(client, "relaties", filter="Naam eq 'O''Brien & Zn.'") == {key}


async def test_the_open_amount_may_or_may_not_be_filtered() -> None:
    async with simulated() as client:
        answer = await client.get("verkoopfacturen", filter="OpenstaandSaldo ne 0")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "ALG-0104")
        client.settings.unfilterable = frozenset()
        still = await ids(client, "verkoopfacturen", filter="OpenstaandSaldo ne 0")
        assert still == {row["id"] for row in await client.rows("verkoopfacturen") if row["openstaandSaldo"]} != set()


async def test_lists_without_odata_ignore_every_option_and_say_nothing() -> None:
    async with simulated() as client:
        for path in ("landen", "dagboeken", "btwtarieven"):
            everything = await client.one(path)
            assert len(everything) > 2
            assert await client.one(path, filter="Nonsense eq 'x'", top="1", skip="1", orderby="?") == everything


async def test_a_page_is_bare_and_capped() -> None:
    async with simulated(small_books(customers=20, invoices=300)) as client:
        first = await client.one("grootboekmutaties")
        assert isinstance(first, list)
        assert len(first) == 500
        assert len(await client.rows("grootboekmutaties")) > 900
        answer = await client.get("grootboekmutaties", top="501")
        assert answer.status_code == 400
        assert (
            "The limit of '500' for Top query has been exceeded. The value from the incoming request is '501'."
            in (answer.json()["Message"])
        )
        for bad in ({"top": "0"}, {"top": "x"}, {"skip": "-1"}, {"expand": "Dagboek"}):
            assert (await client.get("grootboekmutaties", **bad)).status_code == 400
        assert await client.one("grootboekmutaties", skip="100000") == []


async def test_encoded_and_plain_dollar_signs_and_spaces() -> None:
    async with simulated() as client:
        for query in ("%24top=2&%24filter=Relatiecode%20gt%200", "$top=2&$filter=Relatiecode+gt+0"):
            answer = await client.http.get(f"/v2/relaties?{query}")
            assert len(answer.json()) == 2


async def order_of(client: Client, path: str, **options: str) -> list[str]:
    return [row["id"] for row in await client.one(path, **options)]


async def test_no_order_is_promised() -> None:
    async with simulated() as client:
        by_id = await order_of(client, "verkoopfacturen")
        assert by_id == sorted(by_id)
        client.settings.order = "restless"
        shown = [await order_of(client, "verkoopfacturen") for _ in range(3)]
        assert len({tuple(order) for order in shown}) == 3
        assert all(set(order) == set(by_id) for order in shown)
        client.settings.order = "moving"
        before = await order_of(client, "verkoopfacturen")
        assert before == await order_of(client, "verkoopfacturen") != by_id
        (edited,) = client.act("edit_due_date")
        after = await order_of(client, "verkoopfacturen")
        assert [key for key in after if key != edited] == [key for key in before if key != edited]


async def test_orderby_is_obeyed_where_it_was_seen_to_be() -> None:
    async with simulated() as client:
        names = [row["naam"] for row in await client.one("relaties", orderby="Naam desc")]
        assert names == sorted(names, reverse=True)
        dates = [row["datum"] for row in await client.one("bankboekingen", orderby="Datum, Id")]
        assert dates == sorted(dates)
        plain = await order_of(client, "verkoopfacturen")
        assert await order_of(client, "verkoopfacturen", orderby="ModifiedOn") == plain
        client.settings.orderby = "everywhere"
        stamps = [row["modifiedOn"] for row in await client.one("verkoopfacturen", orderby="ModifiedOn")]
        assert stamps == sorted(stamps)


async def test_select_takes_names_with_capitals_too() -> None:
    async with simulated() as client:
        rows = await client.one("relaties", select="Id,Naam")
        assert {frozenset(row) for row in rows} == {frozenset({"id", "naam"})}
        assert (await client.get("relaties", select="id,naam")).status_code == 400


async def test_ledger_lines_are_summed_on_request() -> None:
    async with simulated() as client:
        (account,) = await client.rows("grootboeken", filter="Nummer eq 1300")
        here = f"Grootboek/Id eq guid'{account['id']}'"
        lines = await client.rows("grootboekmutaties", filter=here)

        async def apply(text: str, **options: str) -> Any:
            return await client.one("grootboekmutaties", apply=text, **options)

        (row,) = await apply("aggregate(Saldo with sum as Totaal)", filter=here)
        assert row == {"Totaal": sum(line["saldo"] for line in lines)}
        (row,) = await apply("aggregate(Debet with max as Meest,Credit with min as Minst)", filter=here)
        assert row == {"Meest": max(line["debet"] for line in lines), "Minst": 0}
        groups = await apply("groupby((Kostenplaats,Dagboek),aggregate(Saldo with sum as Totaal))")
        assert sum(group["Totaal"] for group in groups) == Decimal(0)
        assert len({group["Dagboek"]["id"] for group in groups}) == len(groups) > 2
        assert {tuple(group) for group in await apply("groupby((Grootboek))")} == {("Grootboek",)}
        for bad in ("aggregate(Datum with max as Laatste)", "groupby((Nummer))", "filter(Saldo gt 0)"):
            assert (await client.get("grootboekmutaties", apply=bad)).status_code == 400
