"""Processes that share one connection's tokens, and a time that passes only while all of them wait for it.

A process waits by telling the conductor until when; when every one of them waits, the conductor moves the clock to the
earliest of these moments and lets go whoever is due. So hours pass in seconds, nobody sleeps, and nothing that takes
real time (a request, a commit, a process that dies) takes any of the simulated one.
"""

import asyncio
import contextlib
import multiprocessing
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from connector.adapter import packages
from connector.clock import Clock
from connector.errors import NeedsReconnect, Throttled, Unavailable
from connector.network import transport
from connector.oauth import TokenManager
from connector.secrets import Secret
from connector.store.engine import open_store
from connector.token_endpoint import OAuthApp
from tests import tokens
from tests.clocks import ManualClock
from tests.nursery import arm

transport()  # reads the machine's certificates: once, where processes are forked from, and not in each of them
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "tests.faults.fleet", "adapters.exactonline.adapter"])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = 1_000_000
LOOK_AGAIN_S = 900.0
"""How often a process looks whether a person has signed in."""

Work = Callable[["Member"], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a process is told when it starts; it fits through a pipe."""

    socket: str
    seat: int
    database: str
    connection_id: int
    package: str
    spill: str
    seed: int
    failpoint: str = ""


class DistantClock:
    """The conductor's clock, as a process sees it: it stands still between two waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._now = 0
        """Microseconds, as in the conductor's messages."""

    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=self._now)

    def monotonic(self) -> float:
        return self._now / MICRO

    async def sleep(self, seconds: float) -> None:
        self._writer.write(b"%d\n" % (self._now + round(seconds * MICRO)))
        line = await self._reader.readline()
        if not line:
            sys.exit()  # the conductor is gone
        self._now = int(line)


@dataclass
class Member:
    """One process: its token manager, and the package to use the token on."""

    orders: Orders
    clock: Clock
    tokens: TokenManager
    http: httpx.AsyncClient
    random: random.Random

    async def use(self) -> str:
        """Ask the package something; the token that was used."""
        access = (await self.tokens.access_token()).reveal()
        answer = await self.http.get("/api/v1/current/Me", headers={"Authorization": f"Bearer {access}"})
        assert answer.status_code == 200, answer
        return access


def app(package: str) -> OAuthApp:
    """Exact Online's own rules, at this address."""
    exact = packages()["exactonline"]
    assert exact.oauth is not None
    oauth = exact.oauth(exact.options(base_url=package))
    return OAuthApp(oauth=oauth, client_id="simulated-client", client_secret=Secret("simulated-secret"))


async def use_now_and_then(member: Member) -> None:
    """For ever: use the token, wait a while; when it says until when to wait, wait until then."""
    while True:
        pause_s = member.random.uniform(30, 2400)
        try:
            await member.use()
        except Throttled as error:
            pause_s = (error.until - member.clock.now()).total_seconds() + member.random.uniform(0, 30)
        except NeedsReconnect:
            pause_s = LOOK_AGAIN_S
        except Unavailable:
            pause_s = 60
        await member.clock.sleep(pause_s)


async def use_at_ten_minutes(member: Member) -> None:
    """Once, at the very moment at which everybody finds the token expired."""
    await member.clock.sleep(601)
    await member.use()


def run(orders: Orders, work: Work) -> None:
    """The whole life of a process."""
    if orders.failpoint:
        arm(orders.failpoint)
    with contextlib.suppress(ConnectionError):
        asyncio.run(_live(orders, work))


async def _live(orders: Orders, work: Work) -> None:
    reader, writer = await asyncio.open_unix_connection(orders.socket)
    writer.write(f"{orders.seat}\n".encode())
    clock = DistantClock(reader, writer)
    await clock.sleep(0)
    store = open_store(orders.database, migrate=False)
    manager = tokens.manager(store, orders.connection_id, app(orders.package), Path(orders.spill), clock)
    async with httpx.AsyncClient(base_url=orders.package, trust_env=False, verify=False, timeout=30) as http:
        await work(Member(orders, clock, manager, http, random.Random(orders.seed)))
    store.close()


@dataclass
class Conductor:
    """Starts processes, kills them, and lets time pass."""

    clock: ManualClock
    waiting: dict[int, int] = field(default_factory=dict)
    """Until when each process waits, by seat."""
    codes: dict[int, int] = field(default_factory=dict)
    """How those that are gone ended, by seat."""
    _writers: dict[int, asyncio.StreamWriter] = field(default_factory=dict)
    _processes: dict[int, Any] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, orders: Orders, work: Work) -> None:
        process = CONTEXT.Process(target=run, args=(orders, work), daemon=True)
        process.start()
        self._processes[orders.seat] = process

    async def quiet(self) -> None:
        """Until every process waits or is gone."""
        while not self._processes.keys() <= self.waiting.keys():
            await self._changed.wait()
            self._changed.clear()

    async def step(self) -> list[int]:
        """Let time pass to the next moment for which somebody waits; who goes on now."""
        await self.quiet()
        if not self.waiting:
            return []
        before = (self.clock.now() - EPOCH) // timedelta(microseconds=1)
        now = max(min(self.waiting.values()), before)
        self.clock.advance((now - before) / MICRO)
        due = sorted(seat for seat, until in self.waiting.items() if until <= now)
        for seat in due:
            del self.waiting[seat]
            self._writers[seat].write(b"%d\n" % now)
        return due

    async def kill(self, seat: int) -> None:
        """With SIGKILL; whoever has waited once can be killed."""
        self._processes[seat].kill()
        while seat not in self.codes:
            await self._changed.wait()
            self._changed.clear()

    @property
    def alive(self) -> set[int]:
        return set(self._processes)

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen to one process until it is gone."""
        seat = int(await reader.readline())
        self._writers[seat] = writer
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.waiting[seat] = int(line)
                self._changed.set()
        await asyncio.to_thread(self._processes[seat].join)
        self.codes[seat] = self._processes.pop(seat).exitcode
        self.waiting.pop(seat, None)
        self._changed.set()
        writer.close()


@contextlib.asynccontextmanager
async def conductor(socket: Path, clock: ManualClock) -> AsyncIterator[Conductor]:
    """Nobody is left behind at the end."""
    conducting = Conductor(clock)
    async with await asyncio.start_unix_server(conducting.attend, socket):
        try:
            yield conducting
        finally:
            await conducting.quiet()
            for seat in conducting.alive:
                await conducting.kill(seat)
