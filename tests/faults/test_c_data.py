"""Group C of the fault catalogue: what packages say. C17 is about webhooks, which the program does not take yet.

Where the real adapter can be led into it, it is; what no adapter of ours can show yet is played by the memory package.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog

from adapters.simulation import BookkeepingError
from connector import log, reader
from connector.adapter import Page, Removal, Row
from connector.errors import ExitCode
from connector.store.engine import open_store
from tests.faults.rewrite import Item, verbatim
from tests.faults.world import ACCOUNTS, LINES, OPEN, TERMS, FaultyTown, FaultyWorld, failed
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


@pytest.fixture
def make(town: FaultyTown, one_sqlite: str) -> Iterator[Callable[..., FaultyWorld]]:
    """Makes a world of another size or temper."""
    with contextlib.ExitStack() as stack:

        def make(url: str = one_sqlite, **rest: Any) -> FaultyWorld:
            return stack.enter_context(contextlib.closing(FaultyWorld(town, url, seed=3, **rest)))

        yield make


def cents(bench: Bench) -> dict[str, int]:
    """What the books say is open, as the database holds it."""
    return {key: int(open_ * 100) for key, (_, _, open_) in bench.books.items.items()}


def held(bench: Bench) -> dict[str, int]:
    return {key: open_ for key, (open_, _, removed) in bench.invoices().items() if not removed}


def by_id(key: str) -> Any:
    return lambda item: str(item.get("ID")).lower() == key


def open_invoices(world: FaultyWorld) -> list[str]:
    return sorted(key for key, invoice in world.mirror()["invoices"].items() if float(invoice["open"]) > 0)


# --- C1, C2: books that change, rows that come late ------------------------------------------------------------------


def test_c1_books_that_change_before_every_request(both: FaultyWorld) -> None:
    done = []

    def act() -> None:
        both.clock.advance(7)
        done.append(both.simulator.bookkeeper.random_action().sentence)

    for request in range(1, 40):
        both.town.package.after(request, act)
    both.cycle()
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


# --- C6, C7: numbers and texts ---------------------------------------------------------------------------------------

NO_AMOUNTS: tuple[Any, ...] = (
    *(verbatim("1e400"), verbatim("9" * 40), verbatim(str(2**63))),
    *("1.234,56", "NaN", "Infinity", True, [1], {}),
)


def test_c6_what_is_no_amount_is_set_aside_and_costs_no_other_row(read: FaultyWorld) -> None:
    made = [read.simulator.bookkeeper.perform("invoice").ids[0] for _ in NO_AMOUNTS]
    good = read.simulator.bookkeeper.perform("invoice").ids[0]
    wrong = dict(zip(made, NO_AMOUNTS, strict=True))
    read.rewriter.rows(
        LINES, lambda items: [{**item, "AmountDC": wrong.get(item["ID"], item["AmountDC"])} for item in items]
    )
    assert read.cycle().outcome == "partial"
    assert set(read.set_aside()) == {("line", invoice) for invoice in made}
    assert all(reason.startswith("AmountDC: ") for reason in read.set_aside().values())
    read.deliver()
    assert good in read.mirror()["invoices"]
    assert read.mirror()["freshness"]["dunning_safe_as_of"] is None


@pytest.mark.parametrize(
    ("value", "kept"),
    [("-0.0", b'"0.00"'), ("100.000000000001", b'"100.00"'), ("1e2", b'"100.00"'), ("0.30000000000000004", b'"0.30"')],
)
def test_c6_amounts_are_exact(read: FaultyWorld, value: str, kept: bytes) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    read.rewriter.set(LINES, "AmountDC", verbatim(value), where=by_id(invoice))
    read.cycle()
    (line,) = [row[3] for row in read.kept()["row"] if row[:2] == ("line", invoice)]
    assert b'"AmountDC":' + kept in line
    read.simulator.bookkeeper.perform("edit_due_date", item=invoice)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1" * 5000])
def test_c6_what_is_no_json_is_no_page(read: FaultyWorld, value: str) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    cursor = read.cursors()["lines"]
    read.rewriter.set(LINES, "AmountDC", verbatim(value), where=by_id(invoice))
    report = read.cycle()
    assert (report.outcome, read.cursors()["lines"]) == ("unavailable", cursor)
    assert "not usable JSON" in str(report.error)


NAMES = {
    "nul\x00byte": "nul\ufffdbyte",
    "half \ud83d face": "half \ufffd face",
    "\u202egnp.exe": "\u202egnp.exe",
    "\U0001f600 & Söhne <b>": "\U0001f600 & Söhne <b>",
    "=cmd|' /C calc'!A0": "=cmd|' /C calc'!A0",
    "x" * 1_000_000: "x" * 1_000_000,
    "line\nbreak\x1b[31m": "line\nbreak\x1b[31m",
}


@pytest.mark.parametrize("database", ["one_sqlite", "one_postgres"])
def test_c7_any_text_arrives_or_is_replaced(
    make: Callable[..., FaultyWorld], request: pytest.FixtureRequest, database: str
) -> None:
    world = make(request.getfixturevalue(database), customers=12, invoices=40)
    given = dict(zip(sorted(world.simulator.books.truth()["customers"]), [*NAMES, "", None], strict=False))

    def rename(items: list[Item]) -> list[Item]:
        return [{**item, "Name": given.get(item["ID"].lower(), item["Name"])} for item in items]

    for place in (ACCOUNTS, "bulk/CRM/Accounts"):
        world.rewriter.rows(place, rename)
    report = world.cycle()
    assert (report.outcome, world.set_aside(), world.deliver().ended) == ("ok", {}, "drained")
    customers = world.mirror()["customers"]
    arrived = {key: customers[key] for key in given.keys() & customers.keys()}
    assert {customer["name"] for key, customer in arrived.items() if given[key]} == {
        NAMES[name] for key, name in given.items() if name and key in arrived
    }
    assert len(arrived) >= 7
    nameless = [customer for key, customer in arrived.items() if not given[key]]
    assert all(customer["name"] == customer["number"] for customer in nameless), "empty and absent are the same"


@pytest.mark.parametrize("json", [False, True])
def test_c7_foreign_text_makes_no_lines_in_the_log(read: FaultyWorld, json: bool) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    evil = "0\n2026-11-20 [error] all money is gone\x1b[2J\u2028\u202e"
    read.rewriter.set(LINES, "AmountDC", evil, where=by_id(invoice))
    read.simulator.faults.add(ACCOUNTS, "status", status=400, text=evil, times=None)
    stream = io.StringIO()
    log.configure(json=json, stream=stream)
    try:
        read.cycle()
    finally:
        structlog.reset_defaults()
    lines = stream.getvalue().split("\n")
    assert any("all money is gone" in line for line in lines)
    assert not any(line.startswith("2026-11-20 [error]") for line in lines)
    assert not set(stream.getvalue()) & set("\x1b\u2028\u202e\r")
    assert not set("".join(read.set_aside().values())) & set("\n\x1b\u2028\u202e")


# --- C8, C9, C10: the shape of rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "value"), [("AmountDC", None), ("InvoiceNumber", "A-12")])
def test_c8_one_bad_row_is_set_aside_and_comes_back_with_the_next_version(
    read: FaultyWorld, field: str, value: object
) -> None:
    bad, good = (read.simulator.bookkeeper.perform("invoice").ids[0] for _ in range(2))
    cursor = read.cursors()["lines"]
    for place in (LINES, "bulk/Financial/TransactionLines"):
        read.rewriter.set(place, field, value, where=by_id(bad))
    assert read.cycle().outcome == "partial"
    assert list(read.set_aside()) == [("line", bad)]
    assert read.cursors()["lines"] != cursor
    read.deliver()
    assert good in read.mirror()["invoices"]

    read.mark()
    read.cycle()
    assert read.asked("bulk/Financial/TransactionLines") == 0, "not in each cycle"
    packages = read.runtime.packages
    read.runtime.packages = {"exactonline": replace(packages["exactonline"], version="2")}
    read.cycle()
    assert read.asked("bulk/Financial/TransactionLines") == 1, "a new version asks at once"
    read.rewriter.rules.clear()
    read.runtime.packages = {"exactonline": replace(packages["exactonline"], version="3")}
    read.settle()
    read.runtime.packages = packages


@pytest.mark.parametrize("cured", [True, False], ids=["cured", "deleted"])
def test_c8_what_a_row_that_cannot_be_read_may_stand_for_is_not_taken_for_gone(read: FaultyWorld, cured: bool) -> None:
    """An edit replaces the payment terms of an invoice; when the new ones cannot be read, the old ones are gone."""
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    read.settle()
    read.simulator.bookkeeper.perform("edit_due_date", item=invoice)
    read.rewriter.rows(TERMS, lambda items: [{**item, "Status": 77} for item in items])
    assert read.cycle().outcome == "partial"
    read.deliver()
    assert invoice not in read.removed()
    assert invoice in read.mirror()["invoices"]
    read.rewriter.rules.clear()
    if not cured:
        read.simulator.bookkeeper.perform("delete_entry", item=invoice)
    read.recover()
    assert read.events()["ar.invoice.removed.v1", invoice] == (0 if cured else 1)


def test_c9_most_rows_of_another_shape_are_one_alarm(make: Callable[..., FaultyWorld]) -> None:
    world = make(customers=6, invoices=40)

    def most(items: list[Item]) -> list[Item]:
        return [{**item, "AmountDC": "?"} if number % 5 else item for number, item in enumerate(items)]

    world.rewriter.rows(LINES, most)
    with structlog.testing.capture_logs() as logs:
        report = world.cycle()
    assert (report.outcome, report.exit_code) == ("partial", ExitCode.PARTLY_FAILED)
    ((name, reason),) = failed(report).items()
    assert (name, world.cursors()["lines"], world.set_aside()) == ("lines", None, {})
    assert "rows on one page cannot be read" in reason
    assert "AmountDC" in reason
    assert "the feed goes on after an update" in reason
    assert [entry["event"] for entry in logs if entry["log_level"] in {"warning", "error"}] == ["feed.failed"]
    assert not any(row[0] == "line" for row in world.kept()["row"])
    world.recover()


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        (TERMS, "Status", 35),
        (TERMS, "Status", 77),
        (LINES, "AmountDC", 12.3456),
        (LINES, "Currency", "JPY"),
    ],
)
def test_c10_what_nobody_knows_is_not_guessed(read: FaultyWorld, place: str, field: str, value: object) -> None:
    """The invoice keeps the state that was last understood, and dunning waits."""
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    read.settle()
    before = read.mirror()["invoices"][invoice]
    read.simulator.bookkeeper.perform("direct_debit_select" if place == TERMS else "edit_due_date", item=invoice)
    if place == TERMS:
        read.rewriter.rows(TERMS, lambda items: [{**item, field: value} for item in items])
    else:
        read.rewriter.set(LINES, field, value, where=by_id(invoice))
    assert read.cycle().outcome == "partial"
    read.deliver()
    assert len(read.set_aside()) == 1
    after = read.mirror()["invoices"][invoice]
    assert (after["open"], after["currency"]) == (before["open"], before["currency"])
    assert read.mirror()["freshness"]["dunning_safe_as_of"] is None
    read.rewriter.rules.clear()
    read.simulator.bookkeeper.perform("edit_due_date", item=invoice)


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [(LINES, "Type", 99), (LINES, "Currency", "XYZ"), (ACCOUNTS, "Status", "Q"), (ACCOUNTS, "Type", "?")],
)
def test_c10_new_words_are_kept_and_change_no_amount(read: FaultyWorld, place: str, field: str, value: object) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    customer = read.simulator.books.truth()["items"][invoice]["customer"]
    read.simulator.bookkeeper.perform("block_customer", customer=customer)
    key = invoice if place == LINES else customer
    read.rewriter.set(place, field, value, where=by_id(key))
    assert read.cycle().outcome == "ok"
    read.deliver()
    told = [one for one in read.differences() if "currency" not in one]
    assert told == []
    (row,) = [row[3] for row in read.kept()["row"] if row[1] == key]
    assert f'"{field}":{value if value == 99 else chr(34) + str(value) + chr(34)}'.encode() in row
    read.cycle(full=True)
    read.rewriter.rules.clear()
    read.cycle(full=True)


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


# --- C16, C18 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "due"),
    [
        ("/Date(-62135596800000)/", None),
        ("/Date(253402214400000)/", "9999-12-31"),
        ("/Date(1772236800000+0100)/", "2026-02-28"),
        (None, None),
    ],
)
def test_c16_the_edges_of_the_calendar(read: FaultyWorld, value: str | None, due: str | None) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    for place in (TERMS, LINES):
        read.rewriter.rows(place, lambda items: [{**item, "DueDate": value} for item in items])
    assert read.cycle().outcome == "ok"
    read.deliver()
    shown = read.mirror()["invoices"][invoice]
    assert shown.get("due_date") == due or (due is None and shown.get("due_date_basis") not in {None, "source"})
    read.rewriter.rules.clear()
    read.simulator.bookkeeper.perform("edit_due_date", item=invoice)


@pytest.mark.parametrize("value", ["2026-02-31", "/Date(99999999999999999)/", "/Date(x)/", 20261120, "tomorrow"])
def test_c16_what_is_no_date_is_set_aside(read: FaultyWorld, value: object) -> None:
    invoice = read.simulator.bookkeeper.perform("invoice").ids[0]
    read.rewriter.set(LINES, "Date", value, where=by_id(invoice))
    assert read.cycle().outcome == "partial"
    assert list(read.set_aside()) == [("line", invoice)]
    assert read.set_aside()["line", invoice].startswith("Date: ")


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
