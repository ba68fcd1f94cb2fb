"""What a mirror of an administration in SnelStart has to equal: the books, as far as SnelStart can tell them.

An item is a verkoopfactuur; money is what a bank or cash booking put on invoices, under the booking's id. Money
that no invoice has taken is nobody's in SnelStart: it lies on unknown payments, and the truth does not count it.
"""

from decimal import Decimal
from typing import Any

from adapters.simulation.ledger import AccountKind, cents
from adapters.simulation.matching import Item, ItemKind
from adapters.snelstart.simulator.postings import SHOWN, Postings, number_of
from adapters.snelstart.simulator.world import World


def truth(world: World) -> dict[str, Any]:
    """In the shape of `Books.truth`; `settled_by` names bookings instead of items."""
    world.catch_up()
    books, postings = world.books, world.postings
    told = books.truth()
    items: dict[str, Any] = {}
    settled: dict[str, list[dict[str, Any]]] = {}
    for item in books.matching.items.values():
        if item.kind in SHOWN:
            items[item.id] = _amounts(told["items"][item.id], item.total, postings.open(item))
            items[item.id]["number"] = number_of(item)
            settled[item.id] = items[item.id]["settled_by"] = []
    for item in books.matching.items.values():
        if item.kind in {ItemKind.RECEIPT, ItemKind.REFUND}:
            _add_money(item, told["items"][item.id], postings, items, settled)
    balance = sum((Decimal(item["base_open"]) for item in items.values()), Decimal("0.00"))
    return {
        **told,
        "items": items,
        "receivable_balance": str(balance),
        "unassigned_balance": str(cents(_ledger_balance(world) - balance)),
    }


def _add_money(
    item: Item,
    told: dict[str, Any],
    postings: Postings,
    items: dict[str, Any],
    settled: dict[str, list[dict[str, Any]]],
) -> None:
    entry = item.line.entry
    links = postings.links(entry)
    for invoice, amount in links:
        line = {"item": entry.id, "kind": item.kind.value, "amount": str(cents(amount))}
        settled[invoice.id].append(line)
    linked = sum((amount for _, amount in links), Decimal(0))
    if links:
        items[entry.id] = {**_amounts(told, linked, Decimal(0)), "settled_by": []}


def _amounts(told: dict[str, Any], total: Decimal, still: Decimal) -> dict[str, Any]:
    whole, rest = str(cents(total)), str(cents(still))
    return {**told, "total": whole, "open": rest, "base_total": whole, "base_open": rest}


def _ledger_balance(world: World) -> Decimal:
    """What the receivables accounts say in SnelStart."""
    return sum(
        (
            posting.amount
            for booking in world.postings.all()
            for posting in world.postings.postings(booking)
            if posting.account.kind is AccountKind.RECEIVABLE
        ),
        Decimal(0),
    )
