"""Assembly: customers and what belongs to them, documents, and what is left out or bad."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from adapters.exactonline.assemble import ExactAssembler
from connector.adapter import Fields
from tests.adapters.exactonline.ledger import (
    ACCOUNT,
    MAPPING,
    REFERENCES,
    assemble,
    invoice,
    line,
    overriding,
    payment,
    term,
)


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
