"""The bookkeeper: acts by name, each with a sentence for people."""

from datetime import date
from decimal import Decimal
from random import Random

import pytest

from adapters.simulation import Administration, Bookkeeper, BookkeepingError, Books, Done, generate
from adapters.simulation.choices import Choices
from tests.clocks import ManualClock

TODAY = date(2026, 11, 20)


@pytest.fixture
def books() -> Books:
    made = generate(seed=4, customers=40, invoices=300, today=TODAY)
    made.clock = ManualClock()
    return made


def test_every_act_is_possible_in_grown_books(books: Books) -> None:
    keeper = Bookkeeper(books, seed=1)
    keeper.perform("pay_suspense")
    keeper.perform("new_customer")
    order = ["delete_customer", *(name for name in keeper.names if name != "delete_customer")]
    for name in order:
        if name in {"direct_debit_collect", "direct_debit_return"}:
            keeper.perform("direct_debit_send")
        done = keeper.perform(name)
        assert len(done.sentence) > 10, name
    assert books.truth()["unassigned_balance"] == "0.00"


def test_the_sentence_says_who_and_how_much(books: Books) -> None:
    keeper = Bookkeeper(books)
    customer = next(iter(books.relations.customers.values()))
    item = keeper.perform("invoice", customer=customer.id, amount="1000").ids[0]
    done = keeper.perform("pay_partly", item=item, amount="210")
    number = books.matching.items[item].number
    assert done.sentence == (
        f"{customer.name} paid {customer_currency(books, item)} 210.00 of {number}; "
        f"{customer_currency(books, item)} 1,000.00 stays open"
    )
    assert done.ids[0] == item


def customer_currency(books: Books, item: str) -> str:
    return books.matching.items[item].line.entry.currency


def test_the_same_seed_does_the_same(books: Books) -> None:
    other = generate(seed=4, customers=40, invoices=300, today=TODAY)
    other.clock = ManualClock()
    for made in (books, other):
        keeper = Bookkeeper(made, seed=9)
        rng = Random(2)
        for _ in range(40):
            keeper.random_action(rng)
    assert books.truth() == other.truth()


def test_back_dating_books_now_what_is_dated_then(books: Books) -> None:
    item = books.matching.items[Bookkeeper(books).perform("back_date_invoice", days=60).ids[0]]
    assert item.line.entry.on == date(2026, 9, 21)
    assert item.line.entry.created == books.clock.now()


@pytest.mark.parametrize(
    ("name", "args", "why"),
    [
        ("embezzle", {}, "no act"),
        ("pay", {"item": "nobody"}, "no item"),
        ("pay", {"colour": "red"}, "unexpected keyword"),
        ("invoice", {"customer": "nobody"}, "no customer"),
        ("pay_partly", {"amount": "99999999"}, "not a part"),
        ("invoice", {"amount": "a lot"}, "not an amount"),
        ("back_date_invoice", {"days": "many"}, "unsupported type"),
    ],
)
def test_what_cannot_be_done_is_refused(books: Books, name: str, args: dict[str, str], why: str) -> None:
    before = books.changes.number
    with pytest.raises(BookkeepingError, match=why):
        Bookkeeper(books).perform(name, **args)
    assert books.changes.number == before


def test_empty_books_allow_little() -> None:
    empty = Books(seed=1, clock=ManualClock(), administration=Administration(1, "Leeg B.V."))
    keeper = Bookkeeper(empty)
    with pytest.raises(BookkeepingError, match="no item fits"):
        keeper.perform("pay")
    assert keeper.random_action().sentence
    assert empty.receivable_balance == Decimal(0)


class Whistling:
    """A repertoire of one act that leaves the books alone."""

    def __init__(self, books: Books, choose: Choices) -> None:
        self._books = books

    def whistle(self, tune: str = "Wilhelmus") -> Done:
        return Done(f"whistled {tune}", ())


def test_a_repertoire_is_fitted_to_a_package(books: Books) -> None:
    keeper = Bookkeeper(books, without=frozenset({"invoice_in_dollars"}), more=(Whistling,))
    assert "invoice_in_dollars" not in keeper.names
    assert keeper.perform("whistle").sentence == "whistled Wilhelmus"
    with pytest.raises(BookkeepingError, match="no act 'invoice_in_dollars'"):
        keeper.perform("invoice_in_dollars")
    customer = keeper.perform("rename_customer", name="Nieuwe Naam").ids[0]
    assert books.relations.customers[customer].name == "Nieuwe Naam"
