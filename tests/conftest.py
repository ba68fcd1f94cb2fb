"""What every test gets: a clean environment, repeatable properties, a database of either kind, a watch for leaks."""

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from connector.store.engine import Store, open_store
from tests import leaks, postgres

for variable in [name for name in os.environ if name.startswith("CONNECTOR_")]:
    if not variable.startswith("CONNECTOR_TEST_"):
        del os.environ[variable]

# `quick` is the same for everybody, so that a red run is about the change; CONNECTOR_TEST_PROFILE=nightly explores.
hypothesis.settings.register_profile("quick", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("CONNECTOR_TEST_PROFILE", "quick"))


WATCH = leaks.Watch()


@pytest.fixture(autouse=True)
def nothing_secret_is_logged() -> Iterator[None]:
    with WATCH.listening():
        yield
    assert WATCH.taken() == []


@pytest.fixture(scope="session")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> leaks.Files:
    return leaks.Files(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module", autouse=True)
def nothing_secret_is_stored(left_behind: leaks.Files) -> Iterator[None]:
    yield
    assert left_behind.leaks() == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that prints a secret fails, whatever else it proves."""
    report = yield
    printed = leaks.in_output(report.capstdout) or leaks.in_output(report.capstderr)
    if printed and report.passed:
        report.outcome, report.longrepr = "failed", f"a secret was printed: {printed}"
    return report


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with our tables and nothing in them, to be copied: that takes a tenth of migrating."""
    file = tmp_path_factory.mktemp("migrated") / "connector.db"
    open_store(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """The same on the PostgreSQL server; others are made after its pattern."""
    with postgres.database(postgres_server) as url:
        open_store(url).close()
        yield url


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """A SQLite database with our tables and nothing in them."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'connector.db')}"


@pytest.fixture
def migrated_postgres_url(postgres_server: str, migrated_postgres: str) -> Iterator[str]:
    with postgres.database(postgres_server, like=migrated_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A database of each kind in turn, with our tables and nothing in them."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "migrated_postgres_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An open store of each kind in turn."""
    opened = open_store(store_url)
    yield opened
    opened.close()
