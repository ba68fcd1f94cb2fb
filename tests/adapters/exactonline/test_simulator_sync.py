"""Sync feeds: row versions, deletions that are forgotten, and the division that moves (sheet 4)."""

from typing import Any

from adapters.exactonline.simulator.versions import KEPT
from tests.adapters.exactonline.simulated import Client, simulated, small_books

TERMS = "sync/Cashflow/PaymentTerms"
LINES = "sync/Financial/TransactionLines"
DAY = 86_400


def newest(rows: list[dict[str, Any]]) -> int:
    return max(int(row["Timestamp"]) for row in rows)


async def since(client: Client, path: str, version: int) -> list[dict[str, Any]]:
    return await client.rows(path, filter=f"Timestamp gt {version}L")


async def test_a_change_comes_back_after_the_cursor_and_nothing_else() -> None:
    async with simulated() as client:
        cursor = newest(await since(client, TERMS, 1))
        assert await since(client, TERMS, cursor) == []
        done = client.simulator.bookkeeper.perform("pay")
        changed = await since(client, TERMS, cursor)
        assert {row["TransactionID"] for row in changed} == set(done.ids)
        assert {row["Status"] for row in changed} == {50}


async def test_two_edits_between_polls_collapse_into_one_row() -> None:
    async with simulated() as client:
        cursor = newest(await since(client, "sync/CRM/Accounts", 1))
        customer = next(iter(client.books.relations.customers))
        client.simulator.bookkeeper.perform("change_email", customer=customer, email="a@klant.example")
        client.simulator.bookkeeper.perform("change_email", customer=customer, email="b@klant.example")
        assert [row["Email"] for row in await since(client, "sync/CRM/Accounts", cursor)] == ["b@klant.example"]


async def test_a_row_that_changes_while_paging_comes_on_a_later_page() -> None:
    async with simulated(small_books(customers=30, invoices=700)) as client:
        first = (await client.get(TERMS, filter="Timestamp gt 1", select="ID,TransactionID,Status")).json()["d"]
        open_rows = [row for row in first["results"] if row["Status"] == 20]
        item = next(
            row["TransactionID"]
            for row in open_rows
            if (found := client.books.matching.items.get(row["TransactionID"])) and found.open > 0
        )
        client.simulator.bookkeeper.perform("pay", item=item)
        rest = await client.rows(first["__next"])
        again = [row for row in rest if row["TransactionID"] == item]
        assert [row["Status"] for row in again] == [50]


async def test_duplicates_have_the_newest_state_last_when_switched_on() -> None:
    async with simulated(duplicate_ids=True) as client:
        rows = await since(client, LINES, 1)
        twice = [row for row in rows if row["ID"] == rows[0]["ID"]]
        assert len(twice) == 2
        best = max(twice, key=lambda row: int(row["Timestamp"]))
        assert float(client.books.ledger.lines[best["ID"]].base) == best["AmountDC"]
        assert twice[0]["AmountDC"] != best["AmountDC"]


async def test_order_within_a_page_is_no_promise_when_switched_on() -> None:
    async with simulated(shuffle_sync=True) as client:
        stamps = [int(row["Timestamp"]) for row in await since(client, LINES, 1)]
        assert stamps != sorted(stamps)


async def test_an_edit_replaces_the_term_and_reports_the_old_id() -> None:
    async with simulated() as client:
        before = {row["ID"]: row for row in await since(client, TERMS, 1)}
        cursor = max(int(row["Timestamp"]) for row in before.values())
        item = client.simulator.bookkeeper.perform("edit_due_date").ids[0]
        changed = await since(client, TERMS, cursor)
        deleted = await client.rows("sync/Deleted", filter=f"Timestamp gt {cursor}L and EntityType eq 10")
        assert {row["TransactionID"] for row in changed} == {item}
        assert all(row["ID"] not in before for row in changed)
        gone = {row["EntityKey"] for row in deleted}
        assert gone == {key for key, row in before.items() if row["TransactionID"] == item}
        assert all(int(row["Timestamp"]) > cursor for row in deleted)


async def test_an_edit_keeps_the_id_when_switched_off() -> None:
    async with simulated(replace_terms_on_edit=False) as client:
        cursor = newest(await since(client, TERMS, 1))
        before = set(client.simulator.world.terms.all)
        client.simulator.bookkeeper.perform("edit_amount")
        changed = await since(client, TERMS, cursor)
        assert {row["ID"] for row in changed} <= before
        assert await client.rows("sync/Deleted", filter="Timestamp gt 1") == []


async def test_a_deleted_entry_is_reported_line_by_line_and_its_invoice_opens() -> None:
    async with simulated() as client:
        paid = client.simulator.bookkeeper.perform("pay").ids
        cursor = newest(await since(client, TERMS, 1))
        invoice, receipt = paid
        lines = {line.id for line in client.books.matching.items[receipt].line.entry.lines}
        client.simulator.bookkeeper.perform("delete_entry", item=receipt)
        deleted = await since(client, "sync/Deleted", cursor)
        assert {row["EntityKey"] for row in deleted if row["EntityType"] == 1} == lines
        assert len([row for row in deleted if row["EntityType"] == 10]) == 1
        assert [row["Status"] for row in await since(client, TERMS, cursor)] == [20]
        assert client.books.matching.items[invoice].open > 0
        left = await since(client, LINES, 1)
        assert not lines & {row["ID"] for row in left}


async def test_a_merged_customer_is_deleted_with_all_that_hung_on_it() -> None:
    async with simulated() as client:
        cursor = newest(await since(client, TERMS, 1))
        gone, kept = list(client.books.relations.customers)[:2]
        addresses = {address.id for address in client.books.relations.customers[gone].addresses}
        client.simulator.bookkeeper.perform("merge_customers", gone=gone, kept=kept)
        deleted = await since(client, "sync/Deleted", cursor)
        assert [row["EntityKey"] for row in deleted if row["EntityType"] == 2] == [gone]
        assert {row["EntityKey"] for row in deleted if row["EntityType"] == 3} == addresses
        assert gone not in {row["Account"] for row in await since(client, TERMS, 1)}


async def test_deletions_are_forgotten_after_two_months() -> None:
    async with simulated() as client:
        client.simulator.bookkeeper.perform("delete_entry")
        assert await since(client, "sync/Deleted", 1)
        client.clock.advance(KEPT.total_seconds() + 1)
        await client.connect()
        assert await since(client, "sync/Deleted", 1) == []


async def test_a_division_move_lowers_every_version() -> None:
    async with simulated() as client:
        before = await since(client, TERMS, 1)
        cursor = newest(before)
        assert (await client.rows("system/Divisions"))[0]["DivisionMoveDate"] is None
        await client.http.post("/_sim/division-move")
        client.simulator.bookkeeper.perform("pay")
        assert await since(client, TERMS, cursor) == []  # a reader that does not look would miss it for ever
        after = await since(client, TERMS, 1)
        assert newest(after) < cursor
        assert len(after) == len(before) + 1
        assert (await client.rows("system/Divisions"))[0]["DivisionMoveDate"].startswith("/Date(")


async def test_sync_timestamp_finds_the_version_of_a_date() -> None:
    async with simulated() as client:
        cursor = newest(await since(client, TERMS, 1))
        client.clock.advance(2 * DAY)
        await client.connect()
        done = client.simulator.bookkeeper.perform("pay")
        path = f"/api/v1/{client.simulator.division}/read/sync/Sync/SyncTimestamp"
        query = {"modified": "datetime'2026-11-22'", "endPoint": "'PaymentTerms'"}
        row = (await client.http.get(path, params=query)).json()["d"]["results"][0]
        assert int(row["TimeStampAsBigInt"]) <= cursor
        rows = await since(client, TERMS, int(row["TimeStampAsBigInt"]))
        assert {row["TransactionID"] for row in rows} == set(done.ids)
        assert (await client.http.get(path, params={"modified": "datetime'2026-11-22'"})).status_code == 400


async def test_suppliers_terms_are_mixed_in() -> None:
    async with simulated() as client:
        rows = await since(client, TERMS, 1)
        assert {row["LineType"] for row in rows} == {20, 22}
        bulk = await client.rows("bulk/Cashflow/Receivables", filter="Status ge 0", select="ID")
        assert {row["ID"] for row in bulk} == {row["ID"] for row in rows if row["LineType"] == 20}


async def test_accounts_hold_more_than_customers() -> None:
    async with simulated() as client:
        rows = await since(client, "sync/CRM/Accounts", 1)
        assert {row["Status"] for row in rows} == {"A", "C"}
