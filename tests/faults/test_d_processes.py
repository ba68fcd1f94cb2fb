"""Group D of the fault catalogue where it takes processes: they share one connection of Exact Online, and die.

The simulator is the judge: it counts refreshes before 570 seconds are over and uses of a refresh token that is spent.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from adapters.exactonline.simulator import ExactSimulator, SimulatorSettings, create
from adapters.simulation import generate
from connector.errors import AuthRevoked
from connector.oauth import LEASE
from connector.secrets import Secret
from connector.store import connections, tokens
from connector.store.engine import Store
from connector.store.spill import Spill
from connector.store.tokens import NEEDS_REAUTH, StoredToken, TokenStore
from connector.token_endpoint import Granted, TokenEndpoint
from tests.clocks import ManualClock
from tests.faults import fleet
from tests.faults.fleet import Conductor, Orders, conductor, use_at_ten_minutes, use_now_and_then
from tests.faults.harness import TABLES, Victim
from tests.faults.test_a_processes import until
from tests.servers import serve
from tests.tokens import manager, sign_in
from tests.vaults import VAULT

NIGHTLY = os.environ.get("CONNECTOR_TEST_PROFILE") == "nightly"
REDIRECT = "http://localhost/callback"
TOKEN = "/api/oauth2/token"
DAY = timedelta(days=1)
PLACES = {
    "": 8,
    "token.before_intent": 1,
    "token.after_intent": 1,
    "token.after_http": 1,
    "token.after_commit": 1,
}
"""Where a process dies in a refresh, and how often; many live on."""


@dataclass
class Shop:
    """One connection to a simulated Exact Online, for as many processes as a test wants."""

    store: Store
    clock: ManualClock
    simulator: ExactSimulator
    conductor: Conductor
    orders: Orders
    seats: int = 0

    def start(self, work: fleet.Work, failpoint: str = "") -> int:
        self.seats += 1
        self.conductor.start(replace(self.orders, seat=self.seats, seed=self.seats, failpoint=failpoint), work)
        return self.seats

    async def person_signs_in(self) -> None:
        app = fleet.app(self.orders.package)
        code = Secret(self.simulator.office.approve(REDIRECT))
        answer = await TokenEndpoint("acme", app, self.clock).exchange(code, REDIRECT, None)
        assert isinstance(answer, Granted), answer
        sign_in(self.store, self.orders.connection_id, answer.grant)

    async def alone(self) -> str:
        """Use the token in this process."""
        app = fleet.app(self.orders.package)
        ours = manager(self.store, self.orders.connection_id, app, Path(self.orders.spill), self.clock)
        return (await ours.access_token()).reveal()

    @property
    def stored(self) -> StoredToken:
        token = TokenStore(self.store, VAULT).get(self.orders.connection_id)
        assert token is not None
        return token

    @property
    def token_calls(self) -> int:
        return sum(one.path == TOKEN for one in self.simulator.requests)


@pytest.fixture
async def shop(store: Store, tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(store, tmp_path) as shop:
        yield shop


@asynccontextmanager
async def opened(store: Store, folder: Path) -> AsyncIterator[Shop]:
    clock = ManualClock()
    books = generate(seed=1, customers=1, invoices=1, today=clock.now().date())
    simulator = create(books, clock, SimulatorSettings(minute_limit=10**6, day_limit=10**6))
    linked = connections.register(
        store, name="acme", package="exactonline", administration="1", destination="backend", now=clock.now()
    )
    url = store.engine.url.render_as_string(hide_password=False)
    async with serve(simulator.app) as package, conductor(folder / "conductor", clock) as conducting:
        orders = Orders(
            socket=str(folder / "conductor"),
            seat=0,
            database=url.replace("postgresql+psycopg", "postgresql"),
            connection_id=linked.id,
            package=package,
            spill=str(folder / "spill"),
            seed=0,
        )
        shop = Shop(store, clock, simulator, conducting, orders)
        await shop.person_signs_in()
        yield shop


async def test_d1_eight_processes_find_the_token_expired_and_one_asks(shop: Shop) -> None:
    for _ in range(8):
        shop.start(use_at_ten_minutes)
    while shop.conductor.alive:
        await shop.conductor.step()
    assert list(shop.conductor.codes.values()) == [0] * 8
    assert shop.token_calls == 2, "one of them signed in"
    assert shop.simulator.violations == {}


async def test_d2_killed_before_the_request_it_is_made_by_another(shop: Shop) -> None:
    victim = shop.start(use_at_ten_minutes, "token.after_intent=kill9")
    while shop.conductor.alive:
        await shop.conductor.step()
    assert shop.conductor.codes == {victim: -signal.SIGKILL}
    assert (shop.token_calls, shop.stored.intent_at) == (1, shop.clock.now())
    shop.clock.advance(570)  # what is not known to have been refused may have been granted
    assert await shop.alone() == shop.simulator.office.newest
    assert (shop.token_calls, shop.simulator.violations) == (2, {})


async def test_d3_killed_with_the_only_copy_a_person_is_asked_for_at_once(shop: Shop) -> None:
    """The old token is tried once, in the first attempt that the package allows."""
    victim = shop.start(use_at_ten_minutes, "token.after_http=kill9")
    while shop.conductor.alive:
        await shop.conductor.step()
    assert shop.conductor.codes == {victim: -signal.SIGKILL}
    shop.clock.advance(LEASE.total_seconds() + 570)
    with pytest.raises(AuthRevoked, match="Old refresh token used"):
        await shop.alone()
    assert (shop.stored.status, shop.token_calls) == (NEEDS_REAUTH, 3)
    assert shop.simulator.violations == {"old_refresh_token": 1}
    await shop.person_signs_in()
    assert await shop.alone() == shop.simulator.office.newest


def test_d9_the_daemon_keeps_alive_what_nothing_else_uses(victim: Victim) -> None:
    """Its next sync is weeks away, as for a connection that is paused."""
    victim.linked()
    idle = timedelta(days=12)
    victim.clock.passed += idle
    token, connection = TABLES["token"], TABLES["connection"]
    moments = ("expires_at", "refreshed_at", "refresh_expires_at", "signed_in_at")
    with victim.database() as store, store.write() as transaction:
        row = transaction.execute(sa.select(*(token.c[name] for name in moments))).mappings().one()
        transaction.execute(sa.update(token).values({name: row[name] - idle for name in moments}))
        transaction.execute(sa.update(connection).values(next_due_at=row["refreshed_at"] + idle))

    def generation() -> int:
        with victim.database() as store:
            return tokens.sign_ins(store)[1].generation

    process = victim.start("run")
    until(lambda: generation() == 2)
    done = victim.end(process)
    assert "keep_alive.finished" in done.err
    assert victim.servers.simulator.violations == {}


@dataclass
class Fate:
    """Who dies when, by chance; and what died with them."""

    shop: Shop
    random: Random
    armed: Counter[str] = field(default_factory=Counter)
    losses: set[str] = field(default_factory=set)
    pending: str | None = None
    """A lost token that nobody has missed yet."""

    def replace_the_dead(self) -> None:
        """Eight at work, some of them doomed to die on their way through a refresh."""
        while len(self.shop.conductor.alive) < 8:
            (place,) = self.random.choices([*PLACES], [*PLACES.values()])
            self.armed[place] += 1
            self.shop.start(use_now_and_then, f"{place}=kill9@{self.random.randint(1, 3)}" if place else "")

    async def strike(self, awake: list[int]) -> None:
        """Kill one of those who are at work now, somewhere in it; not in the one more try that finds out a loss."""
        if self.random.random() < 0.02 and awake and self.pending is None:
            await asyncio.sleep(self.random.uniform(0, 0.006))
            victim = self.random.choice(awake)
            if victim in self.shop.conductor.alive:
                await self.shop.conductor.kill(victim)

    async def look(self) -> None:
        """While everybody waits: what was lost, and whether a person is needed."""
        stored = self.shop.stored
        given = self.shop.simulator.office.refresh_token
        aside = Spill(Path(self.shop.orders.spill)).connections()
        self.pending = None if given == stored.refresh.reveal() or aside else given
        self.losses |= {self.pending} - {None}
        if stored.status == NEEDS_REAUTH and self.random.random() < 0.1:
            await self.shop.person_signs_in()


@pytest.mark.parametrize("seed", range(20 if NIGHTLY else 1))
async def test_eight_processes_that_die_at_random_for_a_day(store: Store, tmp_path: Path, seed: int) -> None:
    """Also D8. A token is lost when its receiver dies before its first durable write.

    Then the spent one is tried once, and somebody signs in. Nothing else may ever count as a violation.
    """
    async with opened(store, tmp_path) as shop:
        fate = Fate(shop, Random(seed))
        ends = shop.clock.now() + (DAY if NIGHTLY or store.is_sqlite else DAY / 6)
        while shop.clock.now() < ends:
            fate.replace_the_dead()
            await shop.conductor.quiet()
            await fate.look()
            await fate.strike(await shop.conductor.step())
        await shop.conductor.quiet()
        await fate.look()
        violations = dict(shop.simulator.violations)
        tried = len(fate.losses) - (fate.pending is not None and shop.stored.status != NEEDS_REAUTH)
        deaths = Counter(shop.conductor.codes.values())
    assert violations == ({"old_refresh_token": tried} if tried else {})
    assert set(deaths) == {-signal.SIGKILL}, deaths
    assert len(fate.losses) <= fate.armed["token.after_http"] + deaths[-signal.SIGKILL]
    assert deaths[-signal.SIGKILL] >= (6 if store.is_sqlite else 1)
    assert shop.token_calls >= (60 if store.is_sqlite else 10)
    assert [one for one in shop.simulator.requests if one.path.endswith("/Me") and one.status not in {200, None}] == []
