"""The migrations build exactly the tables the program uses."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from connector.store.engine import Store, open_store
from connector.store.tables import Base


def test_migrated_schema_is_the_schema_of_the_tables(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_again_migrates_nothing(store: Store, store_url: str) -> None:
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO data_key (connection_id, number, key_ct) VALUES (1, 1, 'kept')")
    again = open_store(store_url)
    with again.read() as connection:
        assert connection.exec_driver_sql("SELECT key_ct FROM data_key").scalar() == "kept"
    again.close()
