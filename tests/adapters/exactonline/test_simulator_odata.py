"""The query dialect: filters, pages, envelopes, and what is refused (sheet 3)."""

from datetime import timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.adapters.exactonline.simulated import simulated, small_books

OPEN = {"filter": "Status lt 50", "select": "ID,AmountDC,Status,Account"}


async def test_a_filter_finds_what_it_names() -> None:
    async with simulated() as client:
        accounts = await client.rows("crm/Accounts", filter="Status eq 'C'", select="ID,Name,Code,Email")
        one = accounts[3]
        name = one["Name"].replace("'", "''")
        for text in (
            f"ID eq guid'{one['ID']}'",
            f"ID eq guid'{one['ID'].upper()}'",
            f"Email eq '{one['Email']}' and Status eq 'C'",
            f"Name eq '{name}' and Email eq '{one['Email']}'",
            f"trim(Code) eq '{one['Code'].strip()}'",
            f"Code eq '{one['Code']}'",
            f"substringof('{one['Email'][2:]}', Email) and not (Status eq 'P')",
            f"startswith(Email, '{one['Email']}') eq true",
            f"(ID eq guid'{one['ID']}' or Name eq 'nobody') and IsSales eq true",
        ):
            found = await client.rows("crm/Accounts", filter=text, select="ID")
            assert [row["ID"] for row in found] == [one["ID"]], text


async def test_an_unpadded_code_matches_nothing_and_says_nothing() -> None:
    async with simulated() as client:
        assert await client.rows("crm/Accounts", filter="Code eq '10003'", select="ID") == []
        assert len(await client.rows("crm/Accounts", filter="trim(Code) eq '10003'", select="ID")) == 1


async def test_comparisons_of_numbers_and_times() -> None:
    async with simulated() as client:
        lines = await client.rows("financialtransaction/TransactionLines", filter="Type eq 20")
        assert lines
        assert {row["Type"] for row in lines} == {20}
        large = await client.rows("financialtransaction/TransactionLines", filter="Type eq 20 and AmountDC ge 100.5d")
        assert {row["ID"] for row in large} == {row["ID"] for row in lines if row["AmountDC"] >= 100.5}
        recent = await client.rows(
            "bulk/Cashflow/Receivables",
            filter="InvoiceDate ge datetime'2026-09-01T00:00:00'",
            select="ID,InvoiceDate",
        )
        assert 0 < len(recent) < len(client.simulator.world.terms.all)


async def test_modified_is_filtered_in_server_time_and_a_z_shifts() -> None:
    async with simulated() as client:
        client.simulator.bookkeeper.perform("change_email")  # at 09:00 UTC, 10:00 on the server's wall
        for literal, found in (
            ("2026-11-20T10:00:00", 1),
            ("2026-11-20T10:00:01", 0),
            ("2026-11-20T09:00:00Z", 1),
            ("2026-11-20T10:00:00Z", 0),
        ):
            rows = await client.rows("crm/Accounts", filter=f"Modified ge datetime'{literal}'", select="ID")
            assert len(rows) == found, literal


@pytest.mark.parametrize(
    "text",
    [
        "Nonsense eq 1",
        "Status eq",
        "Status eq 'C' and",
        "Status eq Type",
        "ID eq 'not-a-guid'",
        "ID eq guid'123'",
        "Name eq 12",
        "Modified ge datetime'yesterday'",
        "BankAccounts/IBAN eq 'x'",
        "Status like 'C'",
        "(Status eq 'C'",
        "Status eq 'C') or (Type eq 'A'",
    ],
)
async def test_a_filter_that_makes_no_sense_is_an_error(text: str) -> None:
    async with simulated() as client:
        answer = await client.get("crm/Accounts", filter=text, select="ID")
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]["value"]
        assert client.simulator.violations["errors_in_budget"] == 1


async def test_a_large_timestamp_needs_its_suffix() -> None:
    async with simulated() as client:
        path = "sync/CRM/Accounts"
        assert (await client.get(path, filter="Timestamp gt 1", select="ID")).status_code == 200
        assert (await client.get(path, filter="Timestamp gt 4000000000", select="ID")).status_code == 400
        assert (await client.get(path, filter="Timestamp gt 4000000000L", select="ID")).status_code == 200


async def test_an_unknown_field_fails_the_whole_call() -> None:
    async with simulated() as client:
        answer = await client.get("crm/Accounts", filter="Status eq 'C'", select="ID,Nonsense")
        assert answer.status_code == 400
        missing = await client.get("financialtransaction/TransactionLines", filter="Type eq 20", select="Timestamp")
        assert missing.status_code == 400  # only its sync twin has that field


async def test_bulk_needs_a_select() -> None:
    async with simulated() as client:
        path = "bulk/Cashflow/Receivables"
        refused = await client.get(path, filter="Status lt 50")
        assert refused.status_code == 400
        text = "Please add a $select or a $top=1 statement to the query string."
        assert refused.json()["error"]["message"]["value"] == text
        assert (await client.get(path, filter="Status lt 50", top="1")).status_code == 200
        assert (await client.get(path, filter="Status lt 50", select="*")).status_code == 200


async def test_select_star_is_refused_on_sync_contacts() -> None:
    async with simulated() as client:
        assert (await client.get("sync/CRM/Contacts", filter="Timestamp gt 1", select="*")).status_code == 400
        assert (await client.get("sync/CRM/Accounts", filter="Timestamp gt 1", select="*")).status_code == 200


async def test_the_mandatory_filter_can_be_switched() -> None:
    async with simulated() as client:
        for path in ("crm/Accounts", "financialtransaction/TransactionLines", "financial/GLAccounts"):
            refused = await client.get(path, select="ID")
            assert refused.status_code == 400
            text = refused.json()["error"]["message"]["value"]
            assert text.startswith("This endpoint has mandatory filtering applied.")
        unlisted = await client.get("crm/Accounts", filter="TradeName eq 'x'", select="ID")
        assert unlisted.status_code == 400
        client.simulator.settings.mandatory_filter = False
        assert (await client.get("crm/Accounts", select="ID")).status_code == 200


async def test_bulk_and_sync_filter_only_on_their_own_fields() -> None:
    async with simulated() as client:
        wrong = await client.get("bulk/Cashflow/Receivables", filter="Modified ge datetime'2026-01-01'", select="ID")
        assert wrong.status_code == 400
        assert (await client.get("sync/Cashflow/PaymentTerms", filter="LineType eq 20")).status_code == 400


async def test_bulk_contacts_cannot_be_filtered_on_modified_as_single_ones_can() -> None:
    async with simulated() as client:
        options = {"filter": "Modified ge datetime'2026-01-01'", "select": "ID"}
        for name in ("Contacts", "Addresses"):
            assert (await client.get(f"crm/{name}", **options)).status_code == 200
            assert (await client.get(f"bulk/CRM/{name}", **options)).status_code == 400


async def test_pages_hold_60_rows_and_next_has_the_options() -> None:
    async with simulated() as client:
        options = {"filter": "Status eq 50 or Status lt 50", "select": "ID,InvoiceNumber"}
        first = (await client.get("cashflow/Receivables", **options)).json()["d"]
        assert len(first["results"]) == 60
        url = urlsplit(first["__next"])
        query = parse_qs(url.query)
        assert url.netloc == "exact.test"
        assert query["$select"] == ["ID,InvoiceNumber"]
        assert query["$filter"] == ["Status eq 50 or Status lt 50"]
        assert query["$skiptoken"] == [f"guid'{first['results'][-1]['ID']}'"]
        rows = await client.rows("cashflow/Receivables", **options)
        ids = [row["ID"] for row in rows]
        receivable = [term for term in client.simulator.world.terms.all.values() if term.item is not None]
        assert sorted(ids) == sorted(term.id for term in receivable)


async def test_bulk_pages_hold_1000_rows() -> None:
    books = small_books(customers=30, invoices=700)
    async with simulated(books) as client:
        answer = await client.get("bulk/Financial/TransactionLines", filter="Type ge 0", select="ID")
        inner = answer.json()["d"]
        assert len(inner["results"]) == 1000
        assert "__next" in inner
        rows = await client.rows("bulk/Financial/TransactionLines", filter="Type ge 0", select="ID")
        assert {row["ID"] for row in rows} == set(books.ledger.lines)


async def test_what_is_left_of_top_travels_in_next() -> None:
    async with simulated() as client:
        options = {"filter": "Type eq 20", "select": "ID", "top": "100"}
        inner = (await client.get("financialtransaction/TransactionLines", **options)).json()["d"]
        assert len(inner["results"]) == 60
        assert parse_qs(urlsplit(inner["__next"]).query)["$top"] == ["40"]
        assert len(await client.rows("financialtransaction/TransactionLines", **options)) == 100


async def test_orderby_puts_its_value_in_the_skiptoken() -> None:
    async with simulated() as client:
        options = {"filter": "Type eq 20", "select": "ID,Modified", "orderby": "Modified asc"}
        inner = (await client.get("financialtransaction/TransactionLines", **options)).json()["d"]
        token = parse_qs(urlsplit(inner["__next"]).query)["$skiptoken"][0]
        assert token.startswith("datetime'2025-")
        assert token.endswith(f",guid'{inner['results'][-1]['ID']}'")
        rows = await client.rows("financialtransaction/TransactionLines", **options)
        stamps = [int(row["Modified"][6:-2]) for row in rows]
        assert stamps == sorted(stamps)
        assert len({row["ID"] for row in rows}) == len(rows)
        back = await client.rows("financialtransaction/TransactionLines", **{**options, "orderby": "Modified desc"})
        assert [row["ID"] for row in back] == [row["ID"] for row in reversed(rows)]


async def test_rows_that_appear_between_pages_do_not_shift_others() -> None:
    async with simulated() as client:
        options = {"filter": "Status lt 60", "select": "ID"}
        first = (await client.get("cashflow/Receivables", **options)).json()["d"]
        seen = [row["ID"] for row in first["results"]]
        client.simulator.bookkeeper.perform("invoice")
        rest = await client.rows(first["__next"])
        ids = seen + [row["ID"] for row in rest]
        assert len(ids) == len(set(ids))


async def test_skip_is_refused_where_it_is_new_or_bulk() -> None:
    async with simulated() as client:
        assert (await client.get("bulk/Cashflow/Receivables", **OPEN, skip="10")).status_code == 400
        assert (await client.get("read/financial/ReceivablesList", skip="0")).status_code == 400
        assert len(await client.rows("financial/Journals", skip="3")) == len(client.books.ledger.journals) - 3


async def test_a_small_top_answers_a_plain_array_on_the_first_page_only() -> None:
    async with simulated() as client:
        options = {"filter": "Type eq 20", "select": "ID"}
        plain = (await client.get("financialtransaction/TransactionLines", **options, top="60")).json()["d"]
        assert isinstance(plain, list)
        larger = (await client.get("financialtransaction/TransactionLines", **options, top="100")).json()["d"]
        following = (await client.get(larger["__next"])).json()["d"]
        assert "results" in following  # a page with a skiptoken is never plain, however small its $top
        client.simulator.settings.plain_envelope = False
        same = await client.get("financialtransaction/TransactionLines", **options, top="60")
        assert "results" in same.json()["d"]


async def test_a_key_lookup_answers_one_entity() -> None:
    async with simulated() as client:
        customer = next(iter(client.books.relations.customers.values()))
        answer = await client.get(f"crm/Accounts(guid'{customer.id}')")
        entity = answer.json()["d"]
        assert entity["ID"] == customer.id
        assert entity["__metadata"]["type"] == "Exact.Web.Api.Models.Account"
        uri = f"/api/v1/{client.simulator.division}/crm/Accounts(guid'{customer.id}')"
        assert urlsplit(entity["__metadata"]["uri"]).path == uri
        assert entity["BankAccounts"]["__deferred"]["uri"].endswith("/BankAccounts")
        absent = await client.get("crm/Accounts(guid'11111111-1111-4111-a111-111111111111')")
        assert absent.status_code == 404
        assert (await client.get("crm/Nonsense")).status_code == 404


async def test_count_and_inlinecount() -> None:
    async with simulated() as client:
        options = {"filter": "Type eq 20"}
        rows = await client.rows("financialtransaction/TransactionLines", **options)
        counted = await client.get("financialtransaction/TransactionLines/$count", **options)
        assert counted.text == str(len(rows))
        page = await client.get("financialtransaction/TransactionLines", **options, inlinecount="allpages")
        assert page.json()["d"]["__count"] == str(len(rows))


async def test_without_json_in_accept_it_is_atom() -> None:
    async with simulated() as client:
        for accept in ("*/*", "application/atom+xml"):
            client.http.headers["Accept"] = accept
            answer = await client.get("financial/Journals")
            assert answer.headers["content-type"].startswith("application/atom+xml")
            assert answer.text.startswith("<?xml")
        client.http.headers["Accept"] = "application/xml"
        assert (await client.get("financial/Journals")).status_code == 406


async def test_a_byte_order_mark_when_switched_on() -> None:
    async with simulated(byte_order_mark=True) as client:
        assert (await client.get("financial/Journals")).content.startswith(b"\xef\xbb\xbf{")


async def test_addresses_longer_than_6000_characters_are_refused() -> None:
    async with simulated() as client:
        ids = list(client.books.matching.items)
        short = " or ".join(f"TransactionID eq guid'{item}'" for item in ids[:40])
        rows = await client.rows("bulk/Cashflow/Receivables", filter=short, select="TransactionID")
        assert {row["TransactionID"] for row in rows} == set(ids[:40])
        long = " or ".join(f"TransactionID eq guid'{item}'" for item in ids[:110])
        answer = await client.get("bulk/Cashflow/Receivables", filter=long, select="TransactionID")
        assert answer.status_code == 400
        assert client.simulator.violations["url_too_long"] == 1


async def test_writing_is_refused() -> None:
    async with simulated() as client:
        url = f"/api/v1/{client.simulator.division}/crm/Accounts"
        assert (await client.http.post(url, json={"Name": "x"})).status_code == 405


async def test_values_are_encoded_as_recorded() -> None:
    async with simulated() as client:
        account = (await client.rows("sync/CRM/Accounts", filter="Timestamp gt 1"))[0]
        assert isinstance(account["Timestamp"], str)
        assert account["Code"] == f"{account['Code'].strip():>18}"
        assert account["Country"] == "NL "
        assert account["IsMailing"] == 0
        assert account["TradeName"] is None
        term = (await client.rows("bulk/Cashflow/Receivables", filter="TransactionType eq 20", select="*"))[0]
        item = client.books.matching.items[term["TransactionID"]]
        midnight = item.line.entry.on - item.line.entry.on.replace(1970, 1, 1)
        assert isinstance(term["Status"], int)
        days = int(term["InvoiceDate"][6:-2]) / 86_400_000
        assert days == int(days)  # exactly midnight, read as UTC
        assert midnight % timedelta(days=1) == timedelta(0)


async def test_whole_amounts_have_no_point() -> None:
    books = small_books(invoices=0)
    customer = next(iter(books.relations.customers))
    async with simulated(books) as client:
        client.simulator.bookkeeper.perform("invoice", customer=customer, amount="300")
        answer = await client.get("bulk/Cashflow/Receivables", filter="Status lt 50", select="AmountDC")
        assert b'"AmountDC":-363}' in answer.content
        client.simulator.bookkeeper.perform("edit_amount", amount="316.50")
        answer = await client.get("bulk/Cashflow/Receivables", filter="Status lt 50", select="AmountDC")
        assert b'"AmountDC":-316.5}' in answer.content


async def test_modified_is_the_servers_wall_clock_dressed_up_as_utc() -> None:
    async with simulated() as client:
        client.simulator.bookkeeper.perform("change_email")
        rows = await client.rows("sync/CRM/Accounts", filter="Timestamp gt 1", select="Modified")
        wall = int(client.clock.now().timestamp() + 3600) * 1000  # Amsterdam in November
        assert rows[-1]["Modified"] == f"/Date({wall})/"


async def test_sync_pages_come_in_order_of_change() -> None:
    async with simulated(small_books(customers=30, invoices=700)) as client:
        rows = await client.rows("sync/Financial/TransactionLines", filter="Timestamp gt 1", select="ID,Timestamp")
        stamps = [int(row["Timestamp"]) for row in rows]
        assert all(before < after for before, after in pairwise(stamps))
        assert len(rows) == len(client.books.ledger.lines)
