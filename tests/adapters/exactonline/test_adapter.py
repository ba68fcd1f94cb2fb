"""The adapter against the simulator, over a real socket."""

from collections.abc import AsyncIterator

import pytest

from tests.adapters.exactonline.worlds import ExactWorld, exact_world
from tests.conformance.adapters import AdapterConformance


class TestExactOnline(AdapterConformance):
    @pytest.fixture
    async def world(self) -> AsyncIterator[ExactWorld]:
        async with exact_world() as world:
            yield world
