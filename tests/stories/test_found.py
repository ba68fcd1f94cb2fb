"""Small stories that the state machine of `test_convergence.py` told first, each on both databases."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.clocks import ManualClock
from tests.stories.world import DAY, HOUR, MINUTE, Town, World


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(town: Town, store_url: str, clock: ManualClock) -> Iterator[World]:
    world = World(town, store_url, seed=3, clock=clock)
    yield world
    world.close()


LINES, TERMS = "sync/Financial/TransactionLines", "sync/Cashflow/PaymentTerms"


@pytest.mark.parametrize(("endpoint", "field", "row"), [(LINES, "AmountDC", 0), (TERMS, "DueDate", 3)])
def test_a_row_spoilt_on_the_way_is_asked_for_again(
    world: World, clock: ManualClock, endpoint: str, field: str, row: int
) -> None:
    """Its feed has gone on, so nothing else would ever bring it back."""
    world.simulator.faults.add(endpoint, "bad_row", row=row, field=field)
    first = world.cycle()
    assert (first.outcome, first.closing and first.closing.blocking) == ("partial", ("1 items are in quarantine",))
    clock.advance(10 * MINUTE)
    assert world.cycle().outcome == "partial", "not in each cycle"
    clock.advance(HOUR)
    assert world.cycle().outcome == "ok"
    world.deliver()
    assert world.differences() == []


def test_a_bad_row_that_the_package_has_deleted_leaves_the_quarantine(world: World, clock: ManualClock) -> None:
    world.cycle()
    done = world.simulator.bookkeeper.perform("invoice")
    world.simulator.faults.add(LINES, "bad_row")
    assert world.cycle().outcome == "partial"
    world.simulator.bookkeeper.perform("delete_entry", item=done.ids[0])
    clock.advance(MINUTE)
    assert world.cycle().outcome == "ok"
    clock.advance(DAY)
    assert world.cycle().outcome == "ok"
    world.deliver()
    assert world.differences() == []


def test_an_invoice_booked_after_an_empty_open_set_was_read_is_not_turned_around(town: Town, store_url: str) -> None:
    """Nothing was open, so nothing had said with which sign this division writes its open amounts."""
    world = World(town, store_url, seed=957, invoices=8, switches={"receivable_sign": 1})
    try:
        for key, item in world.simulator.books.truth()["items"].items():
            if item["open"] != "0.00":
                world.book("delete_entry", item=key)
        assert world.simulator.books.truth()["receivable_balance"] == "0.00"
        world.town.package.after(9, partial(world.book, "invoice"))
        report = world.cycle()
        world.deliver()
        assert world.differences() == []
        assert report.outcome == "ok"
    finally:
        world.close()
