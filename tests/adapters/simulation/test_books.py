"""The books: they balance, whatever is booked, matched, taken back, edited or deleted."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adapters.simulation import Administration, Bookkeeper, BookkeepingError, Books
from adapters.simulation.changes import Action, Subject
from adapters.simulation.ledger import AccountKind, Draft, EntryKind
from adapters.simulation.matching import Collection, Item, ItemKind
from adapters.simulation.relations import AddressKind, Customer
from tests.clocks import ManualClock


def books(*customers: str) -> Books:
    made = Books(seed=1, clock=ManualClock(), administration=Administration(1, "Test B.V."))
    for name in customers or ("Jansen B.V.",):
        add(made, name)
    return made


def add(made: Books, name: str) -> Customer:
    at = made.clock.now()
    customer = made.relations.add(
        name,
        condition=made.relations.conditions["30"],
        receivable=made.ledger.account(AccountKind.RECEIVABLE),
        at=at,
        email=f"{name.split(maxsplit=1)[0].lower()}@klant.example",
    )
    made.relations.add_address(
        customer,
        AddressKind.VISIT,
        street="Dorpsstraat 1",
        postcode="1011 AB",
        city="Amsterdam",
        country="NL",
        at=at,
    )
    account = made.relations.add_bank_account(customer, "NL91ABNA0417164300", "ABNANL2A", at)
    made.relations.add_mandate(account, "M1", date(2026, 1, 1), at)
    return customer


def only(made: Books) -> Customer:
    return next(iter(made.relations.customers.values()))


def amounts(*values: int) -> tuple[Decimal, ...]:
    return tuple(Decimal(value) for value in values)


def check(made: Books) -> None:
    """What always holds, however the books came about."""
    for entry in made.ledger.entries.values():
        assert sum(line.base for line in entry.lines) == 0
        assert sum(line.amount for line in entry.lines) == 0
    truth = made.truth()
    total = sum((Decimal(item["base_open"]) for item in truth["items"].values()), Decimal(0))
    assert total == Decimal(truth["receivable_balance"])
    assert Decimal(truth["unassigned_balance"]) == 0
    for item in made.matching.items.values():
        assert item.open == item.total - sum(match.part(item).amount for match in item.matches)
        assert item.base_open == item.line.base - sum(match.part(item).base for match in item.matches)
        assert item.total * item.open >= 0
        assert abs(item.open) <= abs(item.total)
        assert (item.id in made.matching.open) == bool(item.open or item.base_open)
        assert item.id in made.matching.of_customer[item.customer.id]
        assert item.customer.id in made.relations.customers
        assert item.line.id in made.ledger.lines
        for match in item.matches:
            assert sum(part.base for part in match.parts) == 0
            assert all(match in part.item.matches for part in match.parts)


def test_an_entry_that_does_not_balance_is_refused() -> None:
    made = books()
    drafts = [
        Draft(made.ledger.account(AccountKind.BANK), Decimal(10)),
        Draft(made.ledger.account(AccountKind.SUSPENSE), Decimal("-9.99")),
    ]
    before = made.changes.number
    with pytest.raises(BookkeepingError, match="does not balance"):
        made.ledger.post(made.ledger.journals["20"], EntryKind.CASH_FLOW, made.today, drafts, at=made.clock.now())
    assert made.changes.number == before
    assert not made.ledger.entries


def test_an_invoice_is_revenue_vat_and_a_debt() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal("100.01"), vat=21)
    amounts = {line.account.kind: line.base for line in item.line.entry.lines}
    assert amounts == {
        AccountKind.RECEIVABLE: Decimal("121.01"),
        AccountKind.REVENUE: Decimal("-100.01"),
        AccountKind.VAT: Decimal("-21.00"),
    }
    assert item.due_date == made.today + timedelta(days=30)
    assert made.documents.of_entry[item.line.entry.id].subject == f"Invoice: {item.number}"


def test_entry_numbers_count_per_journal_and_year() -> None:
    made = books()
    numbers = [
        made.sales.invoice(only(made), Decimal(1), on=on, journal=journal).number
        for on, journal in (
            (date(2025, 12, 31), "70"),
            (date(2026, 1, 1), "70"),
            (date(2026, 1, 1), "71"),
            (date(2026, 1, 2), "70"),
        )
    ]
    assert numbers == [25_000_001, 26_000_001, 26_000_001, 26_000_002]


def test_partial_full_and_lump_payments() -> None:
    made = books()
    customer = only(made)
    first, second = (made.sales.invoice(customer, Decimal(100), vat=0) for _ in range(2))
    made.cash.receive(customer, Decimal(40), of=[(first, Decimal(40))])
    assert first.open == 60
    lump = made.cash.receive(customer, Decimal(170), of=[(first, Decimal(60)), (second, Decimal(100))])
    assert (first.open, second.open, lump.open) == amounts(0, 0, -10)
    check(made)


def test_more_than_is_open_cannot_be_matched() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=0)
    with pytest.raises(BookkeepingError, match="is open"):
        made.cash.receive(item.customer, Decimal(200), of=[(item, Decimal(200))])


def test_a_match_stays_within_one_customer_and_currency() -> None:
    made = books("Jansen B.V.", "Bakker B.V.")
    jansen, bakker = made.relations.customers.values()
    item = made.sales.invoice(jansen, Decimal(100), vat=0)
    other = made.cash.receive(bakker, Decimal(100))
    dollars = made.sales.invoice(jansen, Decimal(-100), vat=0, currency="USD", rate=Decimal("0.9"))
    for credit in (other, dollars):
        slices = [(item, Decimal(100)), (credit, Decimal(-100))]
        with pytest.raises(BookkeepingError, match="one customer in one currency"):
            made.matching.match(slices, made.today, made.clock.now())
    with pytest.raises(BookkeepingError, match="come to nothing"):
        made.matching.match([(item, Decimal(100))], made.today, made.clock.now())


def test_a_rate_difference_is_booked_and_taken_back_with_its_match() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=0, currency="USD", rate=Decimal("0.90"))
    receipt = made.cash.receive(item.customer, Decimal(100), of=[(item, Decimal(100))], rate=Decimal("0.94"))
    [difference] = [one for one in made.matching.items.values() if one.kind is ItemKind.EXCHANGE_DIFFERENCE]
    assert (difference.total, difference.line.base) == amounts(0, 4)
    assert made.ledger.balance(AccountKind.EXCHANGE_DIFFERENCE) == -4
    check(made)
    made.corrections.unmatch(item.matches[0])
    assert difference.id not in made.matching.items
    assert (item.base_open, receipt.base_open) == amounts(90, -94)
    check(made)


def test_a_discount_is_part_of_the_receipt() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=0)
    made.cash.receive(item.customer, Decimal(98), of=[(item, Decimal(100))], discount=Decimal(2))
    assert item.open == 0
    assert made.ledger.balance(AccountKind.DISCOUNT) == 2
    assert made.ledger.balance(AccountKind.BANK) == 98
    check(made)


def test_a_credit_note_closes_what_is_open_and_keeps_the_rest() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=21)
    made.cash.receive(item.customer, Decimal(100), of=[(item, Decimal(100))])
    credit = made.sales.credit_note(item)
    assert (item.open, credit.total, credit.open) == amounts(0, -121, -100)
    refund = made.cash.refund(credit)
    assert (credit.open, refund.open) == amounts(0, 0)
    assert refund.kind is ItemKind.REFUND
    check(made)


def test_a_write_off_by_journal_reclaims_vat() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=21)
    made.cash.write_off(item, by_journal=True)
    assert made.ledger.balance(AccountKind.VAT) == 0
    assert made.ledger.balance(AccountKind.WRITE_OFF) == 100
    check(made)


def test_a_returned_debit_opens_the_invoice_again() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=0)
    assert made.cash.send_direct_debit([item]) == 1
    assert item.collection is Collection.SENT
    receipt = made.cash.collect(item)
    assert (item.open, receipt.open) == amounts(0, 0)
    refund = made.cash.return_direct_debit(item)
    assert refund is not None
    assert (item.open, receipt.open, refund.open) == amounts(100, 0, 0)
    check(made)


def test_deleting_a_receipt_opens_what_it_paid() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100), vat=0)
    receipt = made.cash.receive(item.customer, Decimal(100), of=[(item, Decimal(100))])
    made.corrections.delete_entry(receipt.line.entry)
    assert item.open == 100
    assert receipt.id not in made.matching.items
    made.corrections.delete_entry(item.line.entry)
    assert not made.matching.items
    assert not made.documents.documents
    check(made)


def test_edits_of_amount_customer_and_due_date() -> None:
    made = books("Jansen B.V.", "Bakker B.V.")
    jansen, bakker = made.relations.customers.values()
    item = made.sales.invoice(jansen, Decimal(100), vat=21)
    made.corrections.edit_amount(item, Decimal("60.50"))
    vat = next(line for line in item.line.entry.lines if line.account.kind is AccountKind.VAT)
    assert (item.open, vat.base) == (Decimal("60.50"), Decimal("-10.50"))
    made.corrections.edit_customer(item, bakker)
    assert {line.customer for line in item.line.entry.lines} == {bakker}
    made.corrections.edit_due_date(item, date(2027, 1, 1))
    assert item.due_date == item.line.entry.due_date == date(2027, 1, 1)
    check(made)
    made.cash.receive(bakker, Decimal(10), of=[(item, Decimal(10))])
    with pytest.raises(BookkeepingError, match="is matched"):
        made.corrections.edit_amount(item, Decimal(50))
    with pytest.raises(BookkeepingError, match="is matched"):
        made.corrections.edit_customer(item, jansen)


def test_merging_moves_everything_and_forgets_one() -> None:
    made = books("Jansen B.V.", "Bakker B.V.")
    jansen, bakker = made.relations.customers.values()
    item = made.sales.invoice(jansen, Decimal(100), vat=0)
    made.cash.receive(jansen, Decimal(40), of=[(item, Decimal(40))])
    with pytest.raises(BookkeepingError, match="has bookings"):
        made.corrections.delete_customer(jansen)
    made.corrections.merge_customers(jansen, bakker)
    assert list(made.relations.customers) == [bakker.id]
    assert {one.customer for one in made.matching.items.values()} == {bakker}
    assert made.documents.of_entry[item.line.entry.id].customer is bakker
    assert all(address.customer is bakker for address in made.relations.addresses.values())
    check(made)
    with pytest.raises(BookkeepingError, match="with itself"):
        made.corrections.merge_customers(bakker, bakker)


def test_the_truth_is_plain_and_names_ledger_lines() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100))
    receipt = made.cash.receive(item.customer, Decimal(21), of=[(item, Decimal(21))])
    truth = made.truth()
    shown = truth["items"][item.line.id]
    assert shown == {
        "customer": only(made).id,
        "number": str(item.number),
        "kind": "invoice",
        "currency": "EUR",
        "date": "2026-11-20",
        "due_date": "2026-12-20",
        "total": "121.00",
        "open": "100.00",
        "base_total": "121.00",
        "base_open": "100.00",
        "settled_by": [{"item": receipt.id, "kind": "receipt", "amount": "-21.00"}],
    }
    customer = truth["customers"][only(made).id]
    assert (customer["number"], customer["city"]) == ("10001", "Amsterdam")
    assert truth["receivable_balance"] == "100.00"


def test_a_line_without_a_customer_is_told_apart() -> None:
    made = books()
    made.sales.unassigned(Decimal("12.50"))
    truth = made.truth()
    assert (truth["receivable_balance"], truth["unassigned_balance"]) == ("0.00", "12.50")


def test_the_day_is_a_day_of_the_administrations_zone() -> None:
    made = books()
    made.clock = ManualClock(datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
    assert made.today == date(2026, 11, 21)


def test_changes_are_logged_in_order_and_say_whether_somebody_edited() -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(100))
    before = made.changes.number
    made.cash.receive(item.customer, Decimal(1), of=[(item, Decimal(1))])
    made.corrections.edit_due_date(item, date(2027, 1, 1))
    actions = [
        (change.subject, change.action)
        for change in made.changes.since(before)
        if change.target is item or change.target is item.line.entry
    ]
    assert actions == [
        (Subject.ITEM, Action.CHANGED),
        (Subject.ENTRY, Action.EDITED),
        (Subject.ITEM, Action.EDITED),
    ]


class Bookkeeping(RuleBasedStateMachine):
    """Any acts in any order leave books that add up."""

    def __init__(self) -> None:
        super().__init__()
        self.books = books("Jansen B.V.", "Bakker B.V.", "Visser")
        self.keeper = Bookkeeper(self.books, seed=3)

    @rule(name=st.sampled_from(Bookkeeper(books()).names))
    def act(self, name: str) -> None:
        before = self.books.changes.number
        try:
            done = self.keeper.perform(name)
        except BookkeepingError:
            assert self.books.changes.number == before  # a refusal leaves no trace
            return
        assert done.sentence
        assert self.books.changes.number > before

    @invariant()
    def the_books_add_up(self) -> None:
        check(self.books)


TestBookkeeping = Bookkeeping.TestCase


@given(
    st.lists(
        st.tuples(st.integers(1, 10**7), st.integers(1, 100), st.sampled_from(["0.91", "1.07", "1"])),
        min_size=1,
        max_size=6,
    )
)
def test_slices_of_foreign_items_leave_no_cents_behind(
    steps: list[tuple[int, int, str]],
) -> None:
    made = books()
    item = made.sales.invoice(only(made), Decimal(10**6), vat=0, currency="USD", rate=Decimal("0.93"))
    for amount, _, rate in steps:
        part = min(Decimal(amount) / 100, item.open)
        if part > 0:
            made.cash.receive(item.customer, part, of=[(item, part)], rate=Decimal(rate))
    if item.open > 0:
        made.cash.receive(item.customer, item.open, of=[(item, item.open)])
    assert (item.open, item.base_open) == amounts(0, 0)
    check(made)


def test_an_item_is_a_customers_line_on_a_control_account() -> None:
    made = books()
    entry = made.cash.suspense(Decimal(5))
    with pytest.raises(BookkeepingError, match="customer's line"):
        made.matching.add(entry.lines[0], ItemKind.RECEIPT, made.today, made.clock.now())
    assert isinstance(made.cash.allocate(entry, only(made)), Item)
    check(made)
