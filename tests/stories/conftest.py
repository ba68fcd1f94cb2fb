"""What the stories share: a place where simulated packages and backends answer."""

from collections.abc import Iterator

import pytest

from tests.stories.world import Town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    yield town
    town.close()
