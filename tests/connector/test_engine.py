"""Opening a database, and what its transactions promise. E numbers: the reliability sheet, section 8."""

import contextlib
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from connector.errors import ConfigurationError, StoreUnavailable
from connector.store import connections
from connector.store.engine import Store, open_store
from connector.store.tables import Base

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def register(store: Store) -> connections.Linked:
    return connections.register(store, name="acme", package="books", administration="1", destination="backend", now=NOW)


def test_a_new_database_gets_every_table(store: Store) -> None:
    assert set(Base.metadata.tables) <= set(sa.inspect(store.engine).get_table_names())


def test_the_migrations_and_the_tables_agree(store: Store) -> None:
    inspector = sa.inspect(store.engine)
    for name, table in Base.metadata.tables.items():
        assert {column["name"] for column in inspector.get_columns(name)} == set(table.columns.keys()), name
        assert {index["name"] for index in inspector.get_indexes(name)} >= {index.name for index in table.indexes}, name


def test_opening_again_keeps_what_is_there(store: Store, store_url: str) -> None:
    register(store)
    again = open_store(store_url, migrate=False)
    assert connections.find(again, "acme").next_due_at == NOW
    again.close()


def test_a_newer_schema_is_refused(store: Store, store_url: str) -> None:
    """E8."""
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer than this program"):
        open_store(store_url)


def test_an_error_rolls_everything_back(store: Store) -> None:
    register(store)
    with contextlib.suppress(KeyError), store.write() as connection:
        connection.execute(sa.update(connections.TABLE).values(title="half"))
        raise KeyError
    assert connections.find(store, "acme").title == ""


def test_no_increment_is_lost(store: Store, store_url: str) -> None:
    """E2: six threads and two processes read a number under the fence and write it back, one higher."""
    linked = register(store)
    lease = connections.claim(store, linked.id, owner="test", now=NOW, ttl=HOUR)
    errors: list[Exception] = []

    def increment() -> None:
        try:
            for _ in range(10):
                with store.write() as connection:
                    connections.fence(connection, lease, now=NOW, ttl=HOUR)
                    before = connections.get(connection, linked.id).sequence
                    connection.execute(sa.update(connections.TABLE).values(sequence=before + 1))
        except Exception as error:  # noqa: BLE001 - told to the test, which fails
            errors.append(error)

    script = f"""
        from datetime import datetime, timedelta
        import sqlalchemy as sa
        from connector.store import connections
        from connector.store.engine import open_store
        store = open_store({store_url!r})
        lease = connections.Lease(connection_id={linked.id}, owner="test", epoch={lease.epoch})
        for _ in range(10):
            with store.write() as connection:
                connections.fence(connection, lease, now=datetime.fromisoformat({NOW.isoformat()!r}), ttl=timedelta(1))
                before = connections.get(connection, {linked.id}).sequence
                connection.execute(sa.update(connections.TABLE).values(sequence=before + 1))
        store.close()
    """
    processes = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) for _ in range(2)]
    threads = [threading.Thread(target=increment) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert errors == []
    assert connections.find(store, "acme").sequence == 80


def test_a_plain_read_and_write_loses_nothing_on_sqlite(tmp_path: Path) -> None:
    """E2 without a fence: SQLite's write transactions begin as writers, so what they read cannot change."""
    store = open_store(f"sqlite:///{tmp_path / 'connector.db'}")
    linked = register(store)

    def increment() -> None:
        for _ in range(10):
            with store.write() as connection:
                before = connections.get(connection, linked.id).sequence
                connection.execute(sa.update(connections.TABLE).values(sequence=before + 1))

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert connections.find(store, "acme").sequence == 40
    store.close()


def test_a_read_is_one_snapshot_on_sqlite(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'connector.db'}")
    linked = register(store)
    with store.read() as reading:
        assert connections.get(reading, linked.id).title == ""
        with store.write() as writing:
            connections.identified(writing, linked.id, title="Acme B.V.", currency="EUR", time_zone="UTC")
        assert connections.get(reading, linked.id).title == ""
    assert connections.find(store, "acme").title == "Acme B.V."
    store.close()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """E7: a garbage header."""
    file = tmp_path / "connector.db"
    file.write_bytes(b"these are not the books you are looking for" * 100)
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match="not a database"):
        open_store(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_an_empty_file_is_not_filled(tmp_path: Path) -> None:
    """E7: zero bytes are what a full disk or a failed restore leaves, not a new database."""
    file = tmp_path / "connector.db"
    file.touch()
    with pytest.raises(ConfigurationError, match="empty"):
        open_store(f"sqlite:///{file}")
    assert file.read_bytes() == b""


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        open_store(f"sqlite:///{tmp_path / 'none' / 'connector.db'}")


@pytest.mark.parametrize("url", ["", "books", "mysql://db/books", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[store\] url"):
        open_store(url)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_written() -> None:
    """E7: a precise error with the first write, and no change."""
    script = """
        import os
        import sys
        import sqlalchemy as sa
        from connector.errors import StoreUnavailable
        from connector.store.connections import TABLE, everyone
        from connector.store.engine import open_store
        store = open_store(sys.argv[1])
        everyone(store)
        store.close()  # the pool's connections were opened by root
        os.setuid(65534)
        try:
            with store.write() as connection:
                connection.execute(sa.update(TABLE).values(title="changed"))
        except StoreUnavailable as error:
            print(error)
    """
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/connector.db"
        store = open_store(url)
        register(store)
        Path(folder, "connector.db").chmod(0o444)
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", textwrap.dedent(script), url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "cannot be used" in told
        assert folder in told
        assert connections.find(store, "acme").title == ""
        store.close()


def test_a_server_that_is_away() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be used") as caught:
        open_store("postgresql://someone:hunter22@127.0.0.1:9/books")
    assert "hunter22" not in str(caught.value)
