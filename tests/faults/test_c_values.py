"""Group C of the fault catalogue: what a row says (C6 to C10, C16)."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from connector import log
from connector.errors import ExitCode
from tests.faults.rewrite import Item, verbatim
from tests.faults.world import ACCOUNTS, LINES, TERMS, FaultyWorld, by_id, failed

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


# --- C16: dates ------------------------------------------------------------------------------------------------------


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
