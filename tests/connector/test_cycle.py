"""The engine against a package that lives in memory: pages, assembly, evidence, outcomes."""

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from connector.adapter import BadRow
from connector.errors import NeedsReconnect, PermissionLost, SourceDown
from connector.store import connections, feeds, quarantine, records
from connector.store.engine import open_store
from connector.store.tables import OutboxRow, SettlementRow
from tests.memory_engine import Bench


@pytest.fixture
def bench(store_url: str) -> Any:
    store = open_store(store_url)
    bench = Bench(store)
    bench.books.customer("c1", "Bakker")
    bench.books.customer("c2", "Slager")
    for number in range(1, 8):
        bench.books.item(f"i{number}", "c1" if number % 2 else "c2", "100.00", "100.00" if number < 6 else "0")
    yield bench
    store.close()


async def test_first_cycle_brings_everything_once(bench: Bench) -> None:
    report = await bench.cycle()
    assert (report.outcome, report.error) == ("ok", None)
    assert {key: row[:2] for key, row in bench.invoices().items()} == {
        f"i{number}": (10000 if number < 6 else 0, 1) for number in range(1, 8)
    }
    figures = records.figures(bench.store, 1)
    assert (figures.customers, figures.invoices, figures.open_invoices) == (2, 7, 5)
    assert figures.open == {"EUR": Decimal("500.00")}
    assert [version for _, _, version in bench.record_events()] == [1] * 9


async def test_open_items_and_their_customers_come_before_history(bench: Bench) -> None:
    await bench.cycle()
    order = [external_id for _, external_id, _ in bench.record_events()]
    assert set(order[:7]) == {"c1", "c2", "i1", "i2", "i3", "i4", "i5"}
    assert order.index("c1") < order.index("i1")
    assert ("customer", ("c1", "c2")) in bench.adapter.looked_up


async def test_second_cycle_without_changes_writes_no_record_event(bench: Bench) -> None:
    await bench.cycle()
    before = bench.record_events()
    report = await bench.cycle()
    assert report.outcome == "ok"
    assert bench.record_events() == before
    assert report.tally.created == report.tally.changed == report.tally.removed == 0


async def test_full_read_without_changes_writes_no_record_event(bench: Bench) -> None:
    await bench.cycle()
    before = bench.record_events()
    await bench.cycle(full=True)
    assert bench.adapter.read_from.count(("items", None)) == 2
    assert bench.record_events() == before


async def test_payment_raises_the_version_and_tells_what_changed(bench: Bench) -> None:
    await bench.cycle()
    bench.books.item("i1", "c1", "100.00", "25.00")
    await bench.cycle()
    assert bench.invoices()["i1"] == (2500, 2, False)
    with bench.store.read() as connection:
        body = connection.execute(
            sa.select(OutboxRow.__table__.c.body).where(
                OutboxRow.__table__.c.external_id == "i1", OutboxRow.__table__.c.entity_version == 2
            )
        ).scalar_one()
        settlements = connection.execute(sa.select(SettlementRow.__table__.c.amount_minor)).scalars().all()
    meta = msgspec.json.decode(body)["data"]["meta"]
    assert meta["changed_fields"] == ["base_open", "open", "settlements"]
    assert sorted(settlements) == [-10000, -10000, -7500]


async def test_item_that_left_the_open_set_unseen_by_any_feed_is_looked_up(bench: Bench) -> None:
    await bench.cycle()
    bench.books.delete("i2", logged=False)
    report = await bench.cycle()
    assert ("item", ("i2",)) in bench.adapter.looked_up
    assert bench.invoices()["i2"][1:] == (2, True)
    assert ("ar.invoice.removed.v1", "i2", 2) in bench.record_events()
    assert report.outcome == "ok"


async def test_absence_from_a_sweep_is_no_payment_and_no_deletion(bench: Bench) -> None:
    await bench.cycle()
    before = bench.record_events()
    bench.adapter.hidden = {"i1", "i3"}
    await bench.cycle()
    assert ("item", ("i1", "i3")) in bench.adapter.looked_up
    assert bench.record_events() == before


async def test_where_two_sweeps_must_lack_an_item_one_look_up_that_fails_removes_nothing(bench: Bench) -> None:
    bench.adapter.twice = True
    await bench.cycle()
    bench.books.delete("i2", logged=False)
    await bench.cycle()
    assert bench.adapter.looked_up[-1] == ("item", ("i2",))
    assert bench.invoices()["i2"][1:] == (1, False)
    report = await bench.cycle()
    assert bench.invoices()["i2"][1:] == (2, True)
    assert (report.outcome, report.error) == ("ok", None)


async def test_where_two_sweeps_must_lack_an_item_coming_back_in_between_starts_the_count_anew(bench: Bench) -> None:
    bench.adapter.twice = True
    await bench.cycle()
    for hidden in ({"i2"}, set(), {"i2"}):
        bench.adapter.hidden, bench.adapter.blind = hidden, True
        await bench.cycle()
    assert bench.invoices()["i2"][1:] == (1, False)
    await bench.cycle()
    assert bench.invoices()["i2"][1:] == (2, True)


async def test_an_adapter_may_ask_what_is_stored(bench: Bench) -> None:
    await bench.cycle()
    stored = bench.adapter.stored
    assert stored is not None
    assert await stored.rows("customer", {"c1", "nobody"}) == {"c1": {"id": "c1", "name": "Bakker"}}
    assert sorted(await stored.groups(["c1"])) == ["c1"]
    assert await stored.open_groups("item") == ["c1", "c2"]
    assert await stored.parts("item", ["i"]) == {}
    assert await stored.count("item") == 7


async def test_mass_disappearance_is_held_until_a_person_accepts_it(bench: Bench) -> None:
    for number in range(100, 200):
        bench.books.item(f"i{number}", "c1", "10.00", "10.00")
    await bench.cycle()
    before = bench.invoices()
    bench.adapter.hidden = set(bench.books.items)
    bench.adapter.blind = True
    report = await bench.cycle()
    assert report.outcome == "partial"
    assert "105 of 105 items" in str(report.error)
    assert "--accept-removals" in str(report.error)
    assert bench.invoices() == before
    bench.clock.advance(3700)
    await bench.cycle(accept_removals=True)
    assert sum(removed for _, _, removed in bench.invoices().values()) == 105


async def test_deletion_feed_removes_and_a_newer_incarnation_survives(bench: Bench) -> None:
    await bench.cycle()
    bench.books.delete("i3")
    bench.books.item("i3", "c1", "80.00", "80.00")
    await bench.cycle()
    assert bench.invoices()["i3"] == (8000, 2, False)
    bench.books.delete("i3")
    await bench.cycle()
    assert bench.invoices()["i3"] == (8000, 3, True)
    bench.books.item("i3", "c1", "70.00", "70.00")
    await bench.cycle()
    assert bench.invoices()["i3"] == (7000, 4, False)


async def test_item_that_moves_to_another_customer_keeps_its_identity(bench: Bench) -> None:
    await bench.cycle()
    bench.books.item("i1", "c2", "100.00", "100.00")
    await bench.cycle()
    assert bench.invoices()["i1"] == (10000, 2, False)
    assert ("ar.invoice.removed.v1", "i1", 2) not in bench.record_events()


async def test_another_scope_starts_over_without_an_event(bench: Bench) -> None:
    await bench.cycle()
    before = bench.record_events()
    bench.adapter.scope = "moved"
    bench.books.changes = [(number, kind, key) for number, (_, kind, key) in enumerate(bench.books.changes, start=1)]
    await bench.cycle()
    assert bench.adapter.read_from.count(("items", None)) == 2
    assert bench.record_events() == before


async def test_changed_mapping_assembles_anew_without_reading_and_sends_only_real_differences(bench: Bench) -> None:
    await bench.cycle()
    before = bench.record_events()
    bench.mapping = SimpleNamespace(digest="mapping-2")
    report = await bench.cycle()
    assert report.tally.groups == 2
    assert bench.record_events() == before


async def test_wrong_administration_is_refused_before_anything_is_read(bench: Bench) -> None:
    bench.adapter.administration = "books-2"
    report = await bench.cycle()
    assert report.outcome == "stopped"
    assert "books-2" in str(report.error)
    assert bench.adapter.read_from == []
    assert bench.record_events() == []


async def test_one_refused_feed_does_not_stop_the_others_and_is_not_asked_again_at_once(bench: Bench) -> None:
    bench.adapter.broken["customers"] = PermissionLost("no right to customers", where="feed customers", fix="ask")
    report = await bench.cycle()
    assert report.outcome == "partial"
    assert [feed.name for feed in report.feeds if feed.status == "failed"] == ["customers"]
    assert len(bench.invoices()) == 7
    assert report.closing is not None
    assert report.closing.freshness.dunning_safe_as_of is None
    again = await bench.cycle()
    assert again.outcome == "partial"
    assert bench.adapter.read_from.count(("customers", None)) == 1
    del bench.adapter.broken["customers"]
    bench.clock.advance(3700)
    assert (await bench.cycle()).outcome == "ok"


async def test_source_down_keeps_everything_and_backs_off(bench: Bench) -> None:
    await bench.cycle()
    bench.adapter.broken["items"] = SourceDown("the package is away")
    waits = []
    for _ in range(3):
        report = await bench.cycle()
        assert report.outcome == "unavailable"
        due = connections.find(bench.store, "acme").next_due_at
        assert due is not None
        waits.append((due - bench.clock.now()).total_seconds())
    assert [round(wait / 60) for wait in waits] == [1, 2, 5]
    assert len(bench.invoices()) == 7


async def test_needing_a_person_is_an_outcome_of_its_own(bench: Bench) -> None:
    bench.adapter.broken["open"] = NeedsReconnect("sign in again")
    report = await bench.cycle()
    assert (report.outcome, report.exit_code) == ("needs_reconnect", 3)


async def test_bug_in_one_cycle_ends_normally_and_waits_a_quarter_of_an_hour(bench: Bench) -> None:
    bench.adapter.broken["items"] = ZeroDivisionError("oops")
    report = await bench.cycle()
    assert (report.outcome, report.exit_code) == ("bug", 1)
    due = connections.find(bench.store, "acme").next_due_at
    assert due is not None
    assert due - bench.clock.now() >= timedelta(minutes=13)


async def test_few_bad_rows_are_quarantined_and_cured_later(bench: Bench) -> None:
    bench.adapter.bad = [BadRow(kind="item", key="i99", reason="amount is no number", payload={"total": "abc"})]
    report = await bench.cycle()
    assert report.outcome == "partial"
    assert quarantine.newest(bench.store, 1, 9).count == 1
    bench.adapter.bad = []
    bench.books.item("i99", "c1", "10.00", "10.00")
    assert (await bench.cycle()).outcome == "ok"
    assert quarantine.newest(bench.store, 1, 9).count == 0


async def test_many_bad_rows_are_drift_and_nothing_of_the_page_is_kept(bench: Bench) -> None:
    bench.adapter.bad = [BadRow(kind="item", key=f"x{n}", reason="retyped", payload=None) for n in range(30)]
    report = await bench.cycle()
    assert report.outcome == "partial"
    assert quarantine.newest(bench.store, 1, 9).count == 0
    with bench.store.read() as connection:
        assert feeds.states(connection, 1)["items"].cursor is None


async def test_difference_with_the_ledger_blocks_dunning_and_is_checked_again_soon(bench: Bench) -> None:
    bench.adapter.ledger = Decimal("499.99")
    report = await bench.cycle()
    assert report.outcome == "partial"
    assert report.closing is not None
    assert report.closing.freshness.control_total.difference == Decimal("-0.01")
    assert "differ by -0.01" in report.closing.freshness.blocking[0]
    due = connections.find(bench.store, "acme").next_due_at
    assert due is not None
    assert due - bench.clock.now() < timedelta(minutes=2)


async def test_stale_holder_commits_nothing(bench: Bench) -> None:
    stale = bench.prepare()

    async def take_over() -> None:
        bench.clock.advance(600)
        connections.claim(bench.store, 1, owner="other", now=bench.clock.now(), ttl=timedelta(minutes=2))

    original = bench.adapter.identify

    async def identify() -> Any:
        await take_over()
        return await original()

    bench.adapter.identify = identify  # type: ignore[method-assign]  # the moment at which the other one comes
    report = await stale.run()
    assert report.outcome == "unavailable"
    assert "took over" in str(report.error)
    assert bench.record_events() == []
    assert connections.find(bench.store, "acme").outcome == ""


async def test_two_cycles_at_once_are_one(bench: Bench) -> None:
    connections.claim(bench.store, 1, owner="other", now=bench.clock.now(), ttl=timedelta(minutes=2))
    report = await bench.cycle()
    assert (report.outcome, report.exit_code) == ("unavailable", 5)
    assert bench.adapter.read_from == []


async def test_asked_to_stop_it_ends_after_the_page_and_goes_on_there(bench: Bench) -> None:
    cycle = bench.prepare()
    pages = []

    def stop_in_items(report: Any) -> None:
        pages.append(report.name)
        if report.name == "items":
            cycle.stop.set()

    cycle.progress.page = stop_in_items
    assert (await cycle.run()).outcome == "interrupted"
    assert pages.count("items") == 1
    bench.adapter.read_from.clear()
    report = await bench.cycle()
    assert report.outcome == "ok"
    cursor = dict(bench.adapter.read_from)["items"]
    assert cursor is not None
    assert len(bench.invoices()) == 7


async def test_barriers_close_the_cycle(bench: Bench) -> None:
    await bench.cycle()
    assert [event[0] for event in bench.events()][-2:] == ["ar.reconciliation.completed.v1", "ar.sync.completed.v1"]
