"""What the tests of sign-ins and tokens share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connector.store.engine import Store
from tests.clocks import ManualClock
from tests.servers import serve
from tests.tokens import Bench, FakeTokens, Make, Misbehaviour, link


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> Make:
    @asynccontextmanager
    async def make(
        *script: Misbehaviour, expires_in: Any = "600", not_before_s: int = 0, **rules: Any
    ) -> AsyncIterator[Bench]:
        clock = ManualClock()
        fake = FakeTokens(clock=clock, expires_in=expires_in, not_before_s=not_before_s, script=list(script))
        async with serve(fake.app()) as url:
            rules = {"refresh_not_before_s": not_before_s, **rules}
            linked = link(store, clock.now(), refresh_days=rules.get("refresh_token_days"))
            yield Bench(store, clock, fake, url, linked, tmp_path / "spill", rules)

    return make
