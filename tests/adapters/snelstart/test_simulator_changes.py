"""What moves `modifiedOn`, what does not, and what leaves no trace (sheet 7, 13)."""

import contextlib
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulation import BookkeepingError
from adapters.simulation.relations import Role
from tests.adapters.snelstart.simulated import Client, named, simulated, small_books

LISTED = ("relaties", "verkoopfacturen", "bankboekingen", "kasboekingen", "grootboekmutaties")


async def snapshot(client: Client) -> dict[str, dict[str, Any]]:
    rows = {row["id"]: row for path in LISTED for row in await client.rows(path)}
    ids = [entry.id for entry in client.books.ledger.entries.values() if entry.journal.code in {"70", "71"}]
    return rows | {key: await client.one(f"verkoopboekingen/{key}") for key in ids}


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_changes_moves_its_stamp(seed: int) -> None:
    """With the one doubtful case switched to reliable: then a delta misses nothing but what was deleted."""
    async with simulated(small_books(customers=5, invoices=20, seed=seed), payment_moves_modified="always") as client:
        client.simulator.bookkeeper._rng.seed(seed)
        before = await snapshot(client)
        for _ in range(30):
            client.clock.advance(31)
            with contextlib.suppress(BookkeepingError):
                sentence = client.simulator.bookkeeper.random_action().sentence
            after = await snapshot(client)
            for key, row in after.items():
                old = before.get(key, row)
                assert row == old or row["modifiedOn"] > old["modifiedOn"], (sentence, old, row)
            before = after


@pytest.mark.parametrize(("knob", "moved"), [("never", {False}), ("always", {True}), ("random", {True, False})])
async def test_payment_moves_the_invoice_as_the_knob_says(knob: str, moved: set[bool]) -> None:
    async with simulated(small_books(invoices=120), payment_moves_modified=knob, fraction_digits=7) as client:
        before = {row["id"]: row["modifiedOn"] for row in await client.rows("verkoopfacturen")}
        paid = [client.act("pay_partly")[0] for _ in range(8)]
        after = {row["id"]: row["modifiedOn"] for row in await client.rows("verkoopfacturen")}
        assert {after[key] > before[key] for key in paid} == moved


async def test_an_edit_moves_invoice_and_booking() -> None:
    async with simulated(payment_moves_modified="never") as client:
        (key,) = client.act("edit_due_date")
        client.simulator.bookkeeper.perform("edit_due_date", item=key, days=30)
        row = await client.one(f"verkoopfacturen/{key}")
        sale = await client.one(f"verkoopboekingen/{row['verkoopBoeking']['id']}")
        moment = client.clock.now().replace(tzinfo=None).isoformat()[:10]
        assert row["modifiedOn"][:10] == sale["modifiedOn"][:10] == moment
        item = client.books.matching.items[key]
        assert row["vervalDatum"][:10] == item.due_date.isoformat()
        assert sale["betalingstermijn"] == (item.due_date - item.line.entry.on).days
        assert "vervalDatum" not in sale


async def test_what_is_deleted_is_gone_without_a_trace() -> None:
    async with simulated() as client:
        invoice, receipt = client.act("pay")
        booking = client.books.matching.items[receipt].line.entry.id
        assert (await client.get(f"bankboekingen/{booking}")).status_code == 200
        client.act("delete_entry", item=receipt)
        gone = await client.get(f"bankboekingen/{booking}")
        assert (gone.status_code, gone.content) == (404, b"")
        assert booking not in {row["id"] for row in await client.rows("bankboekingen")}
        row = await client.one(f"verkoopfacturen/{invoice}")
        assert row["openstaandSaldo"] > 0
        sale = named(row["verkoopBoeking"])
        client.act("delete_entry", item=invoice)
        for path in (f"verkoopfacturen/{invoice}", f"verkoopboekingen/{sale}"):
            assert (await client.get(path)).status_code == 404


async def test_unmatching_moves_the_line_to_unknown_payments() -> None:
    async with simulated() as client:
        invoice, receipt = client.act("pay")
        booking = client.books.matching.items[receipt].line.entry.id
        before = await client.one(f"bankboekingen/{booking}")
        client.act("unmatch", item=receipt)
        after = await client.one(f"bankboekingen/{booking}")
        assert (len(before["verkoopboekingBoekingsRegels"]), after["verkoopboekingBoekingsRegels"]) == (1, [])
        assert after["bedragOntvangen"] == before["bedragOntvangen"]
        (line,) = after["grootboekBoekingsRegels"]
        account = await client.one(f"grootboeken/{line['grootboek']['id']}")
        assert account["grootboekfunctie"] == "OnbekendeBetalingen"
        row = await client.one(f"verkoopfacturen/{invoice}")
        assert row["openstaandSaldo"] == Decimal(client.simulator.truth()["items"][invoice]["open"]) > 0
        assert booking not in client.simulator.truth()["items"]


async def test_cents_too_much_leave_an_invoice_below_zero() -> None:
    async with simulated() as client:
        invoice, receipt = client.act("pay_too_much", amount="0.03")
        row = await client.one(f"verkoopfacturen/{invoice}")
        assert row["openstaandSaldo"] == Decimal("-0.03")
        assert row["factuurBedrag"] > 0
        booking = client.books.matching.items[receipt].line.entry.id
        lines = (await client.one(f"bankboekingen/{booking}"))["verkoopboekingBoekingsRegels"]
        assert {line["boekingId"]["id"] for line in lines} == {row["verkoopBoeking"]["id"]}
        client.act("unmatch", item=invoice)
        assert (await client.one(f"verkoopfacturen/{invoice}"))["openstaandSaldo"] > 0


async def test_cash_is_booked_apart() -> None:
    async with simulated() as client:
        assert await client.rows("kasboekingen") == []
        invoice, _ = client.act("pay_in_cash")
        (booking,) = await client.rows("kasboekingen")
        (line,) = booking["verkoopboekingBoekingsRegels"]
        row = await client.one(f"verkoopfacturen/{invoice}")
        assert (line["boekingId"]["id"], row["openstaandSaldo"]) == (row["verkoopBoeking"]["id"], 0)


async def test_a_charge_back_raises_the_same_invoice_again() -> None:
    async with simulated() as client:
        (invoice,) = client.act("invoice")
        client.act("pay", item=invoice)
        _, receipt, refund = client.act("charge_back", item=invoice)
        row = await client.one(f"verkoopfacturen/{invoice}")
        assert row["openstaandSaldo"] == row["factuurBedrag"]
        lines = []
        for item in (receipt, refund):
            booking = await client.one(f"bankboekingen/{client.books.matching.items[item].line.entry.id}")
            lines += booking["verkoopboekingBoekingsRegels"]
        assert {line["boekingId"]["id"] for line in lines} == {row["verkoopBoeking"]["id"]}
        assert [line["debet"] > 0 for line in lines] == [False, True]


async def test_a_credit_note_is_a_negative_invoice_set_off_by_a_booking_nobody_can_list() -> None:
    async with simulated() as client:
        bookings = {row["id"] for row in await client.rows("bankboekingen")}
        invoice, credit = client.act("credit_note")
        shown = await client.one(f"verkoopfacturen/{credit}")
        assert shown["factuurBedrag"] < 0
        assert shown["factuurnummer"] != (await client.one(f"verkoopfacturen/{invoice}"))["factuurnummer"]
        assert {row["id"] for row in await client.rows("bankboekingen")} == bookings
        assert (await client.get("memoriaalboekingen")).status_code == 405
        assert (await client.get("verkoopboekingen")).status_code == 405
        offset = next(
            one for one in client.simulator.world.postings.offsets.values()
            if {part.item.id for part in one.match.parts} == {invoice, credit}
        )  # fmt: skip
        memorial = await client.one(f"memoriaalboekingen/{offset.id}")
        assert sum(line["bedrag"] for line in memorial["verkoopboekingBoekingsRegels"]) == 0
        assert len(memorial["verkoopboekingBoekingsRegels"]) == 2
        client.act("unmatch", item=credit)
        assert (await client.get(f"memoriaalboekingen/{offset.id}")).status_code == 404


async def test_bookings_move_with_the_invoice_they_are_about() -> None:
    async with simulated(fraction_digits=7) as client:
        (invoice,) = client.act("invoice")
        client.act("pay", item=invoice)
        _, receipt, refund = client.act("charge_back", item=invoice)
        _, credit = client.act("credit_note")
        customer = client.books.matching.items[credit].customer
        client.simulator.world.catch_up()
        offset = next(
            key
            for key, one in client.simulator.world.postings.offsets.items()
            if credit in {part.item.id for part in one.match.parts}
        )
        bookings = [client.books.matching.items[item].line.entry.id for item in (receipt, refund)]
        paths = [f"bankboekingen/{key}" for key in bookings] + [f"memoriaalboekingen/{offset}"]
        before = [await client.one(path) for path in paths]
        client.act("delete_entry", item=invoice)
        debtors = [one for one in client.books.relations.customers.values() if one.role is Role.CUSTOMER]
        other = next(one.id for one in debtors if one is not customer)
        client.act("merge_customers", gone=customer.id, kept=other)
        after = [await client.one(path) for path in paths]
        assert [new["modifiedOn"] > old["modifiedOn"] for new, old in zip(after, before, strict=True)] == [True] * 3
        assert [len(row["verkoopboekingBoekingsRegels"]) for row in before] == [1, 1, 2]
        assert [len(row["verkoopboekingBoekingsRegels"]) for row in after] == [0, 0, 2]


async def test_a_write_off_is_only_seen_in_the_open_amount() -> None:
    async with simulated() as client:
        invoice, given_up = client.act("write_off_by_journal")
        assert (await client.one(f"verkoopfacturen/{invoice}"))["openstaandSaldo"] == 0
        entry = client.books.matching.items[given_up].line.entry.id
        memorial = await client.one(f"memoriaalboekingen/{entry}")
        (line,) = memorial["verkoopboekingBoekingsRegels"]
        assert line["bedrag"] > 0
        client.settings.memorial_sign = -1
        memorial = await client.one(f"memoriaalboekingen/{entry}")
        assert memorial["verkoopboekingBoekingsRegels"][0]["bedrag"] == -line["bedrag"]


async def test_an_opening_balance_has_no_booking_to_point_at() -> None:
    async with simulated(nothing="null") as client:
        (key,) = client.act("opening_balance")
        assert (await client.one(f"verkoopfacturen/{key}"))["verkoopBoeking"] is None
        _, receipt = client.act("pay", item=key)
        booking = client.books.matching.items[receipt].line.entry.id
        row = await client.one(f"bankboekingen/{booking}")
        assert row["verkoopboekingBoekingsRegels"] == []
        assert (await client.one(f"verkoopfacturen/{key}"))["openstaandSaldo"] == 0
        assert booking not in client.simulator.truth()["items"]


async def test_a_number_may_come_back_under_another_id() -> None:
    async with simulated() as client:
        (first,) = client.act("invoice", amount="10")
        number = (await client.one(f"verkoopfacturen/{first}"))["factuurnummer"]
        (second,) = client.act("reissue_invoice")
        assert (await client.get(f"verkoopfacturen/{first}")).status_code == 404
        assert (await client.one(f"verkoopfacturen/{second}"))["factuurnummer"] == number


async def test_money_straight_on_the_receivables_account_is_a_difference_with_a_name() -> None:
    async with simulated(unlinked_on_receivables=True) as client:
        client.act("pay_on_account", amount="250")
        truth = client.simulator.truth()
        assert Decimal(truth["unassigned_balance"]) <= -250
        before = truth["unassigned_balance"]
        client.settings.unlinked_on_receivables = False
        assert client.simulator.truth()["unassigned_balance"] == "0.00" != before
