"""The comparison of a mirror with the books: equal is silent, and each kind of difference is told."""

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from connector.mirror import Figures, differences, figures

TRUTH: dict[str, Any] = {
    "customers": {
        "c": {"number": "10", "name": "Jansen", "email": "j@example.org", "city": "Utrecht"},
        "d": {"number": "11", "name": "Smith", "email": None, "city": "Leeds"},
        "e": {"number": "12", "name": "Quiet", "email": None, "city": "Delft"},
    },
    "items": {
        "i": {"customer": "c", "number": "1", "kind": "invoice", "currency": "EUR", "total": "121.00", "open": "21.00",
              "base_total": "121.00", "base_open": "21.00", "due_date": "2026-11-01"},
        "n": {"customer": "c", "number": "2", "kind": "credit_note", "currency": "EUR", "total": "-10.00",
              "open": "-10.00", "base_total": "-10.00", "base_open": "-10.00", "due_date": "2026-11-02"},
        "u": {"customer": "d", "number": "3", "kind": "invoice", "currency": "USD", "total": "50.00", "open": "50.00",
              "base_total": "46.20", "base_open": "46.20", "due_date": "2026-11-03"},
        "p": {"customer": "c", "number": "4", "kind": "receipt", "currency": "EUR", "total": "-105.00", "open": "-5.00",
              "base_total": "-105.00", "base_open": "-5.00", "due_date": "2026-11-04"},
        "w": {"customer": "c", "number": "5", "kind": "write_off", "currency": "EUR", "total": "-1.00", "open": "0.00",
              "base_total": "-1.00", "base_open": "0.00", "due_date": "2026-11-05"},
    },
    "receivable_balance": "52.20",
}  # fmt: skip

MIRROR: dict[str, Any] = {
    "customers": {
        "c": {"external_id": "c", "number": "10", "name": "Jansen", "email": "j@example.org"},
        "d": {"external_id": "d", "number": "11", "name": "Smith"},
    },
    "invoices": {
        "i": {"customer": "c", "currency": "EUR", "total": "121", "open": "21.0", "base_total": "121",
              "base_open": "21", "due_date": "2026-11-01"},
        "n": {"customer": "c", "currency": "EUR", "total": "-10.00", "open": "-10.00", "base_total": "-10.00",
              "base_open": "-10.00"},
        "u": {"customer": "d", "currency": "USD", "total": "50.00", "open": "50.00", "base_total": "46.20",
              "base_open": "46.20", "due_date": "2026-11-03"},
    },
    "payments": {
        "p": {"customer": "c", "currency": "EUR", "amount": "105.00", "unallocated": "5.00", "base_amount": "105.00",
              "base_unallocated": "5.00"},
    },
}  # fmt: skip


def test_equal_books_have_no_differences_and_equal_figures() -> None:
    assert differences(MIRROR, TRUTH) == []
    expected = Figures(customers=2, items=4, open={"EUR": Decimal(6), "USD": Decimal(50)})
    assert figures(MIRROR) == expected
    assert figures(TRUTH) == expected


def _without(entity: str, key: str) -> Callable[[Any], Any]:
    return lambda mirror: mirror[entity].pop(key)


def _with(entity: str, key: str, **changed: str) -> Callable[[Any], Any]:
    return lambda mirror: mirror[entity][key].update(changed)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without("invoices", "i"), "invoice i: missing, 21.00 EUR of 121.00 open in the books"),
        (_without("payments", "p"), "payment p: missing, -5.00 EUR of -105.00 open in the books"),
        (_without("customers", "d"), "customer d: missing"),
        (_with("invoices", "i", open="20.99"), "invoice i: open is 20.99 here, 21.00 in the books"),
        (_with("invoices", "i", total="120"), "invoice i: total is 120 here, 121.00 in the books"),
        (_with("invoices", "u", base_open="46.21"), "invoice u: base_open is 46.21 here, 46.20 in the books"),
        (_with("invoices", "u", currency="EUR"), "invoice u: currency is EUR here, USD in the books"),
        (_with("invoices", "u", customer="c"), "invoice u: customer is c here, d in the books"),
        (
            _with("invoices", "u", due_date="2026-10-03"),
            "invoice u: due on 2026-10-03 here, on 2026-11-03 in the books",
        ),
        (_with("payments", "p", unallocated="0"), "payment p: open is 0 here, -5.00 in the books"),
        (_with("payments", "p", amount="-105.00"), "payment p: total is 105.00 here, -105.00 in the books"),
        (_with("customers", "c", name="Janssen"), "customer c: name is 'Janssen' here, 'Jansen' in the books"),
        (_with("customers", "c", email=""), "customer c: email is '' here, 'j@example.org' in the books"),
        (_with("customers", "d", number="1"), "customer d: number is '1' here, '11' in the books"),
    ],
)
def test_each_difference_is_told(change: Callable[[Any], Any], told: str) -> None:
    mirror = copy.deepcopy(MIRROR)
    change(mirror)
    assert told in differences(mirror, TRUTH)


def test_what_is_not_in_the_books_is_told_unless_it_is_nothing() -> None:
    mirror = copy.deepcopy(MIRROR)
    mirror["invoices"]["x"] = mirror["invoices"]["i"] | {"open": "0", "base_open": "0"}
    assert differences(mirror, TRUTH) == ["invoice x: not in the books, 0 EUR of 121 open here"]
    mirror["invoices"]["x"] |= {"total": "0", "base_total": "0"}
    assert differences(mirror, TRUTH) == []


def test_a_payment_that_was_taken_for_an_invoice_is_told_twice() -> None:
    mirror = copy.deepcopy(MIRROR)
    mirror["payments"].pop("p")
    mirror["invoices"]["p"] = mirror["invoices"]["i"] | {
        "total": "-105.00", "open": "-5.00", "base_total": "-105.00", "base_open": "-5.00"
    }  # fmt: skip
    assert [text.split(",")[0] for text in differences(mirror, TRUTH)] == [
        "payment p: missing",
        "invoice p: not in the books",
    ]


def test_a_write_off_with_something_open_must_be_there() -> None:
    truth = copy.deepcopy(TRUTH)
    truth["items"]["w"] |= {"open": "-1.00", "base_open": "-1.00"}
    assert "invoice w: missing, -1.00 EUR of -1.00 open in the books" in differences(MIRROR, truth)


def test_the_balance_of_the_ledger_is_checked_by_itself() -> None:
    assert differences(MIRROR, TRUTH | {"receivable_balance": "52.21"}) == [
        "receivable balance: 52.20 here, 52.21 in the books"
    ]
