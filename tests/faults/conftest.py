"""What the fault tests share: a town whose road to the package leads through the proxy, and worlds in it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.faults import harness
from tests.faults.world import FaultyTown, FaultyWorld
from tests.nursery import nursery


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyTown]:
    town = FaultyTown(tmp_path_factory.mktemp("town"))
    yield town
    town.close()


@pytest.fixture(scope="session")
def one_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Each world empties it."""
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'connector.db'}"


@pytest.fixture(scope="session")
def one_postgres(postgres_server: str) -> Iterator[str]:
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
def world(town: FaultyTown, one_sqlite: str) -> Iterator[FaultyWorld]:
    """A linked connection that has read nothing yet, on SQLite."""
    world = FaultyWorld(town, one_sqlite, seed=3)
    yield world
    world.close()


@pytest.fixture(params=["one_sqlite", "one_postgres"], ids=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, town: FaultyTown) -> Iterator[FaultyWorld]:
    """The same on each database in turn."""
    world = FaultyWorld(town, request.getfixturevalue(request.param), seed=3)
    yield world
    world.close()


@pytest.fixture
def make(town: FaultyTown, one_sqlite: str) -> Iterator[Callable[..., FaultyWorld]]:
    """Makes a world of another size or temper."""
    with contextlib.ExitStack() as stack:

        def make(url: str = one_sqlite, **rest: Any) -> FaultyWorld:
            return stack.enter_context(contextlib.closing(FaultyWorld(town, url, seed=3, **rest)))

        yield make


class Lender:
    """Lends one world, read and delivered, to a test after the other; a first load costs more than most tests."""

    def __init__(self, town: FaultyTown, url: str) -> None:
        self._town, self._url = town, url
        self._world: FaultyWorld | None = None

    def lend(self) -> FaultyWorld:
        if self._world is None:
            self._world = FaultyWorld(self._town, self._url, seed=3)
            self._world.settle()
        self._world.enter()
        return self._world

    def take_back(self, *, spoilt: bool) -> None:
        if self._world is not None and spoilt:
            self._world.close()
            self._world = None


@pytest.fixture(scope="module")
def lender(town: FaultyTown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    lender = Lender(town, f"sqlite:///{tmp_path_factory.mktemp('lent') / 'connector.db'}")
    yield lender
    lender.take_back(spoilt=True)


@pytest.fixture
def read(lender: Lender) -> Iterator[FaultyWorld]:
    """One whose first load is done and delivered, and who recovers from whatever the test does to it."""
    world = lender.lend()
    try:
        yield world
        world.recover()
    except BaseException:
        lender.take_back(spoilt=True)
        raise


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `connector` processes come from."""
    with nursery(tmp_path_factory.mktemp("nursery")) as door:
        yield door


@pytest.fixture
def victim(door: Path, tmp_path: Path, unused_tcp_port: int) -> Iterator[harness.Victim]:
    """A desk whose processes die, on SQLite."""
    with harness.victim(tmp_path, door, unused_tcp_port) as victim:
        yield victim


@pytest.fixture
def victim_on_postgres(door: Path, tmp_path: Path, unused_tcp_port: int, postgres_url: str) -> Iterator[harness.Victim]:
    with harness.victim(tmp_path, door, unused_tcp_port, postgres_url) as victim:
        yield victim
