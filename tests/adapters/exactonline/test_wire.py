"""Values and envelopes as Exact Online writes them (sheet 3.1 to 3.3)."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exactonline import wire
from adapters.exactonline.kinds import term_status
from connector.decoding import NIL, decoder, guid, text
from connector.errors import SourceDown


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (300, "300.00"),
        (0, "0.00"),
        (Decimal("316.5"), "316.50"),
        (Decimal("-0.01"), "-0.01"),
        (Decimal("-0.0"), "0.00"),
        (Decimal("-0.00"), "0.00"),
        (Decimal("1234567.89"), "1234567.89"),
        (Decimal("1E-1"), "0.10"),
        (Decimal("0.30000000000000004"), "0.30"),
        (Decimal("1E+2"), "100.00"),
        (Decimal("1.2345"), "1.2345"),
        ("12.5", "12.50"),
    ],
)
def test_amounts_lose_double_noise_and_nothing_else(raw: Any, expected: str) -> None:
    assert wire.amount(raw) == expected


@pytest.mark.parametrize("raw", [Decimal("NaN"), Decimal("Infinity"), "1,50", True, None, [], 10**15])
def test_what_is_no_amount_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match="is not"):
        wire.amount(raw)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_an_amount_in_cents_keeps_its_value_and_form(value: Decimal) -> None:
    assert Decimal(wire.amount(value)) == value
    assert wire.amount(value) == wire.amount(Decimal(wire.amount(value)))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("           0000011", "0000011"),
        ("FR ", "FR"),
        ("   ", None),
        ("", None),
        ("a\x00b", "ab"),
        ("caf\ud83d", "caf?"),
        ("\u202edrawkcab 🙂", "\u202edrawkcab 🙂"),
    ],
)
def test_text_is_trimmed_and_can_be_stored(raw: str, expected: str | None) -> None:
    assert text(raw) == expected
    if expected is not None:
        expected.encode()


def test_the_empty_guid_means_none() -> None:
    assert guid(NIL) is None
    assert guid("CE854E99-8B77-4AE6-ABBA-B0A77198E5A1") == "ce854e99-8b77-4ae6-abba-b0a77198e5a1"
    with pytest.raises(ValueError, match="is not a guid"):
        guid("ce854e99' or 1 eq 1")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/Date(1782345600000)/", "2026-06-25"),
        ("/Date(-2208988800000)/", "1900-01-01"),
        ("/Date(1782345600000+0200)/", "2026-06-25"),
        ("/Date(-62135596800000)/", None),
        ("/Date(253402214400000)/", "9999-12-31"),
    ],
)
def test_a_date_is_the_day_in_utc_and_the_year_one_is_none(raw: str, expected: str | None) -> None:
    """Converting to local time first would move every date in the western half of the world."""
    assert wire.day(raw) == expected


@pytest.mark.parametrize("raw", ["2026-06-25", "/Date()/", "/Date(999999999999999)/", 5])
def test_what_is_no_date_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a date|outside the calendar"):
        wire.day(raw)


def test_modification_times_stay_on_the_servers_own_clock() -> None:
    """Recorded at 14:21:04 GMT, when the server's clock showed 16:21 (sheet 3.3)."""
    assert wire.local_time("/Date(1782404464260)/") == "2026-06-25T16:21:04"


def test_counters_come_as_text() -> None:
    assert wire.whole("1500000042") == 1_500_000_042
    for bad in ("1.5", "x", 2**63, True, None):
        with pytest.raises(ValueError, match="is not a"):
            wire.whole(bad)


def test_an_unknown_status_of_a_term_is_refused() -> None:
    assert [term_status(known) for known in (20, "30", 40, 50)] == [20, 30, 40, 50]
    for unknown in (0, 35, 60, "open"):
        with pytest.raises(ValueError, match=r"known status|not a number"):
            term_status(unknown)


def test_flags_are_booleans_or_bytes() -> None:
    assert [wire.flag(raw) for raw in (True, False, 1, 0)] == [True, False, True, False]
    with pytest.raises(ValueError, match="neither"):
        wire.flag("yes")


def test_a_decoder_leaves_out_what_says_nothing_and_insists_on_what_is_required() -> None:
    decode = decoder({"ID": guid, "Code": text, "Amount": wire.amount}, ("ID",))
    key = "ce854e99-8b77-4ae6-abba-b0a77198e5a1"
    assert decode({"ID": key, "Code": "  ", "Amount": None, "Unknown": {}}) == {"ID": key}
    with pytest.raises(ValueError, match="ID is missing"):
        decode({"ID": None})
    with pytest.raises(ValueError, match="Amount: 'x' is not a number"):
        decode({"ID": key, "Amount": "x"})


@pytest.mark.parametrize(
    ("body", "items", "following"),
    [
        ({"d": {"results": [{"ID": 1}]}}, [{"ID": 1}], None),
        ({"d": {"results": [{"ID": 1}], "__next": "https://x/y"}}, [{"ID": 1}], "https://x/y"),
        ({"d": []}, [], None),
        ({"d": [{"ID": 1}]}, [{"ID": 1}], None),
        ({"d": {"__metadata": {}, "ID": 1}}, [{"__metadata": {}, "ID": 1}], None),
    ],
)
def test_every_envelope_is_understood(body: Any, items: Any, following: str | None) -> None:
    assert wire.answer(body) == (items, following)


@pytest.mark.parametrize(
    "body", [{}, [], None, {"error": {}}, {"d": None}, {"d": {"": []}}, {"d": [1]}, {"d": {"results": ["x"]}}]
)
def test_anything_else_is_a_failure_and_not_an_empty_list(body: Any) -> None:
    with pytest.raises(SourceDown, match="the package answered"):
        wire.answer(body)
