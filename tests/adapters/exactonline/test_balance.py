"""Balances and signs (sheet 8.3, 8.4, 16.4, 16.5)."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.exactonline.balance import control_balance, sign_of, vote
from connector.errors import NotReconciled


def balances(*rows: tuple[int, int, int, str]) -> list[dict[str, Any]]:
    return [
        {"ReportingYear": year, "ReportingPeriod": period, "Type": type_, "Amount": Decimal(amount)}
        for year, period, type_, amount in rows
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (balances(), 0),
        (balances((2025, 3, 20, "100"), (2026, 1, 40, "-30")), 70),
        (balances((2025, 3, 20, "100"), (2026, 0, 10, "100"), (2026, 1, 40, "-30")), 70),
        (balances((2025, 3, 20, "100"), (2026, 1, 10, "100"), (2026, 1, 40, "-30")), 70),
        (balances((2025, 0, 10, "500"), (2025, 3, 20, "100"), (2026, 0, 10, "600")), 600),
        (balances((2025, 3, 20, "100"), (2026, 4, 10, "40")), 140),
        (balances((2025, 3, 20, "100"), (2026, 0, 10, "100"), (2026, 4, 10, "40")), 140),
        (balances((2025, 3, 20, "100"), (2025, 4, 40, "-100"), (2026, 1, 20, "5")), 5),
    ],
)
def test_carried_forward_balances_are_not_counted_twice(rows: list[dict[str, Any]], expected: int) -> None:
    assert control_balance(rows) == expected


def test_an_opening_that_contradicts_the_years_before_stops_everything() -> None:
    with pytest.raises(NotReconciled, match=r"2026 open with 90\.00"):
        control_balance(balances((2025, 3, 20, "100"), (2026, 0, 10, "90")))


@pytest.mark.parametrize(
    ("total", "balance", "votes", "previous", "sign"),
    [
        ("-100", "100", -3, None, -1),
        ("100", "100", 3, None, 1),
        ("0", "0", 0, None, None),
        ("0", "0", 0, 1, 1),
        ("0", "0", 2, None, 1),
        ("-100", "0", 0, 1, 1),
        ("-100", "80", -1, None, -1),
        ("100", "100", -1, None, 1),
    ],
)
def test_the_balance_decides_the_sign_and_is_silent_at_zero(
    total: str, balance: str, votes: int, previous: int | None, sign: int | None
) -> None:
    assert sign_of(Decimal(total), Decimal(balance), votes=votes, previous=previous) == sign


def test_a_balance_that_contradicts_the_bookings_stops_everything() -> None:
    with pytest.raises(NotReconciled, match="under either sign"):
        sign_of(Decimal(-100), Decimal(-80), votes=-5, previous=None)


def test_only_sales_and_credit_bookings_have_a_say_about_the_sign() -> None:
    said = {"TransactionType": 20, "AmountDC": "-5.00", "TransactionAmountDC": "5.00"}
    assert vote(said) == -1
    assert vote(said | {"TransactionAmountDC": "-5.00"}) == 1
    assert vote(said | {"TransactionType": 40}) == 0
    assert vote(said | {"AmountDC": "0.00"}) == 0
