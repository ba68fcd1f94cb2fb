"""The adapter against the simulator, over a real socket. NOTES.md names these tests beside the quirks they prove."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from adapters.snelstart import query
from adapters.snelstart.access import clean
from adapters.snelstart.adapter import SnelStart
from adapters.snelstart.api import Api
from connector.adapter import Row
from connector.errors import AuthRevoked, ConfigurationError, SourceDown, Throttled
from tests.adapters.snelstart.worlds import NO_OPEN_FILTER, SnelWorld, later, pages, settings, snel_world
from tests.conformance.adapters import AdapterConformance, Mirror, assert_equals_truth


class TestSnelStart(AdapterConformance):
    @pytest.fixture
    async def world(self) -> AsyncIterator[SnelWorld]:
        async with snel_world() as world:
            yield world


class TestWithoutTheFilterForOpenItems(AdapterConformance):
    @pytest.fixture
    async def world(self) -> AsyncIterator[SnelWorld]:
        async with snel_world(settings(unfilterable=NO_OPEN_FILTER)) as world:
            yield world


@pytest.fixture
async def world() -> AsyncIterator[SnelWorld]:
    async with snel_world(customers=6, invoices=25) as world:
        yield world


@pytest.fixture
async def mirror(world: SnelWorld) -> Mirror:
    mirror = Mirror(world)
    await mirror.cycle()
    return mirror


# Identity and keys (sheet 1)


async def test_a_koppelsleutel_for_other_books_is_noticed_at_once(world: SnelWorld) -> None:
    await world.simulator.activation.change("Regenerate", other_books=True)
    identity = await (await world.adapter()).identify()
    assert identity.administration != world.administration
    assert identity.name == "Een andere administratie"


async def test_the_administration_may_be_written_in_capitals(world: SnelWorld) -> None:
    adapter = await world.adapter()
    assert isinstance(adapter, SnelStart)
    adapter._administration = world.administration.upper()
    assert (await adapter.identify()).administration == world.administration.upper()


@pytest.mark.parametrize("pasted", [' "key==" \n', "'key=='", "key==\\n", '"key==\\n"', "key=="])
def test_what_creeps_in_when_a_key_is_copied_is_left_out(pasted: str) -> None:
    assert clean(pasted) == "key=="


async def test_a_token_that_dies_before_its_time_is_replaced(world: SnelWorld) -> None:
    await (await world.adapter()).identify()
    world.simulator.office.revoke()
    assert (await (await world.adapter()).identify()).administration == world.administration


async def test_a_dead_subscription_key_is_a_fault_of_ours_and_not_of_the_client(world: SnelWorld) -> None:
    world.simulator.settings.subscription_expired = True
    with pytest.raises(ConfigurationError):
        await (await world.adapter()).identify()


async def test_a_refused_token_is_the_clients(world: SnelWorld) -> None:
    world.simulator.faults.add("companyInfo", "status", status=401, times=3, text="Authorization has been denied")
    with pytest.raises(AuthRevoked):
        await (await world.adapter()).identify()


async def test_an_exhausted_quota_is_waited_for(world: SnelWorld) -> None:
    world.simulator.faults.add("companyInfo", "status", status=403)
    with pytest.raises(Throttled) as caught:
        await (await world.adapter()).identify()
    assert caught.value.until - world.clock.now() == timedelta(minutes=41, seconds=7)


async def test_what_the_key_may_not_read_is_told_beforehand() -> None:
    allowed = ("relaties:read", "orders:read", "boekhouden:read", "settings:read")
    async with snel_world(settings(scopes=allowed), customers=2, invoices=2) as world:
        found = {one.name: one for one in await (await world.adapter()).capabilities()}
    missing = {name for name, one in found.items() if not one.available}
    assert missing == {"bank bookings", "cash bookings", "documents"}
    assert "bankieren:read" in found["bank bookings"].fix


# Collections (sheet 3)


async def test_every_page_is_asked_for_with_its_size(world: SnelWorld, mirror: Mirror) -> None:
    lists = [one for one in world.asked("$filter") + world.asked("%24filter") if "%24apply" not in one]
    assert lists
    assert all("%24top=" in one for one in lists)


@pytest.mark.parametrize("order", ["moving", "restless"])
async def test_rows_that_move_between_pages_all_come(order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.snelstart.api.PAGE", 20)
    async with snel_world(settings(order=order), customers=8, invoices=60) as world:
        mirror = Mirror(world)
        await mirror.cycle()
        assert_equals_truth(mirror.assemble(), world.truth())


async def test_an_invoice_booked_while_pages_are_read_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.snelstart.api.PAGE", 10)
    async with snel_world(customers=6, invoices=40) as world:
        world.simulator.faults.add("verkoopfacturen", "act", times=2, after=3, name="invoice")
        mirror = Mirror(world)
        await mirror.cycle()
        await later(world, mirror)
        assert_equals_truth(mirror.assemble(), world.truth())


async def test_a_short_page_is_not_the_end_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.snelstart.api.PAGE", 10)
    async with snel_world(settings(unfilterable=NO_OPEN_FILTER), customers=6, invoices=40) as world:
        world.simulator.faults.add("skip=0", "drop_rows", rows=3)
        found = [row.key for page in await pages(world, Mirror(world), "invoices") for row in page.rows]
        shown = [key for key, item in world.truth()["items"].items() if item["kind"] in {"invoice", "credit_note"}]
    assert len(set(shown) & set(found)) == len(shown) - 3


async def test_an_item_that_comes_twice_counts_once(world: SnelWorld) -> None:
    world.simulator.faults.add("relaties", "repeat_rows", times=1)
    mirror = Mirror(world)
    await mirror.cycle()
    assert_equals_truth(mirror.assemble(), world.truth())


@pytest.mark.parametrize("read", ["changes", "sweep"])
async def test_a_server_that_does_not_turn_the_page_is_left(
    world: SnelWorld, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    monkeypatch.setattr("adapters.snelstart.api.PAGE", 10)

    class Stuck(Api):
        async def page(self, path: str, condition: str = "", *, skip: int = 0, top: int = 10) -> list[dict[str, Any]]:
            return await super().page(path, condition, skip=0, top=10)

    found = [one["id"] async for items in getattr(Stuck(world.http, f"{world.base_url}/v2"), read)("relaties", "")
             for one in items]  # fmt: skip
    assert len(set(found)) == 10
    assert world.budget.calls <= 4


async def test_a_booking_that_could_not_be_read_is_cured_with_all_its_lines(world: SnelWorld) -> None:
    world.simulator.faults.add("bankboekingen?", "bad_row", field="datum", times=1)
    mirror = Mirror(world)
    adapter = await mirror.cycle(stages=2)
    references = mirror.references()
    (feed,) = (one for one in adapter.feeds("history", references) if one.name == "bank-all")
    found = [page async for page in adapter.read(feed, None, references)]
    (bad,) = (one for page in found for one in page.bad)
    answer = await adapter.look_up("bankline", [bad.key], references)
    assert {row.key.partition("/")[0] for row in answer if isinstance(row, Row)} == {bad.key}


@pytest.mark.parametrize("kind", ["empty", "truncate"])
async def test_an_answer_without_a_list_is_a_failure_and_not_an_empty_list(world: SnelWorld, kind: str) -> None:
    world.simulator.faults.add("verkoopfacturen", kind, times=None)
    with pytest.raises(SourceDown):
        await Mirror(world).cycle()


async def test_a_filter_that_is_ignored_is_not_relied_upon(world: SnelWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SnelStart answers everything, whatever is asked, all invoices are swept."""
    passes_all = "OpenstaandSaldo ne 0 or OpenstaandSaldo eq 0"
    monkeypatch.setitem(query.PROBES, query.IS_OPEN, ("verkoopfacturen", passes_all))
    mirror = Mirror(world)
    await mirror.cycle()
    works = {one["name"]: one["works"] for one in mirror.references()["ability"]}
    assert works == {query.IS_OPEN: False, query.WITHOUT_NUMBER: True}
    adapter = await world.adapter()
    assert [feed.name for feed in adapter.feeds("open", mirror.references())] == ["invoices", "relations-all"]


async def test_a_relation_that_is_inactive_is_found_although_not_by_its_id(world: SnelWorld, mirror: Mirror) -> None:
    (key, *_) = world.book("block_customer")
    answer = await (await world.adapter()).look_up("relation", [key], mirror.references())
    assert [(row.key, row.fields["nonactief"]) for row in answer if isinstance(row, Row)] == [(key, True)]


async def test_a_relation_that_is_shown_nowhere_stays_as_inactive_while_it_has_invoices() -> None:
    setup = settings(inactive_listed=False, inactive_by_id=False)
    async with snel_world(setup, customers=6, invoices=25) as world:
        owing = next(iter(world.simulator.books.matching.items.values())).customer.id
        (idle,) = world.book("new_customer")
        mirror = Mirror(world)
        await mirror.cycle()
        assert {owing, idle} <= {one.external_id for one in mirror.assemble().customers}
        for key in (owing, idle):
            world.book("block_customer", customer=key)
        for _ in range(3):  # all relations are read weekly
            await later(world, mirror, timedelta(days=7))
        kept = {one.external_id: one for one in mirror.assemble().customers}
        assert (kept[owing].active, idle in kept) == (False, False)
        assert_equals_truth(mirror.assemble(), world.truth())


# Cursors (sheet 4)


async def test_the_cursor_is_the_newest_change_that_a_row_has_shown(world: SnelWorld, mirror: Mirror) -> None:
    world.clock.advance(timedelta(days=3).total_seconds())
    before = mirror.cursors["relations"][1]
    await mirror.cycle()
    assert mirror.cursors["relations"][1] == before
    assert before is not None
    assert before < world.clock.now().isoformat()[:10]
    last = world.asked("path='/v2/relaties'")[-1]
    assert query.changed_since(before).split("'")[1].replace(":", "%3A") in last


async def test_changes_are_read_three_hours_back(world: SnelWorld) -> None:
    assert query.changed_since("2026-11-20T13:00:00.1200000") == "ModifiedOn gt datetime'2026-11-20T10:00:00'"
    assert query.changed_since(query.OLDEST) == "ModifiedOn gt datetime'1900-01-01T00:00:00'"


@pytest.mark.parametrize("digits", [0, 1, 7])
async def test_times_of_any_precision_are_read(digits: int) -> None:
    async with snel_world(settings(fraction_digits=digits, server_zone="UTC"), customers=6, invoices=25) as world:
        mirror = Mirror(world)
        await mirror.cycle()
        for _ in range(10):
            world.act()
        await later(world, mirror)
        await later(world, mirror, timedelta(hours=25))
        await later(world, mirror, timedelta(hours=25))
        assert_equals_truth(mirror.assemble(), world.truth())


@pytest.mark.parametrize("nothing", ["null", "absent", "nil"])
async def test_nothing_means_the_same_however_it_is_written(nothing: Any) -> None:
    async with snel_world(settings(nothing=nothing, decimals="four"), customers=6, invoices=25) as world:
        world.book("opening_balance")
        mirror = Mirror(world)
        await mirror.cycle()
        assert_equals_truth(mirror.assemble(), world.truth())
        assert "opening_balance" in {one.kind for one in mirror.assemble().invoices}
