"""Small stories that the state machine of `test_convergence.py` told first, each on both databases."""

from collections.abc import Iterator

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
