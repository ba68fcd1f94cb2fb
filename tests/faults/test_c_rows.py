"""Group C of the fault catalogue: which rows come, when, and which do not (C1 to C5, C11 to C15, C18).

C17 is about webhooks, which the program does not take yet. Where the real adapter can be led into it, it is; what no
adapter of ours can show yet is played by the memory package.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.simulation import BookkeepingError
from connector import reader
from connector.adapter import Page, Removal, Row
from connector.errors import ExitCode
from connector.store.engine import open_store
from tests.faults.world import ACCOUNTS, LINES, OPEN, TERMS, FaultyWorld, open_invoices
from tests.memory_engine import Bench
from tests.stories.order import broken
from tests.stories.world import DAY, HOUR, Crash

BANKS = "crm/BankAccounts"


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    """Seven items of two customers in memory, five of them open."""
    store = open_store(store_url)
    bench = Bench(store)
    bench.books.customer("c1", "Bakker")
    bench.books.customer("c2", "Slager")
    for number in range(1, 8):
        bench.books.item(f"i{number}", "c1" if number % 2 else "c2", "100.00", "100.00" if number < 6 else "0")
    yield bench
    store.close()


def cents(bench: Bench) -> dict[str, int]:
    """What the books say is open, as the database holds it."""
    return {key: int(open_ * 100) for key, (_, _, open_) in bench.books.items.items()}


def held(bench: Bench) -> dict[str, int]:
    return {key: open_ for key, (open_, _, removed) in bench.invoices().items() if not removed}


# --- C1, C2: books that change, rows that come late ------------------------------------------------------------------


def test_c1_books_that_change_before_every_request(both: FaultyWorld) -> None:
    done = []

    def act() -> None:
        both.clock.advance(7)
        done.append(both.simulator.bookkeeper.random_action().sentence)

    for request in range(1, 40):
        both.town.package.after(request, act)
    for _ in range(3):
        both.cycle()
    both.town.package.acts.clear()
    assert len(done) > 30
    both.recover()


@pytest.mark.parametrize("by_offset", [False, True], ids=["keyset", "skip"])
async def test_c1_rows_that_slip_by_between_pages(bench: Bench, by_offset: bool) -> None:
    """Rows deleted, inserted and settled before the page in hand move those behind it."""
    bench.adapter.by_offset, bench.adapter.page_size = by_offset, 2
    await bench.cycle()

    def change(feed: str, number: int) -> None:
        if number != 2:
            return
        if feed == "open":
            bench.books.delete("i1", logged=False)
            bench.books.item("i0", "c2", "7.00", "7.00")
            bench.books.item("i2", "c2", "100.00", "0")
        elif feed == "items":
            bench.books.item("i8", "c1", "8.00", "8.00")

    bench.adapter.before_page = change
    bench.books.item("i9", "c1", "9.00", "9.00")
    await bench.cycle()
    bench.adapter.before_page = lambda *_: None
    assert (await bench.cycle()).outcome == "ok"
    assert held(bench) == cents(bench)
    assert [event[1] for event in bench.record_events() if ".removed." in event[0]] == ["i1"]


@pytest.mark.parametrize("late_s", [30, 300])
def test_c2_a_row_with_an_older_stamp_comes_to_light_late(read: FaultyWorld, late_s: int) -> None:
    """A feed by modification time: the overlap reads it again."""
    books = read.simulator.bookkeeper
    late, early = books.perform("new_customer").ids[0], ""
    read.clock.advance(late_s)
    early = books.perform("new_customer").ids[0]
    for customer in (late, early):
        books.perform("invoice", customer=customer)
    read.rewriter.rows(BANKS, lambda items: [item for item in items if item["Account"] != late])
    read.clock.advance(HOUR)
    read.settle()
    assert (accounts(read, late), accounts(read, early)) == (0, 1)
    read.rewriter.rules.clear()
    read.clock.advance(HOUR)
    read.mark()
    read.settle()
    assert accounts(read, late) == 1
    assert read.asked(BANKS) == 1, "not by reading everything again"


def accounts(world: FaultyWorld, customer: str) -> int:
    """How many bank accounts of a customer have arrived."""
    return len(world.mirror()["customers"][customer].get("bank_accounts", ()))


def test_c2_a_line_and_a_payment_behind_the_counter_are_found_by_the_open_items(read: FaultyWorld) -> None:
    """A feed by change counter asks for no overlap; the open items do, each hour."""
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    paid = open_invoices(read)[0]
    payment = read.simulator.bookkeeper.perform("pay", item=paid).ids[-1]
    read.rewriter.hide(LINES, invoice, payment)
    read.rewriter.rows(TERMS, lambda items: [])
    read.simulator.bookkeeper.perform("journal")
    read.cycle()
    read.rewriter.rules.clear()
    read.clock.advance(HOUR)
    read.cycle()
    read.deliver()
    assert [told for told in read.differences() if invoice in told or paid in told] == []
    read.cycle(full=True)


# --- C3, C4, C5: duplicates and disorder -----------------------------------------------------------------------------


def test_c3_rows_that_come_twice_make_no_event_more(make: Callable[..., FaultyWorld]) -> None:
    world = make(switches={"duplicate_ids": True, "shuffle_sync": True})
    world.simulator.bookkeeper.perform("pay_partly")
    world.simulator.faults.add("sync/", "repeat_rows", times=None)
    world.settle()
    before = world.events()
    assert set(before.values()) <= {1, 2}, "open items come first, and once more with their history"
    world.cycle(full=True)
    assert world.events() == before


async def test_c3_the_newest_version_counts_whichever_page_brings_it(bench: Bench) -> None:
    await bench.cycle()
    bench.books.item("i1", "c1", "100.00", "40.00")
    old, new = bench.books.row("item", "i1", 3), bench.books.row("item", "i1", bench.books.counter)
    stale = replace_fields(old, open="100.00")
    pages = [[new], [stale, new, stale], [stale]]
    bench.adapter.script = {"items": [Page(cursor=f"{20 + number}", rows=rows) for number, rows in enumerate(pages)]}
    await bench.cycle()
    assert bench.invoices()["i1"] == (4000, 2, False)
    assert [event for event in bench.record_events() if event[1] == "i1"] == [
        ("ar.invoice.upserted.v1", "i1", 1),
        ("ar.invoice.upserted.v1", "i1", 2),
    ]


def replace_fields(row: Row, **fields: Any) -> Row:
    return Row(kind=row.kind, key=row.key, group=row.group, fields=row.fields | fields, version=row.version, open=True)


@pytest.mark.parametrize("order", [reversed, lambda pages: [pages[1], pages[0], *pages[2:]]], ids=["reversed", "mixed"])
async def test_c4_pages_in_another_order_lose_nothing(bench: Bench, order: Any) -> None:
    rows = [bench.books.row("item", key, version) for version, kind, key in bench.books.changes if kind == "item"]
    pages = [Page(cursor="9", rows=rows[at : at + 2]) for at in range(0, len(rows), 2)]
    bench.adapter.script = {"items": list(order(pages))}
    assert (await bench.cycle()).outcome == "ok"
    assert held(bench) == cents(bench)


def test_c4_rows_in_another_order_lose_nothing_and_no_order_is_asked_for(read: FaultyWorld) -> None:
    before = read.events()
    read.simulator.faults.add("/api/v1/", "reverse_rows", times=None)
    assert read.cycle(full=True).outcome == "ok"
    assert read.events() == before
    assert not any("orderby" in one.query for one in read.simulator.requests)


def test_c5_two_contents_of_one_id_are_a_question(read: FaultyWorld) -> None:
    customer = read.simulator.bookkeeper.perform("rename_customer").ids[0]
    read.rewriter.rows(ACCOUNTS, lambda items: [*items, *({**item, "Name": f"Not {item['Name']}"} for item in items)])
    report = read.cycle()
    assert report.outcome == "partial"
    assert list(read.set_aside()) == [("account", customer)]
    assert "came twice" in read.set_aside()["account", customer]
    read.rewriter.rules.clear()
    events = read.events()
    assert read.cycle().outcome == "partial"
    assert read.events() == events, "no crash loop and no flip-flop"
    read.clock.advance(HOUR)
    read.settle()


# --- C11, C12, C13: what belongs together ----------------------------------------------------------------------------


def test_c11_an_invoice_before_its_customer(world: FaultyWorld) -> None:
    invoice = world.simulator.bookkeeper.perform("invoice").ids[0]
    customer = world.simulator.books.truth()["items"][invoice]["customer"]
    for place in (ACCOUNTS, "bulk/CRM/Accounts"):
        world.rewriter.hide(place, customer)
    world.cycle()
    world.deliver()
    assert world.mirror()["invoices"][invoice]["customer"] == customer
    assert customer not in world.mirror()["customers"]
    told = world.events()["ar.invoice.upserted.v1", invoice]
    world.rewriter.rules.clear()
    world.clock.advance(HOUR)
    world.settle()
    assert world.mirror()["customers"][customer]["name"]
    assert world.events()["ar.invoice.upserted.v1", invoice] == told
    assert broken(world.receiver.history) == []


ACTS = (
    "credit_note", "allocate", "pay_partly", "pay", "pay_on_account", "match", "pay_many", "delete_receipt", "unmatch",
    "refund", "write_off", "pay_with_discount", "invoice_in_dollars", "direct_debit_collect",
    "direct_debit_return_collected", "edit_amount", "negative_invoice",
)  # fmt: skip


def test_c12_whatever_happens_to_an_invoice_its_open_amount_is_the_books(make: Callable[..., FaultyWorld]) -> None:
    world = make(customers=3, invoices=10)
    world.settle()
    done = set()
    for name in ACTS:
        world.simulator.bookkeeper.perform("invoice")
        try:
            world.simulator.bookkeeper.perform(name)
        except BookkeepingError:
            continue
        done.add(name)
        world.clock.advance(HOUR)
        world.settle()
    assert len(done) >= 14, f"only {done}"


async def test_c13_an_id_that_is_used_again_is_a_new_incarnation(bench: Bench) -> None:
    bench.books.item("i1", "c1", "100.00", "40.00")
    await bench.cycle()
    bench.books.delete("i1")
    await bench.cycle()
    assert bench.invoices()["i1"] == (4000, 2, True)
    bench.books.item("i1", "c2", "80.00", "80.00")
    await bench.cycle()
    assert bench.invoices()["i1"] == (8000, 3, False)
    late = Removal(kind="item", key="i1", version=1)
    bench.adapter.script = {"deleted": [Page(cursor="99", removals=[late])]}
    await bench.cycle()
    assert bench.invoices()["i1"] == (8000, 3, False), "the log of its first life does not end its second"
    assert held(bench) == cents(bench)


# --- C14, C15: absence -----------------------------------------------------------------------------------------------


def test_c14_a_deletion_that_no_feed_tells_is_found_by_the_sweep_and_told_once(read: FaultyWorld) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    read.settle()
    read.simulator.bookkeeper.perform("delete_entry", item=invoice)
    read.rewriter.rows("sync/Deleted", lambda _: [])
    read.cycle()
    for _ in range(3):
        read.clock.advance(HOUR)
        read.cycle()
    read.deliver()
    assert invoice not in read.mirror()["invoices"]
    assert read.events()["ar.invoice.removed.v1", invoice] == 1
    assert read.differences() == []
    read.cycle(full=True)


def test_c15_a_sweep_that_dies_in_the_middle_removes_nothing_by_itself(
    both: FaultyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.settle()
    gone, *others = open_invoices(both)
    both.simulator.bookkeeper.perform("delete_entry", item=gone)
    both.rewriter.rows(OPEN, lambda items: [], times=1)
    both.rewriter.rows("sync/Deleted", lambda _: [])
    both.clock.advance(HOUR)

    def die(name: str) -> None:
        if name == "sweep.mid":
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(reader, "failpoint", die)
        with pytest.raises(Crash):
            both.cycle()
    both.restart()
    assert both.removed() == []
    both.clock.advance(HOUR)
    both.cycle()
    both.deliver()
    assert both.removed() == [gone]
    assert others
    assert both.differences() == []


def test_c15_rows_that_come_during_a_sweep_are_not_taken_for_absent(read: FaultyWorld) -> None:
    removed = read.removed()

    def book() -> None:
        read.simulator.bookkeeper.perform("invoice")

    for request in range(1, 12):
        read.town.package.after(request, book)
    read.clock.advance(DAY)
    read.cycle(full=True)
    read.town.package.acts.clear()
    assert read.removed() == removed


# --- C18: nothing at all ---------------------------------------------------------------------------------------------


def test_c18_empty_books_are_a_success_and_not_the_same_as_not_having_looked(make: Callable[..., FaultyWorld]) -> None:
    world = make(customers=0, invoices=0)
    assert world.states() == {}
    assert not world.linked.last_success_at
    report = world.cycle()
    assert (report.outcome, report.exit_code) == ("ok", ExitCode.DONE)
    world.deliver()
    assert world.differences() == []
    streams = {stream["name"]: stream for stream in world.mirror()["freshness"]["streams"]}
    assert (streams["lines"]["status"], streams["lines"].get("rows", 0)) == ("ok", 0)
    assert all(stream["last_success_at"] for stream in streams.values())
    assert world.linked.last_success_at is not None


def test_c18_an_empty_answer_where_there_were_rows_is_no_deletion(read: FaultyWorld) -> None:
    kept = {key for key, _, removed, _ in read.kept()["invoice"] if not removed}
    read.simulator.faults.add("sync/", "no_rows", times=None)
    read.clock.advance(HOUR)
    assert read.cycle(full=True).outcome in {"ok", "partial"}
    assert {key for key, _, removed, _ in read.kept()["invoice"] if not removed} == kept
