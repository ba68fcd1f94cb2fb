"""Values as SnelStart writes them, lines summed, refusals told apart. Pure."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.snelstart import query, wire
from adapters.snelstart.access import Options, oauth, refusal
from adapters.snelstart.rows import Chart, decode, last_days
from adapters.snelstart.ubl import ubl
from connector.errors import SchemaDrift, SourceDown
from connector.http import Refusal

NIL = "00000000-0000-0000-0000-000000000000"
KEY = "aee7d516-8e18-4590-a51e-5c330dde4b94"
OTHER = "de0c057f-1634-48cb-a00e-0067c64dd2e1"
NO_CHART = Chart.of({})


@pytest.mark.parametrize("digits", ["", ".1", ".12", ".1200000", ".1234567"])
def test_times_have_no_zone_and_up_to_seven_digits(digits: str) -> None:
    found = wire.stamp(f"2018-08-07T06:24:48{digits}")
    assert len(found) == len("2018-08-07T06:24:48.0000000")
    assert found.startswith(f"2018-08-07T06:24:48{digits}")


def test_times_compare_as_moments_do_whatever_their_precision() -> None:
    assert wire.stamp("2018-08-07T06:24:48") < wire.stamp("2018-08-07T06:24:48.12") < wire.stamp("2018-08-07T06:24:49Z")


@pytest.mark.parametrize("value", [None, 5, "", "yesterday", {}])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not a time"):
        wire.stamp(value)


def test_a_business_date_is_its_first_ten_characters() -> None:
    assert wire.day("2026-11-20T00:00:00") == wire.day("2026-11-20T23:00:00Z") == "2026-11-20"
    assert wire.day("0001-01-01T00:00:00") is None


@given(st.integers(-(10**13), 10**13), st.integers(0, 2))
def test_amounts_are_exact(cents: int, zeros: int) -> None:
    amount = Decimal(cents) / 100
    written = f"{amount:.2f}" + "0" * zeros
    assert Decimal(wire.amount(Decimal(written))) == amount
    assert wire.amount(written) == wire.amount(Decimal(written)).removeprefix("+")


@pytest.mark.parametrize(
    ("value", "kept"),
    [(Decimal("5505.8000"), "5505.80"), (12, "12.00"), ("121.00", "121.00"), (Decimal("0.0050"), "0.005"),
     (Decimal("-0.00"), "0.00")],
)  # fmt: skip
def test_amounts_come_with_any_number_of_decimals(value: Any, kept: str) -> None:
    assert wire.amount(value) == kept


@pytest.mark.parametrize("value", [True, None, {}, "x", 10**12, Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not an? (amount|number)"):
        wire.amount(value)


@pytest.mark.parametrize("nothing", [{"id": NIL, "uri": "/x"}, {"id": None}, {}])
def test_a_reference_to_nothing_is_nothing(nothing: Any) -> None:
    assert wire.link(nothing) is None


def test_absent_null_and_nil_are_alike_and_unknown_fields_are_ignored() -> None:
    plain = {"id": KEY, "factuurBedrag": 1, "openstaandSaldo": 0}
    forms = [{}, {"relatie": None}, {"relatie": {"id": NIL}}, {"nieuwVeld": {"diep": [1]}, "verkoopOrders": []}]
    found = [decode("invoice", [plain | more], NO_CHART).rows for more in forms]
    assert all(rows == found[0] for rows in found)
    assert found[0][0].group == "unassigned"


def test_an_invoice_without_its_open_amount_is_set_aside_and_not_paid() -> None:
    """Reading another name than `openstaandSaldo` gave a silent zero elsewhere (sheet 10.6)."""
    found = decode("invoice", [{"id": KEY, "factuurBedrag": 1, "relatie": {"id": OTHER}}], NO_CHART)
    assert (found.rows, [(bad.key, bad.group) for bad in found.bad]) == ([], [(KEY, OTHER)])


def test_an_item_without_a_readable_id_stops_the_feed() -> None:
    with pytest.raises(SchemaDrift, match="id"):
        decode("invoice", [{"id": {"unexpected": True}, "factuurBedrag": 1, "openstaandSaldo": 0}], NO_CHART)


def booking(*lines: dict[str, Any]) -> dict[str, Any]:
    return {"id": KEY, "datum": "2026-11-20T00:00:00", "dagboek": {"id": OTHER}, "verkoopboekingBoekingsRegels": lines}


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=6))
def test_lines_of_one_sale_are_one_row_with_their_sum(sides: list[tuple[int, int]]) -> None:
    lines = [
        {"boekingId": {"id": OTHER}, "debet": Decimal(debet) / 100, "credit": Decimal(credit) / 100}
        for debet, credit in sides
    ]
    (row,) = decode("bankline", [booking(*lines)], NO_CHART).rows
    assert row.key == f"{KEY}/{OTHER}"
    assert Decimal(row.fields["bedrag"]) == Decimal(sum(debet - credit for debet, credit in sides)) / 100


@pytest.mark.parametrize("lines", [[], None, [{"boekingId": None, "debet": 1}], [{"boekingId": {"id": NIL}}]])
def test_a_booking_that_settles_no_sale_has_no_row(lines: Any) -> None:
    assert decode("bankline", [{"id": KEY, "verkoopboekingBoekingsRegels": lines}], NO_CHART).rows == []


def test_a_journal_is_booked_until_its_latest_day() -> None:
    items = [booking(), booking() | {"datum": "2026-11-02T00:00:00"}, {"id": KEY, "datum": 7}, {"id": KEY}]
    assert last_days(items, {}) == {OTHER: "2026-11-20"}
    assert last_days(items, {OTHER: "2026-12-01"}) == {OTHER: "2026-12-01"}


def test_filters_are_of_version_3_with_names_in_their_own_casing() -> None:
    assert query.among("Grootboek/Id", ["b", "a"]) == "Grootboek/Id eq guid'a' or Grootboek/Id eq guid'b'"
    assert query.both("", "A eq 1", "B eq 2") == "(A eq 1) and (B eq 2)"
    assert [len(chunk) for chunk in query.chunks(["x"] * 45)] == [20, 20, 5]


@pytest.mark.parametrize("body", [None, {}, "text", [1], {"Message": "x"}])
def test_what_is_no_list_of_items_is_a_failure(body: Any) -> None:
    with pytest.raises(SourceDown):
        wire.items(body, "here")


@pytest.mark.parametrize(
    "body", [b"<Invoice/>", b'"<Invoice/>"', b'[{"ubl": "<Invoice/>"}]', b'{"a": [1, {"b": "<Invoice/>"}]}']
)
def test_ubl_comes_in_several_forms(body: bytes) -> None:
    assert ubl(body, "here") == b"<Invoice/>"


@pytest.mark.parametrize("body", [b"", b"[{}]", b"null", b'"text"'])
def test_a_ubl_in_no_known_form_is_said_to_be_one(body: bytes) -> None:
    with pytest.raises(SchemaDrift):
        ubl(body, "here")


@pytest.mark.parametrize(
    ("status", "said", "meant"),
    [
        (401, "Access denied due to invalid subscription key.", Refusal(app=True)),
        (401, "Access denied due to missing subscription key.", Refusal(app=True)),
        (401, "Authorization has been denied for this request.", None),
        (403, "Out of call volume quota. Quota will be replenished in 01:02:03.", Refusal(wait_s=3723)),
        (403, "Out of call volume quota.", Refusal(wait_s=600)),
        (403, "Authorization has been denied for this request.", None),
        (401, "", None),
    ],
)
def test_whose_fault_a_refusal_is(status: int, said: str, meant: Refusal | None) -> None:
    assert refusal(status, said) == meant


def test_the_key_is_exchanged_in_the_form_of_the_token_endpoint() -> None:
    grant = oauth(Options(auth_url="https://auth.example/"))
    assert grant.token_url == "https://auth.example/b2b/token"
    assert grant.key is not None
    assert grant.key.form(' "a+/=" ') == {"grant_type": "clientkey", "clientkey": "a+/="}
