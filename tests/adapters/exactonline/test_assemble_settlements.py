"""Assembly: why an invoice's open amount differs from its total (sheet 8.5, 8.6, 16.12)."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from adapters.exactonline.adapter import PACKAGE
from connector.adapter import Assembled, Fields
from tests.adapters.exactonline.ledger import assemble, invoice, line, payment, settlements, term


def closed(settling: Fields, settling_term: Fields, *, end: str = "2026-10-01", last: str | None = None) -> Assembled:
    terms = [term("i", "121.00", status=50, EndDate=end, **({"LastPaymentDate": last} if last else {})), settling_term]
    return assemble([line("i", "121.00", InvoiceNumber=7, EntryNumber=7), settling], terms)


@pytest.mark.parametrize(
    ("type_", "journal", "kind", "status"),
    [
        (40, "20", "payment", "paid"),
        (40, "10", "payment", "paid"),
        (40, "25", "payment", "paid"),
        (21, "70", "credit", "credited"),
        (20, "70", "credit", "credited"),
        (83, "93", "write_off", "written_off"),
        (90, "90", "write_off", "written_off"),
        (40, "90", "unknown", "settled"),
    ],
)
def test_what_closed_an_invoice_decides_its_status(type_: int, journal: str, kind: str, status: str) -> None:
    """A write-off looks like a payment when only the open amount is watched (sheet 0.10)."""
    settling = line("s", "-121.00", type_=type_, journal=journal, EntryNumber=99)
    found = closed(settling, term("s", "-121.00", status=50, InvoiceNumber=7, EndDate="2026-10-01"))
    one = invoice(found, "i")
    assert ([s.kind for s in one.settlements], one.payment_status, one.open) == ([kind], status, 0)
    assert one.settled_on == date(2026, 10, 1)


def test_an_adjustment_that_closes_one_invoice_is_only_its_settlement() -> None:
    settling = line("s", "-121.00", type_=83, journal="93")
    found = closed(settling, term("s", "-121.00", status=50, InvoiceNumber=7))
    assert [one.external_id for one in found.invoices] == ["i"]
    assert settlements(found, "i") == [("write_off", Decimal("-121.00"), None, False)]


def test_an_adjustment_without_terms_of_its_own_still_explains() -> None:
    """Sheet 8.5 leaves open whether write-offs have terms."""
    lines = [line("i", "121.00", InvoiceNumber=7), line("s", "-121.00", type_=83, journal="93", InvoiceNumber=7)]
    found = assemble(lines, [term("i", "121.00", status=50)])
    assert invoice(found, "i").payment_status == "written_off"
    assert [one.external_id for one in found.invoices] == ["i"]


def test_an_open_adjustment_is_an_item() -> None:
    found = assemble([line("s", "-20.00", type_=90, journal="90")], [term("s", "-20.00")])
    assert (invoice(found, "s").kind, invoice(found, "s").open) == ("journal", -20)


def test_paid_is_taken_back_when_a_match_is() -> None:
    lines = [line("i", "121.00", InvoiceNumber=7), line("r", "-121.00", type_=40, journal="20")]
    found = assemble(lines, [term("i", "121.00"), term("r", "-121.00", InvoiceNumber=7)])
    assert (invoice(found, "i").payment_status, invoice(found, "i").open) == ("open", 121)
    assert payment(found, "r").unallocated == 121


def test_the_flag_fully_paid_is_not_even_stored() -> None:
    """Undefined for matched slices and write-offs (sheet 16.12)."""
    assert not any("IsFullyPaid" in path for paths in PACKAGE.sources.values() for path in paths)


def test_a_lump_sum_is_not_split_by_guessing() -> None:
    """The split cannot be recovered (sheet 8.6): the invoices say unknown, the money is known at the customer."""
    lines = [
        line("i", "100.00", InvoiceNumber=7),
        line("k", "50.00", InvoiceNumber=8),
        line("r", "-150.00", type_=40, journal="20"),
    ]
    ended = {"status": 50, "EndDate": "2026-10-01", "LastPaymentDate": "2026-10-20"}
    found = assemble(lines, [term("i", "100.00", **ended), term("k", "50.00", **ended), term("r", "-150.00", **ended)])
    assert settlements(found, "i") == [("unknown", Decimal("-100.00"), None, True)]
    assert invoice(found, "i").payment_status == "settled"
    assert invoice(found, "i").settled_on == date(2026, 10, 20)
    assert payment(found, "r").unallocated == 0


def test_equal_amounts_matched_on_one_day_are_paired_and_marked_as_derived() -> None:
    settling = line("r", "-121.00", type_=40, journal="20")
    found = closed(settling, term("r", "-121.00", status=50, EndDate="2026-10-01"))
    assert settlements(found, "i") == [("payment", Decimal("-121.00"), "r", True)]


def test_equal_amounts_of_other_matches_are_not_paired() -> None:
    settling = line("r", "-121.00", type_=40, journal="20")
    found = closed(settling, term("r", "-121.00", status=50, EndDate="2026-09-01"))
    assert settlements(found, "i") == [("unknown", Decimal("-121.00"), None, True)]


def test_what_a_bank_line_speaks_of_is_derived_unless_its_end_date_contradicts() -> None:
    settling = line("r", "-121.00", type_=40, journal="20", InvoiceNumber=7)
    said = closed(settling, term("r", "-121.00", status=50, EndDate="2026-10-01"))
    assert settlements(said, "i") == [("payment", Decimal("-121.00"), "r", True)]
    moved = closed(settling, term("r", "-121.00", status=50, EndDate="2026-09-01"))
    assert settlements(moved, "i") == [("unknown", Decimal("-121.00"), None, True)]


def test_a_number_that_two_invoices_bear_names_neither() -> None:
    """Sales journals may overlap in their numbers (sheet 6)."""
    lines = [
        line("i", "100.00", InvoiceNumber=7),
        line("k", "100.00", InvoiceNumber=7, JournalCode="71"),
        line("r", "-100.00", type_=40, journal="20"),
    ]
    terms = [term(key, "100.00", status=50) for key in "ik"] + [term("r", "-100.00", status=50, InvoiceNumber=7)]
    assert settlements(assemble(lines, terms), "i") == [("unknown", Decimal("-100.00"), None, True)]


def test_a_credit_note_does_not_name_itself() -> None:
    lines = [line("i", "100.00", InvoiceNumber=7, EntryNumber=7), line("c", "-100.00", InvoiceNumber=7, EntryNumber=7)]
    terms = [
        term("i", "100.00", status=50, InvoiceNumber=7, EntryNumber=7),
        term("c", "-100.00", status=50, InvoiceNumber=7, EntryNumber=7),
    ]
    found = assemble(lines, terms)
    assert settlements(found, "i") == [("credit", Decimal("-100.00"), "c", True)]
    assert settlements(found, "c") == [("credit", Decimal("100.00"), "i", True)]


@pytest.mark.parametrize(
    ("type_", "total", "kind"),
    [
        (20, "10.00", "invoice"),
        (20, "-10.00", "credit_note"),
        (21, "-10.00", "credit_note"),
        (21, "10.00", "invoice"),
        (10, "10.00", "opening_balance"),
        (10, "-10.00", "opening_balance"),
        (90, "10.00", "journal"),
        (40, "10.00", "journal"),
    ],
)
def test_the_kind_follows_the_sign_in_the_ledger(type_: int, total: str, kind: str) -> None:
    """Many administrations book credit notes as negative sales entries (sheet 6)."""
    found = assemble([line("x", total, type_=type_, journal="90")], [term("x", total)])
    assert invoice(found, "x").kind == kind


def test_cash_flow_counts_as_money_only_in_journals_of_money() -> None:
    """Sheet 16.3."""
    for journal, kind in (("20", "receipt"), ("10", "cash"), ("25", "psp_settlement")):
        found = assemble([line("r", "-10.00", type_=40, journal=journal)], [term("r", "-10.00")])
        assert payment(found, "r").kind == kind
    found = assemble([line("r", "-10.00", type_=40, journal="90")], [term("r", "-10.00")])
    assert found.payments == []
    assert invoice(found, "r").open == -10


def test_money_back_is_a_refund_and_settles_the_credit() -> None:
    lines = [line("c", "-50.00", InvoiceNumber=9, EntryNumber=9), line("r", "50.00", type_=40, journal="20")]
    terms = [term("c", "-50.00", status=50, EntryNumber=9), term("r", "50.00", status=50, InvoiceNumber=9)]
    found = assemble(lines, terms)
    assert (payment(found, "r").kind, payment(found, "r").amount) == ("refund", -50)
    assert settlements(found, "c") == [("payment", Decimal("50.00"), "r", False)]


def test_a_returned_direct_debit_is_a_chargeback() -> None:
    found = assemble([line("r", "50.00", type_=40, journal="20")], [term("r", "50.00", TransactionIsReversal=True)])
    assert payment(found, "r").kind == "chargeback"


def dollars(key: str, amount: str, base: str, **more: Any) -> Fields:
    return line(key, base, AmountFC=amount, Currency="USD", **more)


def dollar_term(transaction: str, amount: str, base: str, **more: Any) -> Fields:
    wire = {"AmountFC": str(-Decimal(amount)), "Currency": "USD"}
    return term(transaction, base, **wire, **more)


@pytest.mark.parametrize("booked", [True, False])
def test_both_currencies_add_up_and_the_rest_is_an_exchange_difference(booked: bool) -> None:
    lines = [
        dollars("i", "100.00", "90.00", InvoiceNumber=7),
        dollars("r", "-100.00", "-88.00", type_=40, journal="20"),
    ]
    terms = [
        dollar_term("i", "100.00", "90.00", status=50),
        dollar_term("r", "-100.00", "-88.00", status=50, InvoiceNumber=7),
    ]
    if booked:
        lines.append(dollars("x", "0.00", "-2.00", type_=82, journal="93"))
        terms.append(dollar_term("x", "0.00", "-2.00", status=50, InvoiceNumber=7))
    one = invoice(assemble(lines, terms), "i")
    assert (one.open, one.base_open, one.payment_status) == (0, 0, "paid")
    assert [(s.kind, s.amount, s.base_amount) for s in one.settlements] == [
        ("payment", Decimal("-100.00"), Decimal("-88.00")),
        ("exchange_difference", Decimal(0), Decimal("-2.00")),
    ]
    assert [s.derived for s in one.settlements] == [False, not booked]
