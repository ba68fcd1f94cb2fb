"""The adapter against the simulator, over a real socket. NOTES.md names these tests beside the quirks they prove."""

from collections.abc import AsyncIterator

import pytest

from tests.adapters.snelstart.worlds import SnelWorld, settings, snel_world
from tests.conformance.adapters import AdapterConformance


class TestSnelStart(AdapterConformance):
    @pytest.fixture
    async def world(self) -> AsyncIterator[SnelWorld]:
        async with snel_world() as world:
            yield world


class TestWithoutTheFilterForOpenItems(AdapterConformance):
    @pytest.fixture
    async def world(self) -> AsyncIterator[SnelWorld]:
        async with snel_world(settings(unfilterable=frozenset({"verkoopfacturen/OpenstaandSaldo"}))) as world:
            yield world
