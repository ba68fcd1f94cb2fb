"""The store suites on SQLite and PostgreSQL: the fixture `store` gives each in turn."""

import pytest

from connector.store.engine import Store
from tests.conformance.leases import ConnectionConformance, FeedConformance, QuarantineConformance
from tests.conformance.stores import RecordConformance, RowConformance, Shelf


@pytest.fixture
def shelf(store: Store) -> Shelf:
    return Shelf(store)


class TestRows(RowConformance):
    pass


class TestRecords(RecordConformance):
    pass


class TestConnections(ConnectionConformance):
    pass


class TestFeeds(FeedConformance):
    pass


class TestQuarantine(QuarantineConformance):
    pass
