"""What SnelStart does not tell and the adapter finds out all the same; calls, totals and documents."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulation.documents import FileKind
from adapters.snelstart.adapter import SnelStart
from connector.adapter import Row
from connector.domain.records import Invoice
from connector.errors import Stopped
from tests.adapters.snelstart.worlds import NO_OPEN_FILTER, SnelWorld, invoice, later, pages, settings, snel_world
from tests.conformance.adapters import Mirror, Stop, assert_equals_truth, balance


@pytest.fixture
async def world() -> AsyncIterator[SnelWorld]:
    async with snel_world(customers=6, invoices=25) as world:
        yield world


@pytest.fixture
async def mirror(world: SnelWorld) -> Mirror:
    mirror = Mirror(world)
    await mirror.cycle()
    return mirror


# What no feed tells (sheet 7, 13)


@pytest.mark.parametrize("moves", ["never", "always"])
async def test_a_payment_is_seen_whether_or_not_it_moves_the_invoice(moves: Any) -> None:
    setup = settings(payment_moves_modified=moves, unfilterable=NO_OPEN_FILTER)
    async with snel_world(setup, customers=6, invoices=25) as world:
        mirror = Mirror(world)
        await mirror.cycle()
        key = world.book("pay")[0]
        world.clock.advance(300)
        await mirror.cycle()  # no sweep is due yet
        found = invoice(mirror, key)
        assert found is not None
        assert found.open == Decimal(world.truth()["items"][key]["open"])
        assert {one.kind for one in found.settlements} == {"payment"}


async def test_a_deleted_payment_reopens_its_invoice(world: SnelWorld, mirror: Mirror) -> None:
    world.book("pay")
    await later(world, mirror)
    world.book("delete_receipt")
    await later(world, mirror)
    assert_equals_truth(mirror.assemble(), world.truth())
    assert "unknown" not in {kind for one in mirror.assemble().invoices if one.open for kind in _kinds(one)}


async def test_a_deleted_payment_is_found_although_the_process_died_before_it_looked(
    world: SnelWorld, mirror: Mirror
) -> None:
    """The invoice shows its new amount once; that it has to be looked into is stored with it."""
    world.book("pay")
    await later(world, mirror)
    world.book("delete_receipt")
    world.clock.advance(3600)
    for page in range(1, 8):
        mirror.stop_after = mirror.pages + page
        with pytest.raises(Stop):
            await mirror.cycle()
    mirror.stop_after = None
    await mirror.cycle()
    assert_equals_truth(mirror.assemble(), world.truth())


async def test_a_moved_payment_opens_the_one_invoice_and_settles_the_other() -> None:
    """Between two sweeps, by the lines that the booking had and those that it has now."""
    setup = settings(payment_moves_modified="never", unfilterable=NO_OPEN_FILTER)
    async with snel_world(setup, customers=3, invoices=6) as world:
        books = world.simulator.books
        debtor = next(iter(books.matching.items.values())).customer.id
        one, other = (world.book("invoice", customer=debtor, amount="100.00")[0] for _ in range(2))
        receipt = next(key for key in world.book("pay", item=one) if key != one)
        mirror = Mirror(world)
        await mirror.cycle()
        first, second, money = (books.matching.items[key] for key in (one, other, receipt))
        world.clock.advance(300)
        books.matching.unmatch(first.matches[-1], world.clock.now())
        books.matching.match([(second, second.open), (money, -second.open)], books.today, world.clock.now())
        (changed,) = (page for page in await pages(world, mirror, "bank", mirror.cursors["bank"][1]) if page.removals)
        assert one in {row.key for row in changed.rows}  # in one transaction with what it lost
        await mirror.cycle()
        opened, settled = invoice(mirror, one), invoice(mirror, other)
        assert opened is not None
        assert settled is not None
        assert (opened.open, opened.settlements) == (opened.total, ())
        assert (settled.open, {line.kind for line in settled.settlements}) == (0, {"payment"})


async def test_a_lump_sum_that_also_covers_a_refund_settles_the_invoice_alone(world: SnelWorld, mirror: Mirror) -> None:
    books = world.simulator.books
    charge = books.matching.items[world.book("invoice", amount="100.00")[0]]
    receipt = books.matching.items[world.book("pay_on_account", customer=charge.customer.id, amount="50.00")[0]]
    refund = books.cash.refund(receipt)
    books.matching.unmatch(refund.matches[-1], world.clock.now())
    books.cash.receive(charge.customer, charge.open + refund.open, of=[(charge, charge.open), (refund, refund.open)])
    await later(world, mirror)
    found = invoice(mirror, charge.id)
    assert found is not None
    assert [(one.kind, one.amount) for one in found.settlements] == [("payment", -found.total)]
    assert_equals_truth(mirror.assemble(), world.truth())


async def test_a_chargeback_opens_the_invoice_again(world: SnelWorld, mirror: Mirror) -> None:
    ids = world.book("charge_back")
    await later(world, mirror)
    found = invoice(mirror, ids[0])
    assert found is not None
    assert found.open == found.total
    assert any(one.amount > 0 for one in found.settlements)


async def test_cents_too_much_are_an_overpayment_and_no_credit(world: SnelWorld, mirror: Mirror) -> None:
    key = world.book("pay_too_much")[0]
    await later(world, mirror)
    found = invoice(mirror, key)
    assert found is not None
    assert found.open < 0 < found.total
    assert (found.kind, found.payment_status) == ("invoice", "paid")


async def test_money_over_the_counter_is_a_payment_in_cash(world: SnelWorld, mirror: Mirror) -> None:
    world.book("pay_in_cash")
    await later(world, mirror)
    assert "cash" in {one.kind for one in mirror.assemble().payments}
    assert_equals_truth(mirror.assemble(), world.truth())


async def test_what_memorials_settle_is_the_remainder_with_the_ledger_as_a_hint(
    world: SnelWorld, mirror: Mirror
) -> None:
    ids = world.book("credit_note")
    await later(world, mirror)
    pair = [one for key in ids if (one := invoice(mirror, key)) is not None]
    offs = [settlement for one in pair for settlement in one.settlements if settlement.kind == "set_off"]
    assert offs
    assert all(one.derived and one.settled_on is not None for one in offs)
    assert {one.source for one in offs} <= set(ids)


async def test_an_opening_balance_is_settled_in_a_way_that_nobody_can_see(world: SnelWorld, mirror: Mirror) -> None:
    key = world.book("opening_balance")[0]
    await later(world, mirror)
    world.book("pay", item=key)
    await later(world, mirror)
    found = invoice(mirror, key)
    assert found is not None
    assert (found.kind, found.open) == ("opening_balance", 0)
    assert [one.kind for one in found.settlements] == ["unknown"]
    assert found.payment_status == "settled"


@pytest.mark.parametrize("unfilterable", [frozenset(), NO_OPEN_FILTER])
async def test_a_deleted_invoice_is_gone_after_two_sweeps(unfilterable: frozenset[str]) -> None:
    async with snel_world(settings(unfilterable=unfilterable), customers=6, invoices=25) as world:
        mirror = Mirror(world)
        await mirror.cycle()
        key = world.book("invoice")[0]
        await later(world, mirror)
        assert invoice(mirror, key) is not None
        world.book("reissue_invoice")
        await later(world, mirror)
        assert invoice(mirror, key) is not None
        await later(world, mirror)
        assert invoice(mirror, key) is None
        assert_equals_truth(mirror.assemble(), world.truth())


async def test_an_answer_that_claims_there_is_nothing_removes_nothing(world: SnelWorld, mirror: Mirror) -> None:
    before = balance(mirror.assemble())
    world.simulator.faults.add("verkoopfacturen?%24top=500", "no_rows", times=None)
    await later(world, mirror)
    await later(world, mirror)
    assert balance(mirror.assemble()) == before


# Calls (sheet 13.8, 13.9)


async def test_a_quiet_cycle_takes_few_calls(world: SnelWorld, mirror: Mirror) -> None:
    await later(world, mirror)
    world.clock.advance(300)
    before = world.budget.calls
    await mirror.cycle()
    assert world.budget.calls - before <= 10


async def test_many_invoices_at_once_are_swept_and_not_read_one_by_one(world: SnelWorld, mirror: Mirror) -> None:
    keys = [key for kind, key in mirror.rows if kind == "invoice"]
    before = world.budget.calls
    adapter = await world.adapter()
    assert len(keys) > 20
    assert isinstance(adapter, SnelStart)
    adapter.remember(_Counting(len(keys)))
    answer = await adapter.look_up("invoice", keys, mirror.references())
    assert {row.key for row in answer if isinstance(row, Row) and row.kind == "invoice"} == set(keys)
    assert world.budget.calls - before == 2


async def test_mandates_are_asked_for_only_where_money_is_collected_and_something_is_open(
    world: SnelWorld, mirror: Mirror
) -> None:
    owing = {row.group for (kind, _), row in mirror.rows.items() if kind == "invoice" and row.open}
    collected = {
        key for (kind, key), row in mirror.rows.items() if kind == "relation" and row.fields["incassoSoort"] != "Geen"
    }
    assert {key for kind, key in mirror.rows if kind == "mandates"} == owing & collected
    assert len(world.asked("doorlopendeincassomachtigingen")) == len(owing & collected)


# Totals, freshness, documents


@pytest.mark.parametrize("source", ["mutations", "period_balance"])
async def test_the_ledger_total_comes_from_either_source(source: str) -> None:
    async with snel_world(customers=6, invoices=25, ledger_total=source) as world:
        mirror = Mirror(world)
        adapter = await mirror.cycle()
        total = await adapter.ledger_total(mirror.references())
        assert total is not None
        assert (total.balance, total.explained) == (balance(mirror.assemble()), {})


async def test_money_straight_on_receivables_is_a_named_difference() -> None:
    async with snel_world(settings(unlinked_on_receivables=True), customers=6, invoices=25) as world:
        world.book("pay_on_account")
        mirror = Mirror(world)
        adapter = await mirror.cycle()
        total = await adapter.ledger_total(mirror.references())
        assert total is not None
        unassigned = Decimal(world.truth()["unassigned_balance"])
        assert unassigned
        assert total.explained == {"booked_on_receivables_without_invoice": unassigned}
        assert total.balance == balance(mirror.assemble()) + unassigned


async def test_the_receivables_are_found_by_function_and_the_banks_by_sort(world: SnelWorld, mirror: Mirror) -> None:
    assembler = world.package.assembler(mirror.references(), world.mapping, world.administration)
    assert assembler.administration().receivable_accounts == ("1300", "1310")
    banks = assembler.banks()
    assert {bank.journal: bank.blocks for bank in banks.values()}["1100"] is True
    assert {row.group for (kind, _), row in mirror.rows.items() if kind == "booked"} <= set(banks)


async def test_a_bank_is_booked_until_its_latest_booking(world: SnelWorld, mirror: Mirror) -> None:
    def until() -> dict[str, Any]:
        return {row.key: row.day for (kind, _), row in mirror.rows.items() if kind == "booked"}

    before = until()
    world.clock.advance(timedelta(days=2).total_seconds())
    world.book("pay")
    await mirror.cycle()
    assert max(until().values()) == world.simulator.books.today
    assert all(until()[key] >= day for key, day in before.items())


async def test_money_on_unknown_payments_is_unprocessed(world: SnelWorld, mirror: Mirror) -> None:
    world.book("pay_suspense", amount="12.34")
    await later(world, mirror)
    assembler = world.package.assembler(mirror.references(), world.mapping, world.administration)
    waiting = [row.fields for (kind, _), row in sorted(mirror.rows.items()) if kind == "suspense"]
    assert Decimal("12.34") in {one.amount for one in assembler.unprocessed(waiting)}


@pytest.mark.parametrize("form", ["xml", "string", "list"])
async def test_documents_can_be_fetched_in_every_form(form: Any) -> None:
    async with snel_world(settings(ubl_as=form), customers=6, invoices=40) as world:
        mirror = Mirror(world)
        adapter = await mirror.cycle()
        promised = {document.handle for one in mirror.assemble().invoices for document in one.documents}
        books = world.simulator.books
        printed = next(entry for entry in books.documents.of_entry)
        assert f"verkoopboekingen/{printed}" in promised
        item = next(one for one in books.matching.items.values() if f"verkoopfacturen/{one.id}" in promised)
        books.documents.add(item.line.entry, item.customer, (FileKind.UBL,), world.clock.now())
        for handle, begin in ((f"verkoopboekingen/{printed}", b"%PDF"), (f"verkoopfacturen/{item.id}", b"<")):
            content = b"".join([piece async for piece in adapter.document(handle)])
            assert content.lstrip(b"\xef\xbb\xbf").startswith(begin)


async def test_a_document_that_is_not_there_says_so(world: SnelWorld, mirror: Mirror) -> None:
    sale = world.book("negative_invoice")[0]
    entry = world.simulator.books.matching.items[sale].line.entry
    if entry.id in world.simulator.books.documents.of_entry:
        world.simulator.books.documents.remove(world.simulator.books.documents.of_entry[entry.id], world.clock.now())
    adapter = await world.adapter()
    with pytest.raises(Stopped, match="no printed invoice"):
        assert [piece async for piece in adapter.document(f"verkoopboekingen/{entry.id}")]


async def test_where_invoices_are_not_kept_no_pdf_is_promised() -> None:
    async with snel_world(settings(invoice_on_booking=False), customers=4, invoices=12) as world:
        mirror = Mirror(world)
        await mirror.cycle()
        kinds = {document.kind for one in mirror.assemble().invoices for document in one.documents}
    assert "invoice_pdf" not in kinds


class _Counting:
    """Knows how many invoices are stored, and nothing else."""

    def __init__(self, invoices: int) -> None:
        self._invoices = invoices

    async def rows(self, kind: str, keys: Any) -> dict[str, Any]:
        return {}

    async def count(self, kind: str) -> int:
        return self._invoices


def _kinds(one: Invoice) -> set[str]:
    return {settlement.kind for settlement in one.settlements}
