"""Generated books: repeatable, believable, and quick."""

import time
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest

from adapters.simulation import generate
from adapters.simulation.identities import iban, invent, vat_number
from adapters.simulation.matching import ItemKind
from adapters.simulation.relations import Role

TODAY = date(2026, 11, 20)


def iban_is_valid(text: str) -> bool:
    turned = text[4:] + text[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def test_the_same_seed_gives_the_same_books() -> None:
    first, second = (generate(seed=5, customers=20, invoices=200, today=TODAY) for _ in range(2))
    assert first.truth() == second.truth()
    assert list(first.ledger.lines) == list(second.ledger.lines)
    assert first.truth() != generate(seed=6, customers=20, invoices=200, today=TODAY).truth()


def test_as_many_as_asked_for() -> None:
    books = generate(seed=1, customers=30, invoices=400, today=TODAY)
    customers = [one for one in books.relations.customers.values() if one.role is Role.CUSTOMER]
    invoices = [item for item in books.matching.items.values() if item.kind is ItemKind.INVOICE]
    assert (len(customers), len(invoices)) == (30, 400)
    assert generate(seed=1, customers=0, invoices=10, today=TODAY).matching.items == {}
    assert generate(seed=1, customers=3, invoices=0, today=TODAY).matching.items == {}


def test_the_history_is_believable() -> None:
    books = generate(seed=2, customers=300, invoices=3_000, today=TODAY)
    items = list(books.matching.items.values())
    invoices = [item for item in items if item.kind is ItemKind.INVOICE]
    share = sum(1 for item in invoices if item.open) / len(invoices)
    assert 0.03 < share < 0.25
    dates = [item.line.entry.on for item in items]
    assert min(dates) >= TODAY - timedelta(days=540)
    assert max(dates) <= TODAY
    assert TODAY - max(dates) < timedelta(days=7)
    kinds = {item.kind for item in items}
    assert kinds >= {
        ItemKind.INVOICE,
        ItemKind.RECEIPT,
        ItemKind.CREDIT_NOTE,
        ItemKind.WRITE_OFF,
        ItemKind.EXCHANGE_DIFFERENCE,
    }
    assert any(0 < item.open < item.total for item in invoices)
    assert any(len(match.parts) > 2 for item in items for match in item.matches)
    assert any(item.kind is ItemKind.RECEIPT and item.open for item in items)
    assert any(item.collection for item in invoices)
    late = [item for item in invoices if item.open and item.due_date < TODAY]
    assert 0 < len(late) < len(invoices) / 5
    assert books.truth()["unassigned_balance"] == "0.00"
    assert books.today == TODAY


@pytest.mark.parametrize("seed", range(20))
def test_numbers_pass_their_checks(seed: int) -> None:
    rng = Random(seed)
    who = invent(rng, seed)
    assert iban_is_valid(who.iban)
    assert len(who.iban) == 18
    number = vat_number(rng)
    digits = [int(sign) for sign in number[2:11]]
    weighted = sum(weight * digit for weight, digit in zip(range(9, 1, -1), digits, strict=False))
    assert (weighted - digits[8]) % 11 == 0
    assert number.endswith("B01")
    assert who.coc_number is not None
    assert len(who.coc_number) == 8
    assert who.email.endswith(".example")
    person = invent(rng, seed, consumer=True)
    assert (person.coc_number, person.vat_number) == (None, None)


def test_a_known_iban() -> None:
    assert iban("NL", "ABNA0417164300") == "NL91ABNA0417164300"
    assert iban_is_valid("NL91INGB0417164300") is iban("NL", "INGB0417164300").startswith("NL91")


def test_ten_thousand_invoices_take_seconds() -> None:
    began = time.process_time()
    books = generate(seed=1, customers=2_000, invoices=10_000, today=TODAY)
    assert time.process_time() - began < 10
    assert sum(item.base_open for item in books.matching.items.values()) == books.receivable_balance
    assert books.receivable_balance > Decimal(0)


def test_books_in_one_currency_have_customers_abroad_all_the_same() -> None:
    books = generate(seed=2, customers=200, invoices=800, today=TODAY, foreign_currency=False)
    assert {entry.currency for entry in books.ledger.entries.values()} == {"EUR"}
    assert any(customer.receivable.code == "1310" for customer in books.relations.customers.values())
