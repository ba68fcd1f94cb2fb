"""What the stories share: a place where simulated packages and backends answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desk import Desk, Servers, servers
from tests.nursery import nursery
from tests.stories.world import Town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    yield town
    town.close()


@pytest.fixture(scope="module")
def around() -> Iterator[Servers]:
    """A package and a backend for processes; the tests of a module share them and their books."""
    with servers() as running:
        yield running


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `connector` processes come from."""
    with nursery(tmp_path_factory.mktemp("nursery")) as door:
        yield door


@pytest.fixture
def desk(around: Servers, door: Path, tmp_path: Path, unused_tcp_port: int) -> Iterator[Desk]:
    """A folder with a key and a configuration; nothing is linked yet."""
    yield Desk(tmp_path, around, unused_tcp_port, door)
    around.clear()
