"""Assembly: from the rows of one account to records that add up (sheet 8, 16)."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exactonline.adapter import PACKAGE
from adapters.exactonline.assemble import ExactAssembler
from adapters.exactonline.balance import control_balance, sign_of, vote
from connector.adapter import Assembled, Fields
from connector.domain.money import ZERO
from connector.domain.records import Invoice, Payment
from connector.errors import NotReconciled
from connector.mapping import Mapping, compile_mapping

ACCOUNT = "aaaaaaaa-0000-4000-8000-000000000001"
MAPPING = compile_mapping(resources.files("mappings") / "exactonline.toml", sources=PACKAGE.sources)
REFERENCES: dict[str, list[Fields]] = {
    "division": [{"Code": 100, "Description": "Books", "Currency": "EUR", "Country": "NL"}],
    "calibration": [{"Sign": -1}],
    "journal": [
        {"ID": f"j-{code}", "Code": code, "Type": kind, "Description": code}
        for code, kind in (("10", 10), ("20", 12), ("25", 16), ("70", 20), ("90", 90), ("93", 90))
    ],
    "condition": [{"ID": "c-30", "Code": "30", "Description": "30 days", "PaymentDays": 30, "PaymentMethod": "B"}],
    "glaccount": [{"ID": "gl-ar", "Code": "1300", "Type": 20}],
}


def line(key: str, amount: str, *, type_: int = 20, journal: str = "70", **more: Any) -> Fields:
    return {
        "ID": key,
        "Account": ACCOUNT,
        "EntryID": f"e-{key}",
        "EntryNumber": 1,
        "JournalCode": journal,
        "Type": type_,
        "Date": "2026-10-01",
        "GLAccount": "gl-ar",
        "AmountDC": amount,
        "AmountFC": amount,
        "Currency": "EUR",
    } | more


def term(transaction: str, amount: str, *, status: int = 20, key: str = "", **more: Any) -> Fields:
    """`amount` in ledger sign; the wire has the opposite one."""
    wire = str(-Decimal(amount))
    return {
        "ID": key or f"t-{transaction}-{status}-{amount}",
        "Account": ACCOUNT,
        "Status": status,
        "AmountDC": wire,
        "AmountFC": wire,
        "Currency": "EUR",
        "TransactionID": transaction,
        "DueDate": "2026-10-31",
    } | more


def assemble(
    lines: Sequence[Fields] = (),
    terms: Sequence[Fields] = (),
    *,
    account: dict[str, Any] | None = None,
    mapping: Mapping = MAPPING,
    references: dict[str, list[Fields]] = REFERENCES,
    **rows: Sequence[Fields],
) -> Assembled:
    whole = {"ID": ACCOUNT, "Code": "11", "Name": "Jansen BV", "Status": "C"} | (account or {})
    stored = {"account": [whole], "line": lines, "term": terms, **rows}
    return ExactAssembler(references, mapping, "100").assemble(ACCOUNT, stored)


def invoice(found: Assembled, key: str) -> Invoice:
    return next(one for one in found.invoices if one.external_id == key)


def payment(found: Assembled, key: str) -> Payment:
    return next(one for one in found.payments if one.external_id == key)


def settlements(found: Assembled, key: str) -> list[tuple[str, Decimal, str | None, bool]]:
    return [(one.kind, one.amount, one.source, one.derived) for one in invoice(found, key).settlements]


# Open amounts


def test_an_open_invoice_owes_its_total() -> None:
    found = assemble([line("i", "121.00", InvoiceNumber=7, YourRef="PO")], [term("i", "121.00", PaymentCondition="30")])
    one = invoice(found, "i")
    assert (one.kind, one.number, one.total, one.open, one.payment_status) == ("invoice", "7", 121, 121, "open")
    assert (one.due_date, one.issue_date, one.your_reference) == (date(2026, 10, 31), date(2026, 10, 1), "PO")
    assert one.terms is not None
    assert (one.terms.days, one.terms.method) == (30, "bank_transfer")
    assert found.bad == []


def test_an_item_is_known_by_its_ledger_line_whatever_id_its_terms_get() -> None:
    """An edit may replace the term, and one entry may hold several debtors (sheet 0.9, 16.1)."""
    before = assemble([line("i", "121.00")], [term("i", "121.00", key="old")])
    after = assemble([line("i", "121.00")], [term("i", "121.00", key="new")])
    assert before.invoices == after.invoices


def test_a_term_without_its_line_is_an_item_by_itself() -> None:
    """Open items come before the ledger is read."""
    known = {"TransactionAmountDC": "121.00", "TransactionType": 20, "InvoiceNumber": 7, "InvoiceDate": "2026-10-01"}
    one = invoice(assemble([], [term("i", "100.00", **known)]), "i")
    assert (one.total, one.open, one.number, one.issue_date) == (121, 100, "7", date(2026, 10, 1))
    assert [(s.kind, s.amount) for s in one.settlements] == [("unknown", Decimal("-21.00"))]


def test_the_booking_of_a_receipt_without_its_line_is_only_believed_in_size() -> None:
    """Whether its amount follows the ledger's sign is uncertain (sheet 16.4)."""
    for amount in ("50.00", "-50.00"):
        receipt = term("r", "-30.00", TransactionAmountDC=amount, TransactionType=40, Journal="20")
        one = payment(assemble([], [receipt]), "r")
        assert (one.amount, one.unallocated, one.kind) == (50, 30, "receipt")


def test_a_line_without_a_term_says_nothing_about_what_is_open() -> None:
    assert assemble([line("i", "121.00")], []).invoices == []


def test_a_partly_paid_invoice_adds_its_terms_up() -> None:
    terms = [
        term("i", "40.00", status=50, EndDate="2026-10-01"),
        term("i", "81.00"),
        term("r", "-40.00", status=50, InvoiceNumber=7, EndDate="2026-10-01"),
    ]
    lines = [line("i", "121.00", InvoiceNumber=7), line("r", "-40.00", type_=40, journal="20", Date="2026-10-09")]
    found = assemble(lines, terms)
    one = invoice(found, "i")
    assert (one.open, one.payment_status, one.instalments, one.settled_on) == (81, "partly_paid", (), None)
    assert settlements(found, "i") == [("payment", Decimal("-40.00"), "r", False)]
    assert payment(found, "r").unallocated == 0


def test_terms_of_several_days_are_instalments() -> None:
    terms = [
        term("i", "60.00", status=50, DueDate="2026-10-15"),
        term("i", "61.00", DueDate="2026-11-15"),
    ]
    one = invoice(assemble([line("i", "121.00")], terms), "i")
    assert [(i.due_date, i.amount, i.open) for i in one.instalments] == [
        (date(2026, 10, 15), 60, 0),
        (date(2026, 11, 15), 61, 61),
    ]
    assert one.due_date == date(2026, 11, 15)


@pytest.mark.parametrize(("status", "state"), [(20, None), (30, "selected"), (40, "sent")])
def test_a_direct_debit_on_its_way_is_open_and_says_so(status: int, state: str | None) -> None:
    one = invoice(assemble([line("i", "121.00")], [term("i", "121.00", status=status)]), "i")
    assert (one.open, one.collection_state) == (121, state)


def test_the_sign_of_terms_is_the_calibrated_one() -> None:
    terms = [term("i", "-121.00")]
    references = REFERENCES | {"calibration": [{"Sign": 1}]}
    assert invoice(assemble([line("i", "121.00")], terms, references=references), "i").open == 121


# Settlements (sheet 8.5, 8.6, 16.12)


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


# Customers


def test_invoices_to_another_account_are_that_debtors() -> None:
    found = assemble([line("i", "1.00")], [term("i", "1.00")], account={"InvoiceAccount": "payer"})
    assert (found.customers[0].debtor, invoice(found, "i").debtor) == ("payer", "payer")
    own = assemble([line("i", "1.00")], [term("i", "1.00")], account={"InvoiceAccount": ACCOUNT})
    assert (own.customers[0].debtor, invoice(own, "i").debtor) == (None, None)


def test_a_supplier_with_a_receivable_item_is_a_customer_and_one_without_is_not() -> None:
    supplier = {"Status": "A", "IsSupplier": True, "IsSales": False}
    assert assemble([line("i", "1.00")], [term("i", "1.00")], account=supplier).customers != []
    assert assemble(account=supplier).customers == []
    assert assemble(account={"Status": "A", "IsSales": True}).customers != []


def test_an_erased_customer_keeps_its_items_and_loses_everything_personal() -> None:
    rows = {
        "contact": [{"ID": "c", "Account": ACCOUNT, "FullName": "Jan", "Email": "jan@x.nl"}],
        "bankaccount": [{"ID": "b", "Account": ACCOUNT, "IBAN": "NL91ABNA0417164300"}],
    }
    personal = {"IsAnonymised": True, "Email": "jan@x.nl", "Phone": "06"}
    receipt = line("r", "-5.00", type_=40, journal="20", Description="from Jan")
    terms = [term("r", "-5.00", AccountBankAccountNumber="NL91ABNA0417164300")]
    found = assemble([receipt], terms, account=personal, **rows)
    (customer,) = found.customers
    assert (customer.name, customer.email, customer.phone) == ("(erased)", None, None)
    assert (customer.contacts, customer.bank_accounts) == ((), ())
    one = payment(found, "r")
    assert (one.payer_iban, one.remittance, one.unallocated) == (None, None, 5)


def test_a_customer_holds_contacts_addresses_bank_accounts_and_mandates() -> None:
    found = assemble(
        account={"MainContact": "c1", "AddressLine1": "Dam 1", "City": "Amsterdam", "PaymentConditionSales": "30"},
        contact=[
            {"ID": "c1", "FullName": "Jan", "BusinessEmail": "jan@x.nl", "IsMainContact": True},
            {"ID": "c2", "FullName": "Left", "EndDate": "2025-01-01"},
        ],
        address=[{"ID": "a1", "Type": 3, "AddressLine1": "Postbus 1", "City": "Utrecht"}],
        bankaccount=[
            {"ID": "b1", "IBAN": "NL91ABNA0417164300", "Main": True},
            {"ID": "b2", "IBAN": "NL02RABO0123456789", "Blocked": True},
        ],
        mandate=[{"ID": "m1", "Reference": "M1", "BankAccount": "b1", "Type": 0, "SignatureDate": "2024-01-01"}],
    )
    (customer,) = found.customers
    assert customer.email == "jan@x.nl"
    assert [(one.name, one.roles) for one in customer.contacts] == [("Jan", ("general",))]
    assert [(one.role, one.lines, one.city) for one in customer.addresses] == [
        ("visiting", ("Dam 1",), "Amsterdam"),
        ("invoicing", ("Postbus 1",), "Utrecht"),
    ]
    assert [one.iban for one in customer.bank_accounts] == ["NL91ABNA0417164300"]
    assert [(one.reference, one.iban, one.scheme) for one in customer.mandates] == [
        ("M1", "NL91ABNA0417164300", "core")
    ]
    assert customer.terms is not None
    assert customer.terms.days == 30
    assert found.bad == []


def test_documents_are_found_by_number_by_entry_and_by_hand() -> None:
    """A processed invoice does not name its document (sheet 11)."""
    url = "https://start.exactonline.nl/docs/SysAttachment.aspx?ID=f1&_Division_=100"
    lines = [
        line("i", "1.00", InvoiceNumber=7, EntryID="e1"),
        line("k", "1.00", InvoiceNumber=8, EntryID="e2"),
        line("m", "1.00", InvoiceNumber=9, EntryID="e3", Document="d3"),
    ]
    rows: dict[str, Sequence[Fields]] = {
        "document": [
            {"ID": "d1", "Type": 10, "SalesInvoiceNumber": 7, "FinancialTransactionEntryID": "the-invoice-id"},
            {"ID": "d2", "Type": 10, "FinancialTransactionEntryID": "e2"},
            {"ID": "d3", "Type": 20, "FinancialTransactionEntryID": "other"},
        ],
        "attachment": [
            {"ID": f"f{n}", "Document": f"d{n}", "FileName": name, "FileSize": "10", "Url": url}
            for n, name in ((1, "inv7.PDF"), (2, "ubl.xml"), (3, "scan.pdf"))
        ]
        + [{"ID": "f9", "Document": "d1", "FileName": "evil.pdf", "Url": "https://evil.test/x"}],
    }
    found = assemble(lines, [term(key, "1.00") for key in "ikm"], **rows)
    (pdf,) = invoice(found, "i").documents
    assert (pdf.kind, pdf.size, pdf.handle) == (
        "invoice_pdf",
        10,
        "/docs/SysAttachment.aspx?ID=f1&_Division_=100",
    )
    assert [one.kind for one in invoice(found, "k").documents] == ["ubl"]
    assert [one.kind for one in invoice(found, "m").documents] == ["attachment"]


# What is left out, and what is bad


def overriding(folder: Path, text: str) -> Mapping:
    own = folder / "own.toml"
    own.write_text(text, encoding="utf-8")
    return compile_mapping(resources.files("mappings") / "exactonline.toml", own, sources=PACKAGE.sources)


def test_a_left_out_journal_or_customer_is_an_explained_difference(tmp_path: Path) -> None:
    lines = [line("i", "100.00"), line("k", "30.00", type_=90, journal="90")]
    terms = [term("i", "100.00"), term("k", "30.00")]
    by_journal = assemble(lines, terms, mapping=overriding(tmp_path, '[journals]\nleave_out = ["90"]\n'))
    assert ([one.external_id for one in by_journal.invoices], by_journal.left_out) == (["i"], 30)
    rule = "[customers]\nleave_out = [\"account.Code | is('11')\"]\n"
    by_customer = assemble(lines, terms, mapping=overriding(tmp_path, rule))
    assert (by_customer.customers, by_customer.invoices, by_customer.left_out) == ([], [], 130)


def test_lines_without_a_customer_are_an_explained_difference() -> None:
    """They have no terms (sheet 16.5)."""
    assembler = ExactAssembler(REFERENCES, MAPPING, "100")
    found = assembler.assemble("unassigned", {"line": [line("x", "12.50"), line("y", "-2.50")]})
    assert (found.left_out, found.invoices, found.customers) == (Decimal("10.00"), [], [])


def test_one_bad_item_leaves_the_others_standing() -> None:
    lines = [line("i", "100.00"), line("k", "1.234"), line("m", "50.00", Date="soon")]
    found = assemble(lines, [term("i", "100.00"), term("k", "1.00"), term("m", "50.00")])
    assert [one.external_id for one in found.invoices] == ["i"]
    assert [(one.key, one.kind) for one in found.bad] == [("k", "line"), ("m", "line")]
    assert "finer than the minor unit" in found.bad[0].reason
    assert found.left_out == 51


def test_one_bad_contact_leaves_its_customer_standing(tmp_path: Path) -> None:
    mapping = overriding(tmp_path, '[contact]\nroles = "contact.Title"\n')
    found = assemble(mapping=mapping, contact=[{"ID": "c1", "Title": "Boss"}, {"ID": "c2", "Title": "reminder"}])
    assert [one.external_id for one in found.customers[0].contacts] == ["c2"]
    assert [(one.kind, one.key) for one in found.bad] == [("contact", "c1")]


# Reference facts


def test_the_administration_names_its_control_accounts_and_ibans() -> None:
    references = REFERENCES | {
        "journal": [{"ID": "j", "Code": "20", "Type": 12, "BankAccountIBAN": "NL91ABNA0417164300"}],
    }
    one = ExactAssembler(references, MAPPING, "100").administration()
    assert (one.name, one.currency, one.receivable_accounts) == ("Books", "EUR", ("1300",))
    assert one.ibans == ("NL91ABNA0417164300",)


def test_the_digest_follows_what_assembly_depends_on_and_nothing_else() -> None:
    def digest(**changed: list[Fields]) -> str:
        return ExactAssembler(REFERENCES | changed, MAPPING, "100").digest

    assert digest() == digest(epoch=[{"Since": "2026-01-01"}])
    assert digest() != digest(calibration=[{"Sign": 1}])
    assert digest() != digest(journal=[])


def test_money_taken_off_a_suspense_account_is_no_longer_waiting() -> None:
    def on(amount: str, day: str) -> Fields:
        return {"ID": day, "GLAccount": "s", "AmountDC": amount, "Date": day}

    assembler = ExactAssembler(REFERENCES, MAPPING, "100")
    lines = [on("-120.00", "2026-10-01"), on("-80.00", "2026-10-02"), on("120.00", "2026-10-05")]
    assert [(one.day, one.amount) for one in assembler.unprocessed(lines)] == [(date(2026, 10, 2), Decimal("80.00"))]


# Balances and signs (sheet 8.3, 8.4, 16.4, 16.5)


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


# Conservation

CENTS = st.integers(-500_00, 500_00).filter(bool).map(lambda cents: f"{Decimal(cents) / 100:.2f}")
TYPES = st.sampled_from(
    [(20, "70"), (21, "70"), (40, "20"), (40, "90"), (10, "90"), (82, "93"), (83, "93"), (90, "90")]
)
DAYS = st.sampled_from(["2026-09-01", "2026-10-01"])


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[list[Fields], list[Fields]]:
    """Items with any mixture of slices, naming each other at random; some lines not read yet."""
    lines: list[Fields] = []
    terms: list[Fields] = []
    for number in range(draw(st.integers(1, 8))):
        key = f"x{number}"
        type_, journal = draw(TYPES)
        slices = draw(st.lists(st.tuples(CENTS, st.sampled_from([20, 30, 50]), DAYS, DAYS), max_size=4))
        foreign = draw(st.booleans())
        total = sum((Decimal(part) for part, *_ in slices), ZERO)
        for position, (part, status, due, end) in enumerate(slices):
            names = draw(st.one_of(st.none(), st.integers(0, 8)))
            more: dict[str, Any] = {"DueDate": due, "EndDate": end, "TransactionType": type_, "Journal": journal}
            if names is not None:
                more["InvoiceNumber"] = names
            if foreign:
                more |= {"Currency": "USD", "AmountFC": str(-Decimal(part) * 2)}
            terms.append(term(key, part, status=status, key=f"t{number}-{position}", **more))
        if draw(st.booleans()):
            more = {"Currency": "USD", "AmountFC": str(total * 2)} if foreign else {}
            numbered = {"InvoiceNumber": draw(st.integers(0, 8)), "EntryNumber": number}
            lines.append(line(key, f"{total:.2f}", type_=type_, journal=journal, **numbered, **more))
    return lines, terms


@given(ledgers(), st.sampled_from([(), ("90",), ("70", "93")]))
def test_every_open_cent_is_in_a_record_or_left_out(
    ledger: tuple[list[Fields], list[Fields]], left_out: tuple[str, ...]
) -> None:
    """And whatever the rows, `total + settlements = open` holds, or the invoice could not have been built."""
    lines, terms = ledger
    mapping = Mapping(
        digest="",
        journals=type(MAPPING.journals)(frozenset(), frozenset(left_out)),
        leaves_out=MAPPING.leaves_out,
        sections=MAPPING.sections,
    )
    found = assemble(lines, terms, mapping=mapping)
    assert found.bad == []
    open_terms = -sum((Decimal(one["AmountDC"]) for one in terms if one["Status"] < 50), ZERO)
    owed = sum((one.base_open for one in found.invoices), ZERO)
    unallocated = sum((one.base_unallocated for one in found.payments), ZERO)
    assert owed - unallocated + found.left_out == open_terms
    again = assemble(lines, list(reversed(terms)), mapping=mapping)
    assert {one.external_id for one in again.invoices} == {one.external_id for one in found.invoices}


@given(ledgers())
def test_every_source_of_a_settlement_is_a_record(ledger: tuple[list[Fields], list[Fields]]) -> None:
    found = assemble(*ledger)
    known = {one.external_id for one in (*found.invoices, *found.payments)}
    named = {one.source for record in found.invoices for one in record.settlements if one.source is not None}
    assert named <= known
