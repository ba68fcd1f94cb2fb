"""Assembly: from the rows of one account to records that add up (sheet 8, 16)."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exactonline.assemble import ExactAssembler
from connector.adapter import Fields
from connector.domain.money import ZERO
from connector.mapping import Mapping
from tests.adapters.exactonline.ledger import MAPPING, REFERENCES, assemble, invoice, line, payment, settlements, term

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
