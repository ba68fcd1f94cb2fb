"""Pages cost what they hold, not what the books hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exactonline.simulator.terms import Term
from adapters.exactonline.simulator.versions import Counter, Feed
from tests.adapters.exactonline.simulated import simulated, small_books


class Unscannable(dict[str, Term]):
    """Can be asked for one, not for all."""

    def values(self) -> Any:
        raise AssertionError("the whole table was read")

    __iter__ = items = keys = values


async def test_open_receivables_are_found_without_reading_the_closed_ones() -> None:
    async with simulated() as client:
        terms = client.simulator.world.terms
        terms.all = Unscannable(terms.all)
        rows = await client.rows("bulk/Cashflow/Receivables", filter="Status lt 50", select="ID")
        assert {row["ID"] for row in rows} == {key for key, term in terms.open.items() if term.item}
        customer = next(iter(client.books.relations.customers))
        for key in ("Account", "TransactionID", "ID"):
            await client.rows("bulk/Cashflow/Receivables", filter=f"{key} eq guid'{customer}'", select="ID")
        with pytest.raises(AssertionError, match="whole table"):
            await client.rows("bulk/Cashflow/Receivables", filter="Status eq 50", select="ID")


async def test_a_query_is_evaluated_once_per_change() -> None:
    async with simulated() as client:
        terms = client.simulator.world.terms
        options = {"filter": "Status lt 50", "select": "ID"}
        before = await client.rows("cashflow/Receivables", **options)
        kept, terms.open = terms.open, Unscannable(terms.open)
        assert await client.rows("cashflow/Receivables", **options) == before
        terms.open = kept
        client.simulator.bookkeeper.perform("invoice")
        assert len(await client.rows("cashflow/Receivables", **options)) == len(before) + 1


async def test_a_sync_page_reads_only_its_own_rows() -> None:
    async with simulated(small_books(customers=30, invoices=700)) as client:
        rows = await client.rows("sync/Financial/TransactionLines", filter="Timestamp gt 1", select="Timestamp")
        lines, asked = client.books.ledger.lines, 0

        class Counting(dict[str, Any]):
            def get(self, key: str, default: Any = None) -> Any:
                nonlocal asked
                asked += 1
                return lines.get(key, default)

        endpoint = client.simulator._api._endpoints["sync/Financial/TransactionLines"]
        object.__setattr__(endpoint.source, "get", Counting().get)
        cursor = rows[-11]["Timestamp"]
        last = await client.rows("sync/Financial/TransactionLines", filter=f"Timestamp gt {cursor}L", select="ID")
        assert (len(last), asked) == (10, 10)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("bump"), st.sampled_from("abcdef")),
            st.tuples(st.just("drop"), st.sampled_from("abcdef")),
            st.tuples(st.just("renumber"), st.just("")),
            st.tuples(st.just("many"), st.sampled_from("abcdef")),
        ),
        max_size=30,
    )
)
def test_a_feed_shows_each_row_once_at_its_latest_version(steps: list[tuple[str, str]]) -> None:
    feed, order = Feed(Counter(1)), dict[str, None]()
    for what, key in steps:
        if what == "renumber":
            feed.renumber()
            continue
        order.pop(key, None)
        if what == "drop":
            feed.drop(key)
            continue
        order[key] = None
        for _ in range(700 if what == "many" else 1):
            feed.bump(key)
    shown = list(feed.after(0))
    assert [key for _, key in shown] == list(order)
    versions = [version for version, _ in shown]
    assert versions == sorted(set(versions))
    assert all(feed.version(key) == version for version, key in shown)
    for version, _ in shown:
        assert [other for other, _ in feed.after(version)] == [one for one in versions if one > version]
