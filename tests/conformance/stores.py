"""What the store does with rows, groups and records, on every database. Inherit, and provide `store`.

Which groups a page touches decides what is assembled and sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from connector.adapter import REFERENCE_GROUP, Removal, Row
from connector.domain.events import encode
from connector.domain.records import Customer, Invoice, Settlement
from connector.store import connections, groups, records, rows
from connector.store.engine import Store
from connector.store.records import Change

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LARGEST = 2**63 - 1
STRANGE = ["", " ", "a/b", "a/b/c", "İ", "ß", "🧾", "\u202e", "'; DROP TABLE row; --", "%", "_", "x" * 3000]
"""Keys and texts that packages have, or could have."""


def item(key: str, group: str | None = "c1", *, version: int | None = 1, **rest: Any) -> Row:
    fields = {"id": key, "amount": rest.pop("amount", "10.00")}
    return Row(kind=rest.pop("kind", "item"), key=key, group=group, fields=fields, version=version, **rest)


class Shelf:
    """One connection's rows, with each call in a transaction of its own."""

    def __init__(self, store: Store, name: str = "acme") -> None:
        self.store = store
        self.id = connections.register(store, name=name, package="p", administration=name, destination="d", now=NOW).id

    def put(self, *found: Row, cycle: int = 1, **options: Any) -> set[str]:
        with self.store.write() as connection:
            return rows.upsert(connection, self.id, found, cycle=cycle, **options)

    def remove(self, *removals: Removal, **options: Any) -> set[str]:
        with self.store.write() as connection:
            return rows.remove(connection, self.id, removals, **options)

    def group(self, key: str) -> dict[str, list[dict[str, Any]]]:
        with self.store.read() as connection:
            return rows.of_groups(connection, self.id, [key])[key]

    def amounts(self, group: str = "c1") -> dict[str, str]:
        return {fields["id"]: fields["amount"] for fields in self.group(group).get("item", [])}


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """The statements that are executed meanwhile; many rows in one `executemany` are one."""
    seen: list[str] = []

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    sa.event.listen(store.engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", count)


class RowConformance:
    def test_a_new_row_touches_its_group_and_the_same_again_touches_nothing(self, shelf: Shelf) -> None:
        assert shelf.put(item("a")) == {"c1"}
        assert shelf.put(item("a")) == set()
        assert shelf.put(item("a", version=None)) == set()

    def test_the_newest_version_wins_in_whatever_order_they_come(self, shelf: Shelf) -> None:
        shelf.put(item("a", version=5, amount="5.00"))
        assert shelf.put(item("a", version=4, amount="4.00")) == set()
        assert shelf.put(item("a", version=6, amount="6.00")) == {"c1"}
        assert shelf.amounts() == {"a": "6.00"}
        shelf.put(item("b", version=2, amount="2.00"), item("b", version=1, amount="1.00"))
        assert shelf.amounts()["b"] == "2.00"

    def test_a_row_without_a_version_always_applies_and_keeps_the_version(self, shelf: Shelf) -> None:
        shelf.put(item("a", version=5))
        assert shelf.put(item("a", version=None, amount="7.00")) == {"c1"}
        assert shelf.put(item("a", version=4, amount="4.00")) == set()
        assert shelf.amounts() == {"a": "7.00"}

    def test_a_newer_version_with_the_same_content_is_remembered_and_touches_nothing(self, shelf: Shelf) -> None:
        shelf.put(item("a", version=5))
        assert shelf.put(item("a", version=9)) == set()
        assert shelf.put(item("a", version=8, amount="8.00")) == set()
        assert shelf.amounts() == {"a": "10.00"}

    def test_after_a_renumbering_each_version_counts_as_newer(self, shelf: Shelf) -> None:
        shelf.put(item("a", version=900), item("k", kind="other", version=900))
        with shelf.store.write() as connection:
            rows.forget_versions(connection, shelf.id, "item")
        assert shelf.put(item("a", version=1, amount="1.00")) == {"c1"}
        assert shelf.put(item("k", kind="other", version=1, amount="1.00")) == set(), "of that kind only"

    def test_a_row_that_moves_touches_both_groups(self, shelf: Shelf) -> None:
        shelf.put(item("a", "c1"))
        assert shelf.put(item("a", "c2", version=2)) == {"c1", "c2"}
        assert (shelf.amounts("c1"), shelf.amounts("c2")) == ({}, {"a": "10.00"})

    def test_opening_or_closing_is_a_change(self, shelf: Shelf) -> None:
        shelf.put(item("a", open=True))
        assert shelf.put(item("a", open=False, version=2)) == {"c1"}

    def test_quiet_kinds_are_stored_and_touch_nothing(self, shelf: Shelf) -> None:
        assert shelf.put(item("a", "bank"), quiet={"item"}) == set()
        assert shelf.amounts("bank") == {"a": "10.00"}
        assert shelf.remove(Removal(kind="item", key="a"), quiet={"item"}) == set()

    @pytest.mark.parametrize("child_first", [True, False])
    def test_children_join_the_group_of_their_parent_in_either_order(self, shelf: Shelf, child_first: bool) -> None:
        child, parent = item("a", None, parent=("document", "d/1")), item("d/1", kind="document")
        first, second = (child, parent) if child_first else (parent, child)
        touched = [shelf.put(first), shelf.put(second)]
        assert touched == ([set(), {"c1"}] if child_first else [{"c1"}, {"c1"}])
        assert shelf.amounts() == {"a": "10.00"}
        assert shelf.put(item("d/1", "c2", kind="document", version=2)) == {"c1", "c2"}
        assert (shelf.amounts("c1"), shelf.amounts("c2")) == ({}, {"a": "10.00"})

    def test_children_of_children_follow(self, shelf: Shelf) -> None:
        shelf.put(item("a", None, parent=("page", "p")))
        shelf.put(item("p", None, kind="page", parent=("document", "d")))
        assert shelf.amounts() == {}
        assert shelf.put(item("d", kind="document")) == {"c1"}
        assert shelf.amounts() == {"a": "10.00"}

    def test_a_removal_is_believed_unless_a_newer_incarnation_is_there(self, shelf: Shelf) -> None:
        shelf.put(*(item(key, version=5) for key in "abc"))
        gone = [Removal(kind="item", key=key, version=version) for key, version in (("a", 5), ("b", 4), ("c", None))]
        assert shelf.remove(*gone) == {"c1"}
        assert shelf.amounts() == {"b": "10.00"}
        assert shelf.remove(*gone, Removal(kind="item", key="never seen")) == set()

    def test_unseen_are_those_a_complete_read_did_not_hold(self, shelf: Shelf) -> None:
        shelf.put(item("a", open=True), item("b", open=True), item("c"), cycle=1)
        shelf.put(item("a", open=True), cycle=2, seen=True)
        shelf.put(item("b", open=True), cycle=2)
        unseen = [
            rows.unseen(shelf.store, shelf.id, "item", since=2, open_only=open_only) for open_only in (True, False)
        ]
        assert unseen == [["b"], ["b", "c"]]
        assert rows.unseen(shelf.store, shelf.id, "other", since=9, open_only=False) == []
        counts = [rows.count(shelf.store, shelf.id, "item", open_only=open_only) for open_only in (True, False)]
        assert counts == [2, 3]

    def test_open_items_whose_customer_is_missing(self, shelf: Shelf) -> None:
        shelf.put(
            item("a", "c1", open=True), item("b", "c2", open=True), item("c", "c3"), item("c2", "c2", kind="customer")
        )
        assert rows.without_anchor(shelf.store, shelf.id, "customer", ["item"]) == ["c1"]

    def test_rows_are_found_by_key_by_the_beginning_of_it_and_by_what_is_open(self, shelf: Shelf) -> None:
        shelf.put(item("a/1"), item("a/2", open=True), item("a", "c2"), item("ab/3"), item("b/4", "c2", open=True))
        shelf.put(item("a/5", kind="other"), item("c", None, open=True))
        found = rows.of_keys(shelf.store, shelf.id, "item", ["a/1", "ab/3", "a/5"])
        assert {key: fields["id"] for key, fields in found.items()} == {"a/1": "a/1", "ab/3": "ab/3"}
        assert sorted(rows.parts(shelf.store, shelf.id, "item", ["a", "b", "A"])) == ["a/1", "a/2", "b/4"]
        many = [f"n{number}" for number in range(2 * rows.PREFIXES)]
        assert list(rows.parts(shelf.store, shelf.id, "item", [*many, "a"])) == ["a/1", "a/2"]
        assert rows.open_groups(shelf.store, shelf.id, "item") == ["c1", "c2"]

    def test_references_and_days(self, shelf: Shelf) -> None:
        shelf.put(item("j2", REFERENCE_GROUP, kind="journal"), item("j1", REFERENCE_GROUP, kind="journal"))
        assert [row["id"] for row in rows.references(shelf.store, shelf.id)["journal"]] == ["j1", "j2"]
        shelf.put(*(item(f"b{day}", "bank", kind="booking", day=date(2026, 11, day)) for day in (3, 9, 5)))
        newest = rows.newest_days(shelf.store, shelf.id, "booking", ["bank", "cash"])
        assert newest == {"bank": date(2026, 11, 9)}
        assert len(rows.of_kind(shelf.store, shelf.id, "booking")) == 3

    def test_connections_do_not_see_one_another(self, shelf: Shelf) -> None:
        other = Shelf(shelf.store, "other")
        shelf.put(item("a"))
        assert other.put(item("a", amount="3.00")) == {"c1"}
        assert other.remove(Removal(kind="item", key="a")) == {"c1"}
        assert shelf.amounts() == {"a": "10.00"}

    def test_strange_keys_and_texts_come_back_as_they_went(self, shelf: Shelf) -> None:
        shelf.put(*(item(text, group=f"g{text}", amount=text) for text in STRANGE))
        for text in STRANGE:
            assert shelf.amounts(f"g{text}") == {text: text}
        assert set(rows.unseen(shelf.store, shelf.id, "item", since=2, open_only=False)) == set(STRANGE)

    def test_sixty_four_bits(self, shelf: Shelf) -> None:
        shelf.put(item("a", version=LARGEST), cycle=LARGEST)
        assert shelf.put(item("a", version=LARGEST - 1, amount="1.00")) == set()
        assert rows.unseen(shelf.store, shelf.id, "item", since=LARGEST, open_only=False) == []

    def test_nothing_in_nothing_out(self, shelf: Shelf) -> None:
        assert shelf.put() == shelf.remove() == set()
        with shelf.store.write() as connection:
            assert rows.of_groups(connection, shelf.id, []) == {}
            groups.touch(connection, shelf.id, [])
            groups.assembled(connection, shelf.id, {})
            records.write(connection, shelf.id, [], NOW)
            records.move(connection, shelf.id, "invoice", {})
        assert groups.totals(shelf.store, shelf.id) == (0, 0)

    @pytest.mark.parametrize("again", ["new", "same", "changed", "moved", "removed"])
    def test_a_page_takes_as_many_statements_with_many_rows_as_with_few(self, shelf: Shelf, again: str) -> None:
        few, many = (self._statements(shelf, again, count) for count in (3, 400))
        assert few == many < 12

    def _statements(self, shelf: Shelf, again: str, count: int) -> int:
        def page(group: str, version: int, amount: str = "1.00") -> list[Row]:
            parents = [item(f"{count}/{n}", f"{group}{n}", kind="document", version=version) for n in range(count)]
            children = [
                item(f"{count}/{n}", None, parent=("document", f"{count}/{n}"), version=version, amount=amount)
                for n in range(count)
            ]
            return [*parents, *children]

        if again != "new":
            shelf.put(*page("g", 1))
        second = {"changed": page("g", 2, "2.00"), "moved": page("h", 2)}.get(again, page("g", 1))
        with counted(shelf.store) as statements:
            if again == "removed":
                shelf.remove(*(Removal(kind=row.kind, key=row.key) for row in second))
            else:
                shelf.put(*second, cycle=2, seen=True)
        return len(statements)


def invoice(key: str, amount: str, *paid: str) -> Invoice:
    total, settled = Decimal(amount), [Decimal(each) for each in paid]
    return Invoice(
        external_id=key,
        kind="invoice",
        customer="c1",
        currency="EUR",
        total=total,
        open=total - sum(settled),
        base_currency="EUR",
        base_total=total,
        base_open=total - sum(settled),
        settlements=tuple(Settlement(kind="payment", amount=-each, base_amount=-each) for each in settled),
        payment_status="open",
    )


def change(record: Any, version: int = 1, group: str = "c1", *, removed: bool = False) -> Change:
    entity: Any = type(record).__name__.lower()
    return Change(
        entity=entity,
        external_id=record.external_id,
        group_key=group,
        version=version,
        record=record,
        body=encode(record),
        removed=removed,
    )


class RecordConformance:
    def write(self, shelf: Shelf, *changes: Change) -> None:
        with shelf.store.write() as connection:
            records.write(connection, shelf.id, changes, NOW)

    def settlements(self, shelf: Shelf) -> list[tuple[str, int]]:
        columns = records.SETTLEMENTS.c
        with shelf.store.read() as connection:
            found = connection.execute(sa.select(columns.invoice, columns.amount_minor).order_by(*columns))
            return [(row.invoice, row.amount_minor) for row in found]

    def test_a_version_replaces_the_one_before_with_its_settlements(self, shelf: Shelf) -> None:
        self.write(shelf, change(invoice("i1", "100.00", "30.00", "20.00")), change(invoice("i2", "5.00")))
        self.write(shelf, change(invoice("i1", "100.00", "99.99"), 2))
        assert self.settlements(shelf) == [("i1", -9999)]
        with shelf.store.read() as connection:
            stored = records.by_id(connection, shelf.id, "invoice", ["i1", "nobody"])
        assert {key: (one.version, one.removed) for key, one in stored.items()} == {"i1": (2, False)}
        assert msgspec.json.decode(stored["i1"].record, type=Invoice) == invoice("i1", "100.00", "99.99")

    def test_figures_are_exact_and_leave_the_removed_out(self, shelf: Shelf) -> None:
        largest = "999999999999.99"
        self.write(shelf, change(invoice("i1", largest)), change(invoice("i2", largest)), change(invoice("i3", "0.01")))
        self.write(shelf, change(invoice("i2", largest), 2, removed=True))
        self.write(shelf, change(Customer(external_id="c1", name="Bakker [x] :-) 🧾")))
        figures = records.figures(shelf.store, shelf.id)
        assert (figures.customers, figures.invoices, figures.open_invoices) == (1, 2, 2)
        assert figures.open == {"EUR": Decimal("1000000000000.00")}

    def test_moving_to_another_group_makes_no_version(self, shelf: Shelf) -> None:
        self.write(shelf, change(invoice("i1", "1.00")))
        with shelf.store.write() as connection:
            records.move(connection, shelf.id, "invoice", {"i1": "c2"})
            found = records.of_groups(connection, shelf.id, "invoice", ["c1", "c2"])
        assert [(one.group_key, one.version) for one in found.values()] == [("c2", 1)]

    def test_many_records_take_as_many_statements_as_few(self, shelf: Shelf) -> None:
        def statements(count: int) -> int:
            made = [change(invoice(f"{count}/{n}", "3.00", "1.00"), 2) for n in range(count)]
            with counted(shelf.store) as seen:
                self.write(shelf, *made)
            return len(seen)

        assert statements(3) == statements(800)

    def test_groups_are_marked_until_they_are_assembled(self, shelf: Shelf) -> None:
        with shelf.store.write() as connection:
            groups.touch(connection, shelf.id, ["b", "a", "c"])
        assert groups.touched(shelf.store, shelf.id, 2) == ["a", "b"]
        with shelf.store.write() as connection:
            groups.assembled(connection, shelf.id, {"a": (LARGEST // 4, -5), "b": (1, 0)})
        assert groups.touched(shelf.store, shelf.id, 9) == ["c"]
        assert groups.totals(shelf.store, shelf.id) == (LARGEST // 4 + 1, -5)
        with shelf.store.write() as connection:
            groups.touch(connection, shelf.id, ["a"])
            assert groups.count_touched(connection, shelf.id) == 2
        assert groups.totals(shelf.store, shelf.id) == (LARGEST // 4 + 1, -5), "a mark changes no total"
        with shelf.store.write() as connection:
            groups.touch_all(connection, shelf.id)
            assert groups.count_touched(connection, shelf.id) == 3
        assert list(groups.after(shelf.store, shelf.id, "a", 5)) == ["b", "c"]
