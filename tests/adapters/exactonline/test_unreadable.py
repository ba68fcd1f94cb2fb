"""Nonsense in the fields that the adapter itself depends on: a stated failure, never a bug and never a lost item."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from adapters.simulation import BookkeepingError
from connector.adapter import Feed, Page
from connector.errors import SchemaDrift
from tests.adapters.exactonline.worlds import ExactWorld, exact_world


@pytest.fixture
async def world() -> AsyncIterator[ExactWorld]:
    async with exact_world(customers=3, invoices=6) as world:
        yield world


async def pages(world: ExactWorld, name: str) -> list[Page]:
    adapter = await world.adapter()
    feed = Feed(name=name, kind="changes", fills="")
    return [page async for page in adapter.read(feed, None, {})]


@pytest.mark.parametrize("field", ["Status", "BlockingStatus", "Description"])
async def test_a_division_that_cannot_be_read_is_not_taken_for_an_open_one(world: ExactWorld, field: str) -> None:
    world.simulator.faults.add("system/Divisions", "bad_row", field=field)
    with pytest.raises(SchemaDrift, match=field):
        await (await world.adapter()).identify()


@pytest.mark.parametrize("field", ["Amount", "ReportingYear"])
async def test_a_ledger_total_that_cannot_be_read_is_not_guessed(world: ExactWorld, field: str) -> None:
    world.simulator.faults.add("ReportingBalance", "bad_row", field=field)
    references = {"glaccount": [{"ID": account.id, "Code": account.code, "Type": 20}
                                for account in world.simulator.books.ledger.accounts.values()]}  # fmt: skip
    with pytest.raises(SchemaDrift, match=field):
        await (await world.adapter()).ledger_total(references)


@pytest.mark.parametrize("field", ["EntityType", "EntityKey", "Timestamp"])
async def test_a_deletion_that_cannot_be_read_stops_the_feed(world: ExactWorld, field: str) -> None:
    """Passing it over would keep a phantom for ever."""
    while not any(page.removals for page in await pages(world, "deleted")):
        with contextlib.suppress(BookkeepingError):
            world.simulator.bookkeeper.perform("delete_entry")
    world.simulator.faults.add("sync/Deleted", "bad_row", field=field)
    with pytest.raises(SchemaDrift, match=field):
        await pages(world, "deleted")


async def test_an_unreadable_version_costs_one_row_and_not_the_page(world: ExactWorld) -> None:
    [whole] = await pages(world, "accounts")
    world.simulator.faults.add("sync/CRM/Accounts", "bad_row", field="Timestamp", row=0)
    [page] = await pages(world, "accounts")
    assert (len(page.bad), len(page.rows)) == (1, len(whole.rows) - 1)
    assert page.cursor == whole.cursor


async def test_an_item_without_a_readable_id_is_not_quarantined_under_a_name_of_its_own(world: ExactWorld) -> None:
    world.simulator.faults.add("sync/CRM/Accounts", "bad_row", field="ID")
    with pytest.raises(SchemaDrift, match="ID"):
        await pages(world, "accounts")
