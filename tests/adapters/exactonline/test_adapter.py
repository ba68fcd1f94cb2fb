"""The adapter against the simulator, over a real socket. NOTES.md names these tests beside the quirks they prove."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.exactonline.cursors import Counted, dump, load
from connector.adapter import BankJournal, Feed, Page
from connector.errors import (
    ConfigurationError,
    PermissionLost,
    SourceDown,
    Throttled,
    WrongAdministration,
)
from connector.http import ForeignLink
from tests.adapters.exactonline.worlds import ExactWorld, exact_world, settings
from tests.conformance.adapters import AdapterConformance, Mirror, assert_equals_truth, balance

FIFTY_ONE_DAYS = timedelta(days=51).total_seconds()


class TestExactOnline(AdapterConformance):
    @pytest.fixture
    async def world(self) -> AsyncIterator[ExactWorld]:
        async with exact_world() as world:
            yield world


@pytest.fixture
async def world() -> AsyncIterator[ExactWorld]:
    async with exact_world(customers=6, invoices=25) as world:
        yield world


async def feed_of(world: ExactWorld, mirror: Mirror, name: str) -> Feed:
    adapter = await world.adapter()
    found = [
        feed
        for stage in world.package.stages
        for feed in adapter.feeds(stage, mirror.references())
        if feed.name == name
    ]
    return found[0]


async def pages(world: ExactWorld, mirror: Mirror, name: str, cursor: str | None = None) -> list[Page]:
    adapter = await world.adapter()
    feed = await feed_of(world, mirror, name)
    return [page async for page in adapter.read(feed, cursor, mirror.references())]


def asked(world: ExactWorld, part: str) -> list[Any]:
    return [request for request in world.simulator.requests if part in str(request)]


# Identity (sheet 2.5, 13)


async def test_the_division_is_the_configured_one_whatever_the_browser_shows(world: ExactWorld) -> None:
    world.simulator.open_in_browser(999)
    identity = await (await world.adapter()).identify()
    assert identity.administration == world.administration


async def test_a_division_that_was_not_granted_is_a_lost_permission() -> None:
    async with exact_world(settings(granted=frozenset({5})), customers=2, invoices=2) as world:
        with pytest.raises(PermissionLost, match="did not grant") as caught:
            await (await world.adapter()).identify()
    assert "consent page" in caught.value.fix


async def test_a_division_under_restore_is_waited_for() -> None:
    async with exact_world(settings(division_blocking_status=1), customers=2, invoices=2) as world:
        with pytest.raises(SourceDown, match="closed for a backup or restore"):
            await (await world.adapter()).identify()


async def test_a_wrong_time_zone_is_a_mistake_in_the_configuration() -> None:
    async with exact_world(settings(server_zone="Europe/London"), customers=2, invoices=2) as world:
        adapter = await world.adapter()
        clock = next(feed for feed in adapter.feeds("reference", {}) if feed.name == "clock")
        with pytest.raises(ConfigurationError, match="never is in Europe/Amsterdam"):
            _ = [page async for page in adapter.read(clock, None, {})]


# Signs and balances (sheet 8.4, 16.4, 16.5)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("transaction_sign", [-1, 1])
@pytest.mark.parametrize("opening_rows", [True, False])
async def test_open_amounts_are_right_whichever_way_the_signs_and_openings_go(
    sign: int, transaction_sign: int, opening_rows: bool
) -> None:
    setup = settings(receivable_sign=sign, transaction_sign=transaction_sign, opening_rows=opening_rows)
    async with exact_world(setup, customers=6, invoices=25) as world:
        mirror = Mirror(world)
        await mirror.cycle(stages=2)
        assert balance(mirror.assemble()) == Decimal(world.truth()["receivable_balance"])
        assert mirror.references()["calibration"] == [{"Sign": sign}]
        await mirror.cycle()
        assert_equals_truth(mirror.assemble(), world.truth())


async def test_the_open_sweep_asks_only_for_open_terms_and_tells_the_sign_on_its_last_page(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle(stages=1)
    found = await pages(world, mirror, "open")
    assert all(row.open for page in found for row in page.rows if row.kind == "term")
    assert [row.kind for row in found[-1].rows].count("calibration") == 1


# Sync feeds (sheet 4)


async def test_duplicates_and_disorder_in_sync_pages_leave_the_newest() -> None:
    setup = settings(duplicate_ids=True, shuffle_sync=True, plain_envelope=False, byte_order_mark=True)
    async with exact_world(setup, customers=6, invoices=25) as world:
        mirror = Mirror(world)
        await mirror.cycle()
        for _ in range(20):
            world.act()
        world.clock.advance(3700)
        await mirror.cycle()
        assert_equals_truth(mirror.assemble(), world.truth())


async def test_the_cursor_is_the_greatest_counter_seen_and_asks_for_no_overlap(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle()
    newest = max(row.version or 0 for row in mirror.rows.values() if row.kind == "term")
    assert load(mirror.cursors["terms"][1], Counted) == Counted(since=newest, seen=newest, whole=False)
    assert [page.rows for page in await pages(world, mirror, "terms", mirror.cursors["terms"][1])] == [[]]


async def test_a_refused_next_link_starts_again_from_the_counter(world: ExactWorld) -> None:
    """A stored link may be too old for the package; nothing is skipped."""
    mirror = Mirror(world)
    await mirror.cycle()
    stale = f"{world.base_url}/api/v1/{world.administration}/sync/Cashflow/PaymentTerms?$skiptoken=nonsense&$filter=x"
    found = await pages(world, mirror, "terms", dump(Counted(since=1, seen=99, next=stale)))
    terms = {row.key for row in mirror.rows.values() if row.kind == "term"}
    assert {row.key for page in found for row in page.rows} == terms


async def test_a_moved_division_is_read_from_the_beginning(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle()
    before = await feed_of(world, mirror, "terms")
    counter = load(mirror.cursors["terms"][1], Counted).seen
    world.simulator.move_division()
    world.act()
    await mirror.cycle()
    assert (await feed_of(world, mirror, "terms")).scope != before.scope
    assert load(mirror.cursors["terms"][1], Counted).seen < counter
    assert_equals_truth(mirror.assemble(), world.truth())


async def test_a_new_control_account_makes_the_ledger_start_again(world: ExactWorld) -> None:
    """Its earlier lines were passed over."""
    mirror = Mirror(world)
    adapter = await mirror.cycle()
    references = {kind: list(rows) for kind, rows in mirror.references().items()}
    before = {feed.name: feed.scope for feed in adapter.feeds("history", references)}
    references["glaccount"].append({"ID": "new", "Code": "1320", "Type": 20})
    after = {feed.name: feed.scope for feed in adapter.feeds("history", references)}
    assert {name for name in before if before[name] != after[name]} == {"lines"}


async def test_deletions_older_than_the_log_make_every_feed_start_again(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle()
    scope = (await feed_of(world, mirror, "lines")).scope
    world.clock.advance(FIFTY_ONE_DAYS)
    await mirror.cycle()
    assert (await feed_of(world, mirror, "lines")).scope != scope
    again = (await feed_of(world, mirror, "lines")).scope
    await mirror.cycle()
    await mirror.cycle()
    assert (await feed_of(world, mirror, "lines")).scope == again


async def test_a_quiet_deletion_feed_still_remembers_that_it_was_read(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle()
    for _ in range(3):
        world.clock.advance(timedelta(days=40).total_seconds())
        await mirror.cycle()
    assert "epoch" not in mirror.references()


async def test_deleted_entries_and_customers_leave_the_mirror(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle()
    simulator = world.simulator
    for act in ("delete_entry", "delete_receipt", "merge_customers", "edit_amount", "edit_customer"):
        simulator.bookkeeper.perform(act)
        world.clock.advance(60)
    world.clock.advance(3700)
    await mirror.cycle()
    assert_equals_truth(mirror.assemble(), world.truth())


async def test_rows_of_another_division_stop_the_feed(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle(stages=2)
    world.simulator.faults.add("sync/Cashflow/PaymentTerms", "wrong_division_rows", division=5)
    with pytest.raises(WrongAdministration, match="division 5"):
        await pages(world, mirror, "terms")


# Links (sheet 3.5)


async def test_a_next_link_to_another_host_is_never_followed(world: ExactWorld) -> None:
    world.simulator.faults.add("financial/Journals", "foreign_next")
    with pytest.raises(ForeignLink):
        await pages(world, Mirror(world), "journals")


async def test_next_links_that_go_in_a_circle_end(world: ExactWorld) -> None:
    world.simulator.faults.add("financial/Journals", "loop_next", times=None)
    with pytest.raises(SourceDown, match="circle"):
        await pages(world, Mirror(world), "journals")


async def test_an_error_page_with_status_200_is_no_empty_list(world: ExactWorld) -> None:
    world.simulator.faults.add("financial/Journals", "html", status=200)
    with pytest.raises(SourceDown):
        await pages(world, Mirror(world), "journals")


# Rows


async def test_one_bad_row_is_set_aside_and_the_rest_arrives(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle(stages=2)
    clean = [row.key for page in await pages(world, mirror, "accounts") for row in page.rows]
    world.simulator.faults.add("sync/CRM/Accounts", "bad_row", field="Name", value=7)
    found = await pages(world, mirror, "accounts")
    (bad,) = [one for page in found for one in page.bad]
    assert (bad.kind, bad.reason) == ("account", "Name: 7 is not text")
    assert len([row for page in found for row in page.rows]) == len(clean) - 1


async def test_only_receivable_terms_are_kept(world: ExactWorld) -> None:
    """Suppliers' terms come in the same feed (sheet 4)."""
    mirror = Mirror(world)
    world.simulator.bookkeeper.perform("purchase")
    await mirror.cycle()
    customers = set(world.truth()["customers"])
    assert {row.group for row in mirror.rows.values() if row.kind == "term"} <= customers


async def test_bank_lines_tell_how_far_each_journal_is_booked(world: ExactWorld) -> None:
    mirror = Mirror(world)
    await mirror.cycle()
    assembler = world.package.assembler(mirror.references(), world.mapping, world.administration)
    banks = assembler.banks()
    booked = {row.group for row in mirror.rows.values() if row.kind == "bank" and row.day is not None}
    assert booked
    assert booked <= set(banks)
    assert isinstance(banks["bank/20"], BankJournal)
    assert (banks["bank/20"].iban, banks["bank/20"].blocks) == ("NL91INGB0417164300", True)
    assert banks["bank/10"].blocks is False


async def test_money_on_a_suspense_account_is_unprocessed_until_it_is_allocated(world: ExactWorld) -> None:
    mirror = Mirror(world)
    world.simulator.bookkeeper.perform("pay_suspense", amount="120.00")
    await mirror.cycle()
    assert Decimal(120) in [one.amount for one in waiting(world, mirror)]
    count = len(waiting(world, mirror))
    world.simulator.bookkeeper.perform("allocate")
    world.clock.advance(3700)
    await mirror.cycle()
    assert len(waiting(world, mirror)) == count - 1
    assert_equals_truth(mirror.assemble(), world.truth())


def waiting(world: ExactWorld, mirror: Mirror) -> Sequence[Any]:
    assembler = world.package.assembler(mirror.references(), world.mapping, world.administration)
    return assembler.unprocessed([row.fields for row in mirror.rows.values() if row.kind == "suspense"])


async def test_documents_of_an_invoice_can_be_fetched(world: ExactWorld) -> None:
    mirror = Mirror(world)
    adapter = await mirror.cycle()
    documents = [one for invoice in mirror.assemble().invoices for one in invoice.documents]
    assert Counter(one.kind for one in documents)["invoice_pdf"] > 0
    content = b"".join([piece async for piece in adapter.document(documents[0].handle)])
    assert content.startswith((b"%PDF", b"<?xml"))
    assert len(content) == documents[0].size


async def test_bank_accounts_are_read_whole_only_once_in_a_first_cycle(world: ExactWorld) -> None:
    """They come 60 a page: the complete read tells the feed by time where to begin (sheet 16.9)."""
    mirror = Mirror(world)
    await mirror.cycle()
    first, second = (request.query for request in asked(world, "crm/BankAccounts"))
    assert "filter" not in first
    assert "Modified+ge" in second
    assert "1900" not in second


async def test_a_look_up_of_many_keys_stays_below_the_longest_address(world: ExactWorld) -> None:
    mirror = Mirror(world)
    adapter = await mirror.cycle()
    keys = [f"00000000-0000-4000-8000-{number:012x}" for number in range(130)]
    before = len(world.simulator.requests)
    assert await adapter.look_up("term", keys, mirror.references()) == []
    requests = list(world.simulator.requests)[before:]
    assert len(requests) == 3
    assert all(len(str(request)) < 6000 for request in requests)


async def test_a_call_limit_interrupts_and_the_next_minute_goes_on() -> None:
    async with exact_world(settings(minute_limit=16), customers=6, invoices=25) as world:
        mirror = Mirror(world)
        minutes = 0
        while True:
            try:
                await mirror.cycle()
                break
            except Throttled:
                minutes += 1
                world.clock.advance(61)
                assert minutes < 5
        assert minutes > 0
        assert_equals_truth(mirror.assemble(), world.truth())


async def test_capabilities_say_what_is_missing_and_how_to_get_it(world: ExactWorld) -> None:
    world.simulator.faults.add("cashflow/DirectDebitMandates", "status", status=403)
    found = {one.name: one for one in await (await world.adapter()).capabilities()}
    assert found["ledger"].available
    assert not found["mandates"].available
    assert "module" in found["mandates"].fix
