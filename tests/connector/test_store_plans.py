"""Which index SQLite uses where many keys are asked for at once.

A statement that goes through all rows passes every other test and is too slow with the first real client.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from connector.adapter import Removal, Row
from connector.domain.events import encode
from connector.domain.records import Customer
from connector.store import outbox, quarantine, records, rows
from connector.store.engine import Store, open_store
from connector.store.outbox import Mark, NewEvent
from connector.store.records import Change

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    opened = open_store(sqlite_url)
    yield opened
    opened.close()


def _rows(connection: sa.Connection) -> None:
    parent = Row(kind="document", key="d", group="g", fields={}, version=1)
    child = Row(kind="attachment", key="a", group=None, fields={}, version=1, parent=("document", "d"))
    for cycle in (1, 2):
        rows.upsert(connection, 1, [parent, child], cycle=cycle, seen=True)
    rows.of_groups(connection, 1, ["g"])
    rows.remove(connection, 1, [Removal(kind="document", key="d")])


def _records(connection: sa.Connection) -> None:
    ann = Customer(external_id="c", name="Ann")
    change = Change(entity="customer", external_id="c", group_key="g", version=2, record=ann, body=encode(ann))
    records.write(connection, 1, [change], NOW)
    for entity in ("customer", "invoice", "payment"):
        records.of_groups(connection, 1, entity, ["g"])
        records.by_id(connection, 1, entity, ["c"])


def _outbox(connection: sa.Connection) -> None:
    events = [
        NewEvent(
            type=f"ar.{entity}.upserted.v1",
            entity=entity,
            external_id="x",
            entity_version=2,
            ordering_key="1/c",
            barrier=entity == "freshness",
            data=b"{}",
        )
        for entity in ("customer", "invoice", "freshness")
    ]
    connection.exec_driver_sql(
        "INSERT INTO connection (id, name, package, administration, destination, title, currency, time_zone, sequence,"
        " cycle, context, initial_done, lease_epoch, outcome, reason, failures, alerted)"
        " VALUES (1, 'a', 'p', '1', 'd', '', '', '', 0, 0, '', 0, 0, '', '', 0, 0)"
    )
    outbox.append(connection, connection_id=1, destination="d", source="s", events=events, now=NOW)
    outbox.mark(connection, [Mark(id=1, state="delivered")], NOW)


def _quarantine(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "INSERT INTO quarantine VALUES (1, 'term', 'x', '', 'bad', '1', '', '2026-01-01', '2026-01-01')"
    )
    assert quarantine.cured(connection, 1, kind="term", keys=["x"]) == ["x"]


@pytest.mark.parametrize(("use", "least"), [(_rows, 6), (_records, 6), (_outbox, 3), (_quarantine, 1)])
def test_each_key_is_looked_up_in_an_index(store: Store, use: Callable[[sa.Connection], None], least: int) -> None:
    asked: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "json_each" in statement:
            asked[statement] = parameters

    with store.write() as connection:
        sa.event.listen(store.engine, "before_cursor_execute", note)
        use(connection)
        sa.event.remove(store.engine, "before_cursor_execute", note)
        for statement, parameters in asked.items():
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            (column,) = re.findall(r'(\w+)"? IN \(SELECT value FROM json_each', statement)
            looked_up = "rowid" if column == "id" else column
            assert re.search(rf"^SEARCH .*\b{looked_up}=\?", plan[0]), (statement, plan)
    assert len(asked) >= least
