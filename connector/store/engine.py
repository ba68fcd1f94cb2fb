"""Opening the database, and the two ways to use it: `write()` and `read()`.

SQLite runs in WAL with `synchronous=FULL`, and every write transaction starts with BEGIN IMMEDIATE: SQLAlchemy's
default loses updates without an error (reliability sheet, section 3). PostgreSQL runs through the same statements.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from connector.errors import ConfigurationError, StoreUnavailable
from connector.failpoints import failpoint

BUSY_TIMEOUT_MS = 10_000
READ_ONLY = "25006"
"""PostgreSQL's code for a write to a standby or to a database that was set to read-only."""
MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """One database. Plain and synchronous: async callers use a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One write transaction: commits at the end, rolls back on an error.

        Raises:
            StoreUnavailable: the database is locked, full, read-only or away. Nothing was written, except that a
                connection lost during COMMIT leaves the outcome unknown; callers are idempotent.
        """
        with self._guard(), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent snapshot."""
        with self._guard(), self.engine.connect() as connection:
            yield connection.execution_options(connector_read=True)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise StoreUnavailable(
                f"the database cannot be used: {error.orig}",
                where=self.location,
                fix="check the disk, its free space, its permissions and that the server runs",
            ) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise StoreUnavailable("the database connection was lost", where=self.location) from error
            if getattr(error.orig, "sqlstate", None) == READ_ONLY:
                raise StoreUnavailable(
                    f"the database cannot be used: {error.orig}",
                    where=self.location,
                    fix="check whether the server is a standby, or was set to read-only",
                ) from error
            if self.is_sqlite and type(error.orig) is sqlite3.DatabaseError:  # none of its kinds: the file itself
                raise StoreUnavailable(
                    f"the database file is damaged: {error.orig}",
                    where=self.location,
                    fix="stop the program, keep the file, and restore a backup",
                ) from error
            raise

    @property
    def location(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT of this database's dialect, for ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        self.engine.dispose()


def open_store(url: str, *, migrate: bool = True) -> Store:
    """Open the database at a URL (`sqlite:///books.db`, `postgresql://...`) and bring its schema up to date.

    Raises:
        ConfigurationError: the URL is wrong, the file is no database, or its schema is newer than the program.
        StoreUnavailable: the database cannot be reached.
    """
    parsed = _url(url)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed)
    store = Store(engine)
    try:
        _upgrade(store, migrate=migrate)
    except BaseException:
        store.close()
        raise
    return store


def _url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigurationError(
            "the database URL cannot be read",
            where="[store] url",
            fix='use "sqlite:///connector.db" or "postgresql://…"',
        ) from error
    backend = parsed.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ConfigurationError(
            f"{backend} is not supported", where="[store] url", fix='use "sqlite:///connector.db" or "postgresql://…"'
        )
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _sqlite(url: URL) -> sa.Engine:
    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "the database must be a file", where="[store] url", fix='use "sqlite:///connector.db", for example'
        )
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"the folder {path.parent} does not exist", where="[store] url", fix="create it, or correct the path"
        )
    if path.is_file() and path.stat().st_size == 0:
        raise ConfigurationError(
            "the database file is empty",
            where=str(path),
            fix="restore a backup; if there never was a database here, delete the empty file",
        )
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        try:
            for pragma in (
                "page_size=8192",
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                f"busy_timeout={BUSY_TIMEOUT_MS}",
                "trusted_schema=OFF",
                "cache_size=-4000",
            ):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.DatabaseError as error:
            connection.close()
            if "not a database" in str(error):
                raise ConfigurationError(
                    "the file is not a database",
                    where=str(path),
                    fix="restore a backup or point [store] url elsewhere; the file was left as it is",
                ) from error
            raise

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("connector_read")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgres(url: URL) -> sa.Engine:
    return sa.create_engine(
        url,
        paramstyle="format",
        pool_pre_ping=True,
        connect_args={
            "options": "-c statement_timeout=60000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC",
            "connect_timeout": 10,
        },
    )


def _upgrade(store: Store, *, migrate: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    with store.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in scripts.walk_revisions()}
    if current == head:
        return
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the database has schema {current}, which is newer than this program",
            where=store.location,
            fix="install the newer version again, or restore the backup made before the upgrade",
        )
    if not migrate:
        raise ConfigurationError(
            "the database has no up-to-date schema", where=store.location, fix="run `connector sync` or `connector run`"
        )
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        failpoint("migrate.mid")
