"""When the ledger is asked for its total, and for how long its answer stands."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from connector.domain.events import RECONCILED
from connector.domain.signals import ControlTotal
from connector.outcome import CycleReport
from connector.store.engine import open_store
from tests.memory_engine import Bench

QUARTER = timedelta(minutes=15).total_seconds()


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    store = open_store(store_url)
    bench = Bench(store)
    bench.books.customer("c1", "Bakker")
    bench.books.item("i1", "c1", "100.00", "100.00")
    yield bench
    store.close()


def total(report: CycleReport) -> ControlTotal:
    assert report.closing is not None
    assert report.closing.freshness.control_total is not None
    return report.closing.freshness.control_total


async def test_a_total_that_the_ledger_confirmed_stands_for_an_hour(bench: Bench) -> None:
    first = await bench.cycle()
    for _ in range(3):
        bench.clock.advance(QUARTER)
        assert total(await bench.cycle()) == total(first), "also that it was asked for then"
    assert bench.adapter.ledger_asked == 1
    assert len(bench.events(RECONCILED)) == 1, "nothing was compared"
    bench.clock.advance(QUARTER)
    assert total(await bench.cycle()).compared_at == bench.clock.now()
    assert len(bench.events(RECONCILED)) == 2


async def test_another_count_of_ours_is_compared_at_once(bench: Bench) -> None:
    await bench.cycle()
    bench.clock.advance(QUARTER)
    bench.books.item("i1", "c1", "100.00", "40.00")
    assert total(await bench.cycle()).ours == Decimal("40.00")
    assert bench.adapter.ledger_asked == 2


async def test_a_difference_is_looked_at_in_each_cycle_until_it_is_gone(bench: Bench) -> None:
    await bench.cycle()
    bench.clock.advance(4 * QUARTER)
    bench.adapter.ledger = Decimal("99.99")
    assert total(await bench.cycle()).difference == Decimal("-0.01")
    bench.clock.advance(QUARTER)
    assert total(await bench.cycle()).difference == Decimal("-0.01")
    bench.adapter.ledger = None
    bench.clock.advance(QUARTER)
    assert total(await bench.cycle()).difference == 0
    assert bench.adapter.ledger_asked == 4


@pytest.mark.parametrize(("seconds", "full"), [(QUARTER, True), (-QUARTER, False)])
async def test_a_full_read_and_a_clock_that_went_back_ask_again(bench: Bench, seconds: float, full: bool) -> None:
    await bench.cycle()
    bench.clock.advance(seconds)
    await bench.cycle(full=full)
    assert bench.adapter.ledger_asked == 2
