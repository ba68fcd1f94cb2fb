"""Rows become records: sums, kinds and statuses, customers. Pure; no package answers here."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.snelstart.adapter import PACKAGE
from adapters.snelstart.assemble import SnelAssembler
from adapters.snelstart.customers import UNKNOWN_TAG
from adapters.snelstart.rows import UNASSIGNED
from adapters.snelstart.settle import Hints, Line, settle
from connector.adapter import Assembled, Fields
from connector.domain.money import ZERO
from connector.domain.records import Customer, Invoice
from connector.mapping import compile_mapping

MAPPING = compile_mapping(resources.files("mappings") / "snelstart.toml", sources=PACKAGE.sources)
REFERENCES: Mapping[str, Sequence[Fields]] = {
    "company": [{"administratieIdentifier": "adm", "bedrijfsnaam": "Wij", "factuurAlsBijlageVerkoopboeking": True}],
    "journal": [
        {"id": "bank", "nummer": 1100, "soort": "Bank", "omschrijving": "ING"},
        {"id": "kas", "nummer": 1000, "soort": "Kas"},
        {"id": "oud", "nummer": 1101, "soort": "Bank", "nonactief": True},
        {"id": "memo", "nummer": 1990, "soort": "Memoriaal"},
    ],
    "ledger": [{"id": "ar", "nummer": 1300, "grootboekfunctie": "DagboekVerkoop"}],
    "country": [{"id": "land", "landcode": "NL"}],
}
cents = st.integers(-10_000_00, 10_000_00).map(lambda amount: Decimal(amount) / 100)


def relation(**more: Any) -> Fields:
    return {"id": "r", "relatiecode": 7, "relatiesoort": ["Klant"], "naam": "Bakker", **more}


def sold(key: str = "f", total: str = "100.00", open_: str = "0.00", **more: Any) -> Fields:
    plain = {"id": key, "relatie": "r", "verkoopBoeking": f"b-{key}", "factuurnummer": f"n-{key}",
             "vervalDatum": "2026-11-30", "factuurBedrag": total, "openstaandSaldo": open_}  # fmt: skip
    return {name: value for name, value in (plain | more).items() if value is not None}


def paid(booking: str, moved: str, key: str = "f", of: int = 1, **more: Any) -> Fields:
    plain = {"booking": booking, "sale": f"b-{key}", "bedrag": moved, "of": of}
    return plain | {"datum": "2026-11-10", "dagboek": "bank", "boekstuk": "12"} | more


def memorial(moved: str, key: str = "f", **more: Any) -> Fields:
    plain = {"id": f"m-{key}-{moved}", "grootboek": "ar", "dagboek": "memo", "boekstuk": "5", "datum": "2026-11-12"}
    return plain | {"saldo": moved, "factuurNummer": f"n-{key}"} | more


def assembled(group: str = "r", **rows: Sequence[Fields]) -> Assembled:
    assembler = SnelAssembler(REFERENCES, MAPPING, "adm")
    return assembler.assemble(group, {"relation": [relation()]} | rows)


def one(**rows: Sequence[Fields]) -> Invoice:
    result = assembled(**rows)
    assert result.bad == []
    return next(invoice for invoice in result.invoices if invoice.external_id == "f")


def customer(**fields: Any) -> Customer:
    result = assembled(relation=[relation(**fields)], invoice=[sold()])
    assert result.bad == []
    return result.customers[0]


# Sums (sheet 5.4, 13.1)


@given(cents, cents, st.lists(cents, max_size=5), st.lists(cents, max_size=3))
def test_settlements_add_up_to_the_cent(
    total: Decimal, open_: Decimal, moved: list[Decimal], hinted: list[Decimal]
) -> None:
    lines = [Line({"datum": "2026-11-10"}, amount, str(at)) for at, amount in enumerate(moved)]
    hints = Hints([memorial(str(amount), id=str(at)) for at, amount in enumerate(hinted)], [sold()])
    found = settle("n-f", total, open_, lines, hints)
    assert total + sum((part.amount for part in found), ZERO) == open_
    assert all(part.amount for part in found)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("fgh"), cents), max_size=8))
def test_a_payment_is_what_its_booking_put_on_the_invoices(lines: list[tuple[str, str, Decimal]]) -> None:
    """Whatever the lines are, payments and the settlements that name them come to the same."""
    found = {(booking, key): amount for booking, key, amount in lines}
    rows = [
        paid(booking, f"{amount:.2f}", key, of=sum(other == booking for other, _ in found))
        for (booking, key), amount in found.items()
    ]
    result = assembled(invoice=[sold("f"), sold("g"), sold("h")], bankline=rows)
    assert result.bad == []
    for payment in result.payments:
        settled = [part.amount for item in result.invoices for part in item.settlements
                   if part.source == payment.external_id]  # fmt: skip
        assert sum(settled, ZERO) == -payment.amount


def test_credit_lowers_and_debet_raises() -> None:
    found = one(invoice=[sold(open_="60.00")], bankline=[paid("x", "-100.00"), paid("y", "60.00")])
    assert [(part.kind, part.amount, part.source) for part in found.settlements] == [
        ("payment", Decimal("-100.00"), "x"),
        ("payment", Decimal("60.00"), "y"),
    ]


def test_what_nothing_explains_is_unknown_and_has_no_day() -> None:
    found = one(invoice=[sold()], bankline=[paid("x", "-40.00")])
    assert [(part.kind, part.amount, part.settled_on) for part in found.settlements] == [
        ("payment", Decimal("-40.00"), date(2026, 11, 10)),
        ("unknown", Decimal("-60.00"), None),
    ]
    assert (found.payment_status, found.settled_on) == ("settled", None)


def test_a_set_off_names_the_other_invoice_of_the_voucher() -> None:
    rows = [memorial("-100.00"), memorial("100.00", "c")]
    found = one(invoice=[sold(), sold("c", "-100.00")], memorial=rows)
    assert [(part.kind, part.source, part.derived) for part in found.settlements] == [("set_off", "c", True)]
    assert found.settled_on == date(2026, 11, 12)


def test_a_memorial_that_sets_nothing_off_stays_unknown_with_its_day() -> None:
    found = one(invoice=[sold()], memorial=[memorial("-100.00")])
    assert [(part.kind, part.settled_on) for part in found.settlements] == [("unknown", date(2026, 11, 12))]


def test_a_hint_that_does_not_fit_to_the_cent_is_no_hint() -> None:
    found = one(invoice=[sold()], memorial=[memorial("-99.99")])
    assert [(part.kind, part.amount, part.settled_on) for part in found.settlements] == [
        ("unknown", Decimal("-100.00"), None)
    ]


def test_a_number_that_two_invoices_bear_names_neither() -> None:
    twin = sold("g", factuurnummer="n-f")
    found = one(invoice=[sold(), twin], memorial=[memorial("-100.00")])
    assert [part.settled_on for part in found.settlements] == [None]


def test_a_booking_of_several_relations_is_a_payment_of_each() -> None:
    whole = assembled(invoice=[sold()], bankline=[paid("x", "-100.00", of=1)])
    part = assembled(invoice=[sold()], bankline=[paid("x", "-100.00", of=2)])
    assert [payment.external_id for payment in whole.payments] == ["x"]
    assert [payment.external_id for payment in part.payments] == ["x/r"]


def test_a_line_of_a_sale_without_an_invoice_says_nothing() -> None:
    assert assembled(bankline=[paid("x", "-100.00", "gone")]).payments == []


# Kinds and statuses (sheet 7, 10.1, 13.5, 13.6)


@pytest.mark.parametrize(
    ("total", "open_", "lines", "status"),
    [
        ("100.00", "0.00", [paid("x", "-100.00")], "paid"),
        ("100.00", "0.00", [], "settled"),
        ("100.00", "-0.02", [paid("x", "-100.02")], "paid"),  # cents too much
        ("-100.00", "5.00", [], "settled"),
        ("100.00", "40.00", [paid("x", "-60.00")], "partly_paid"),
        ("100.00", "100.00", [], "open"),
        ("100.00", "120.00", [paid("x", "20.00")], "open"),  # above the total
        ("-100.00", "-40.00", [], "partly_paid"),
        ("-100.00", "-100.00", [], "open"),
    ],
)
def test_the_status_follows_the_signs(total: str, open_: str, lines: list[Fields], status: str) -> None:
    assert one(invoice=[sold(total=total, open_=open_)], bankline=lines).payment_status == status


def test_credit_notes_are_below_zero_and_what_has_no_booking_was_open_before() -> None:
    assert one(invoice=[sold(total="-10.00", open_="-10.00")]).kind == "credit_note"
    assert one(invoice=[sold(open_="-1.00")]).kind == "invoice"
    assert one(invoice=[sold(verkoopBoeking=None)]).kind == "opening_balance"


def test_money_in_a_cash_book_is_cash_and_money_that_goes_out_a_refund() -> None:
    rows = [paid("x", "-100.00", dagboek="kas"), paid("y", "30.00"), paid("z", "0.00")]
    kinds = {payment.external_id: payment.kind for payment in assembled(invoice=[sold()], bankline=rows).payments}
    assert kinds == {"x": "cash", "y": "refund", "z": "set_off"}


def test_an_amount_finer_than_a_cent_sets_one_invoice_aside() -> None:
    result = assembled(invoice=[sold(total="0.005", open_="0.00"), sold("g")])
    assert [bad.key for bad in result.bad] == ["f"]
    assert [invoice.external_id for invoice in result.invoices] == ["g"]


def test_what_names_no_relation_is_left_out_and_counted() -> None:
    result = assembled(UNASSIGNED, relation=[], invoice=[sold(open_="12.50")])
    assert (result.invoices, result.left_out) == ([], Decimal("12.50"))


def test_an_invoice_of_a_relation_that_cannot_be_read_is_not_hidden() -> None:
    result = assembled(relation=[], invoice=[sold(open_="12.50")])
    assert [(invoice.customer, invoice.open) for invoice in result.invoices] == [("r", Decimal("12.50"))]


# Customers (sheet 5.1, 13.15)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, True),
        ({"relatiesoort": ["Leverancier"]}, False),
        ({"relatiesoort": ["Eigen"], "relatiecode": 1}, False),
        ({"relatiecode": -2}, False),
        ({"nonactief": True}, False),
    ],
)
def test_who_is_a_customer_without_an_invoice(fields: Fields, shown: bool) -> None:
    assert bool(assembled(relation=[relation(**fields)]).customers) is shown


@pytest.mark.parametrize("fields", [{"relatiesoort": ["Leverancier"]}, {"nonactief": True}])
def test_whoever_has_an_invoice_is_a_customer(fields: Fields) -> None:
    assert customer(**fields).active is not fields.get("nonactief", False)


def test_the_unknown_customer_is_kept_and_flagged() -> None:
    found = customer(relatiecode=-2, naam="Klant onbekend")
    assert (found.tags, found.dunning_block) == ((UNKNOWN_TAG,), True)


def test_each_set_of_addresses_is_a_contact_with_its_roles() -> None:
    found = customer(
        email="a@x.nl; b@x.nl ;",
        factuurEmailVersturen={"email": "a@x.nl;b@x.nl"},
        aanmaningEmailVersturen={"email": "dun@x.nl", "ccEmail": "cc@x.nl;dd@x.nl"},
    )
    assert found.email == "a@x.nl"
    assert [(one.roles, one.email, one.cc) for one in found.contacts] == [
        (("reminder",), "dun@x.nl", ("cc@x.nl", "dd@x.nl")),
        (("invoicing", "general"), "a@x.nl", ("b@x.nl",)),
    ]


@pytest.mark.parametrize(
    ("fields", "party", "basis"),
    [
        ({"aanmaningsoort": "Consument", "kvkNummer": "1"}, "consumer", "source_flag"),
        ({"aanmaningsoort": "Onderneming"}, "business", "source_flag"),
        ({"aanmaningsoort": "Nee", "kvkNummer": "1"}, "business", "registration_no"),
        ({"aanmaningsoort": "Nee", "btwNummer": "NL1"}, "business", "vat_no"),
        ({}, "unknown", None),
    ],
)
def test_the_reminder_class_says_who_is_a_consumer(fields: Fields, party: str, basis: str | None) -> None:
    found = customer(**fields)
    assert (found.party_type, found.party_type_basis) == (party, basis)
    assert found.reminder_profile == fields.get("aanmaningsoort")
    assert not found.dunning_block


def test_invoices_to_another_relation_are_that_debtors() -> None:
    result = assembled(relation=[relation(factuurRelatie="other")], invoice=[sold()])
    assert (result.customers[0].debtor, result.invoices[0].debtor) == ("other", "other")
    assert customer(factuurRelatie="r").debtor is None


def test_terms_limits_accounts_mandates_and_addresses_come_along() -> None:
    fields = relation(
        krediettermijn=14, kredietLimiet="0.00", incassoSoort="Core", iban="NL02ABNA0123456789", bic="ABNANL2A",
        vestigingsAdres={"straat": "Kade 1", "postcode": "1011 AB", "plaats": "Amsterdam", "land": "land"},
        correspondentieAdres={"contactpersoon": "only a name"},
    )  # fmt: skip
    mandates = [{"relation": "r", "mandates": [{"id": "m", "kenmerk": "K1", "afsluitDatum": "2025-01-02"}]}]
    found = assembled(relation=[fields], mandates=mandates).customers[0]
    assert found.terms is not None
    assert (found.terms.days, found.terms.method, found.credit_limit) == (14, "direct_debit", None)
    assert [(one.iban, one.bic, one.main) for one in found.bank_accounts] == [("NL02ABNA0123456789", "ABNANL2A", True)]
    assert [(one.external_id, one.reference, one.scheme, one.signed_on) for one in found.mandates] == [
        ("m", "K1", "core", date(2025, 1, 2))
    ]
    assert [(one.role, one.lines, one.country) for one in found.addresses] == [("visiting", ("Kade 1",), "NL")]


# The administration


def test_inactive_journals_hold_nothing_back_and_a_cash_book_neither() -> None:
    banks = SnelAssembler(REFERENCES, MAPPING, "adm").banks()
    assert {key: (bank.journal, bank.name, bank.blocks) for key, bank in banks.items()} == {
        "bank/bank": ("1100", "ING", True),
        "bank/kas": ("1000", "", False),
    }


def test_what_waits_on_unknown_payments_is_cancelled_by_its_opposite() -> None:
    lines = [
        {"id": str(at), "grootboek": "s", "datum": f"2026-11-{10 + at}", "saldo": saldo}
        for at, saldo in enumerate(["-50.00", "-20.00", "50.00", "0.00"])
    ]
    waiting = SnelAssembler(REFERENCES, MAPPING, "adm").unprocessed(lines)
    assert [(one.day, one.amount) for one in waiting] == [(date(2026, 11, 11), Decimal("20.00"))]
