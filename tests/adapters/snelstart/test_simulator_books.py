"""That the wire and the truth agree, whatever is booked: open amounts, lines that explain them, and the ledger."""

import contextlib
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulation import BookkeepingError
from tests.adapters.snelstart.simulated import Client, named, simulated, small_books

ZERO = Decimal(0)
MONEY = ("bankboekingen", "kasboekingen")


def by_invoice(lines: list[dict[str, Any]]) -> dict[str, Decimal]:
    """What lines do to what is open, per booking they point at."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        found[line["boekingId"]["id"]] += line["debet"] - line["credit"]
    return found


async def receivable_lines(client: Client) -> list[dict[str, Any]]:
    accounts = await client.rows("grootboeken", filter="Grootboekfunctie eq 'DagboekVerkoop'")
    assert len(accounts) == 2
    lines = [await client.rows("grootboekmutaties", filter=f"Grootboek/Id eq guid'{one['id']}'") for one in accounts]
    return [line for some in lines for line in some]


async def check(client: Client) -> None:
    """Read everything that can be listed, and compare it with the truth."""
    truth = client.simulator.truth()
    invoices = {row["id"]: row for row in await client.rows("verkoopfacturen")}
    bookings = [row for path in MONEY for row in await client.rows(path)]
    told = {key: item for key, item in truth["items"].items() if item["kind"] not in {"receipt", "refund"}}
    assert {key: row["openstaandSaldo"] for key, row in invoices.items()} == {
        key: Decimal(item["open"]) for key, item in told.items()
    }
    assert {key: named(row["relatie"]) for key, row in invoices.items()} == {
        key: item["customer"] for key, item in told.items()
    }
    numbers = [row["factuurnummer"] for row in invoices.values()]
    assert len(set(numbers)) == len(numbers)
    money: dict[str, Decimal] = {}
    explained: defaultdict[str, Decimal] = defaultdict(Decimal)
    for booking in bookings:
        lines = booking["verkoopboekingBoekingsRegels"]
        balance = booking["bedragOntvangen"] - booking["bedragUitgegeven"]
        for line in lines + booking["grootboekBoekingsRegels"]:
            balance += line["debet"] - line["credit"]
            assert line["debet"] * line["credit"] == 0 < line["debet"] + line["credit"]
        assert balance == 0
        if lines:
            money[booking["id"]] = sum(by_invoice(lines).values(), ZERO)
        for key, amount in by_invoice(lines).items():
            explained[key] += amount
    assert money == {key: Decimal(item["total"]) for key, item in truth["items"].items() if key not in told}
    await check_remainder(client, invoices, explained)
    ledger = sum((line["saldo"] for line in await receivable_lines(client)), ZERO)
    assert ledger == Decimal(truth["receivable_balance"]) + Decimal(truth["unassigned_balance"])
    assert truth["unassigned_balance"] == "0.00"


async def check_remainder(
    client: Client, invoices: dict[str, dict[str, Any]], explained: defaultdict[str, Decimal]
) -> None:
    """What no bank or cash line explains stands on memorial bookings, which only their ids find (sheet 13.1)."""
    postings = client.simulator.world.postings
    for booking in postings.all():
        if booking.kind.value == "memoriaalboekingen":
            shown = await client.one(f"memoriaalboekingen/{booking.id}")
            balance = sum((line["debet"] - line["credit"] for line in shown["memoriaalBoekingsRegels"]), ZERO)
            for line in shown["verkoopboekingBoekingsRegels"]:
                explained[line["boekingId"]["id"]] -= line["bedrag"]
                balance -= line["bedrag"]
            assert balance == 0
    for row in invoices.values():
        booked = named(row.get("verkoopBoeking"))
        if booked is not None:
            assert row["factuurBedrag"] + explained.pop(booked, ZERO) == row["openstaandSaldo"]
    assert not explained


@pytest.mark.parametrize("seed", range(5))
async def test_the_wire_says_what_the_truth_says(seed: int) -> None:
    async with simulated(small_books(seed=seed)) as client:
        client.simulator.bookkeeper._rng.seed(seed)
        await check(client)
        for _ in range(8):
            for _ in range(12):
                client.clock.advance(3)
                with contextlib.suppress(BookkeepingError):
                    client.simulator.bookkeeper.random_action()
            await check(client)
