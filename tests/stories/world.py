"""A whole world in one process: simulated books, the program on a real database, and the reference receiver.

The simulator and the receiver answer on real sockets of one event loop (`Town`), which outlives the worlds. A `World`
is one connection in it, with a clock that stands still until moved and a process that can die at any transaction.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.simulation import generate
from connector import config, linking, mirror
from connector.adapter import packages
from connector.authorizer import Answer
from connector.clock import Clock
from connector.delivery import DeliveryReport
from connector.master_keys import generate_key_file
from connector.outcome import CycleReport
from connector.receiver import Receiver
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import backlog, connections, destinations
from connector.store.engine import Store, open_store
from connector.store.tables import Base
from connector.store.tokens import NEEDS_REAUTH
from tests.clocks import ManualClock
from tests.servers import serve
from tests.stories.packages import EXACTONLINE, Simulated, Simulator
from tests.stories.program import DESTINATION, NAME, Crash, Program, Work

T = TypeVar("T")
Act = Callable[[], Awaitable[None] | None]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

CONFIG = """
[store]
url = "{url}"
[secrets]
key_file = "connector.key"
[apps.{package}]
client_id = "{client_id}"
client_secret_env = "CLIENT_SECRET"
calls_per_minute = {calls_a_minute}
calls_per_day = 1000000
[destinations.backend]
type = "webhook"
url = "{receiver}/events"
secret_env = "WEBHOOK_SECRET"
allow_private = true
[[connections]]
name = "acme"
package = "{package}"
administration = "{administration}"
destination = "backend"
{connection}
"""


@dataclass(frozen=True, kw_only=True)
class Encounter:
    """The second process begins when the first has made `at` requests and the clock has gone on.

    Both go on as it happens, or the answer to the first is `held` back until the second has ended: it may then have
    lost its leases.
    """

    first: Sequence[Work]
    second: Sequence[Work]
    at: int
    pause_s: float
    held: bool


class Door:
    """A socket's application, which can be exchanged; acts happen right before a chosen request is answered.

    An act that is a coroutine holds the answer back until it has ended.
    """

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.requests = 0
        self.acts: dict[int, Act] = {}
        self.failure: Exception | None = None
        """What went wrong in an act."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        self.requests += 1
        if act := self.acts.pop(self.requests, None):
            try:
                if (held := act()) is not None:
                    await held
            except Exception as error:  # noqa: BLE001 - the server would make an answer of it
                self.failure = error
        await self.app(scope, receive, send)

    def after(self, requests: int, act: Act) -> None:
        self.acts[self.requests + requests] = act


class Town:
    """One event loop with two sockets: the package's and the dunning backend's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package, self.backend = Door(), Door()
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self.package_url = self.run(self._stack.enter_async_context(serve(self.package)))
        self.backend_url = self.run(self._stack.enter_async_context(serve(self.backend)))
        generate_key_file(folder / "connector.key")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop run until this is done."""
        result = self._runner.run(work)
        if self.package.failure is not None:
            raise self.package.failure
        return result

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()


@dataclass
class World:
    """One connection: empty database, books nobody has read yet, linked."""

    town: Town
    url: str
    seed: int = 0
    customers: int = 4
    invoices: int = 8
    clock: Clock = field(default_factory=ManualClock)
    wall: Clock | None = None
    """The program's own clock, where it is not right."""
    package: Simulated = EXACTONLINE
    calls_a_minute: int = 100_000
    """What is configured; some packages do not say it themselves."""
    switches: Mapping[str, Any] = field(default_factory=dict)
    """What of the simulator differs from its defaults."""
    simulator: Simulator = field(init=False)
    deaths: int = 0

    def __post_init__(self) -> None:
        today = self.clock.now().astimezone(ZoneInfo("Europe/Amsterdam")).date()
        books = generate(
            seed=self.seed, customers=self.customers, invoices=self.invoices, today=today, **self.package.books
        )
        self.simulator = self.package.create(books, self.clock, self.switches)
        self.access = self.package.access(self.simulator)
        self.receiver = Receiver([SECRET], clock=self.clock)
        self.town.package.app, self.town.backend.app = self.simulator.app, self.receiver.app
        self.town.package.acts.clear()
        self._empty()
        self.settings = self._configure()
        self.start()
        self.town.run(self._link())

    # the process

    @property
    def environ(self) -> dict[str, str]:
        """The secrets that the configuration names."""
        return {"CLIENT_SECRET": self.access.client_secret, "WEBHOOK_SECRET": SECRET}

    def start(self) -> None:
        """A new process on the same database."""
        self.program = Program(self.settings, self.wall or self.clock, self.seed)

    @property
    def runtime(self) -> Runtime:
        return self.program.runtime

    @property
    def store(self) -> Store:
        return self.program.store

    def stop(self) -> None:
        """Whatever state it is in, the process is gone afterwards."""
        self.town.run(self.program.close())

    def restart(self) -> None:
        self.stop()
        self.start()

    def dying(self, work: Callable[[], object], *, at: int, place: str) -> bool:
        """Do some work in a process that dies at its n-th write; a new one has started when it did."""
        self.program.store.die(at=at, place=place)
        try:
            work()
        except Crash:
            self.deaths += 1
            self.restart()
            return True
        self.program.store.left = None
        return False

    # its work

    def cycle(self, **options: Any) -> CycleReport:
        return self.town.run(self.program.cycle(**options))

    def deliver(self) -> DeliveryReport:
        return self.town.run(self.program.deliver())

    def meet(self, encounter: Encounter) -> None:
        """Two processes do their work on this connection."""
        self.town.run(self._meet(encounter))

    async def _meet(self, encounter: Encounter) -> None:
        other = Program(self.settings, self.wall or self.clock, self.seed)
        tasks: list[asyncio.Task[None]] = []
        lost: list[int] = []
        """The work of the first in whose middle it lost its lease."""

        async def begin() -> None:
            if not tasks:
                await self.clock.sleep(encounter.pause_s)
                busy_with, done = self.program.busy_with, len(self.program.ended)
                tasks.append(asyncio.create_task(other.work(encounter.second)))
                if encounter.held:
                    await asyncio.wait(tasks)
                    if busy_with is not None and self.program.busy_with != busy_with:
                        lost.append(done)

        for door in self.town.package, self.town.backend:
            door.after(encounter.at, begin)
        try:
            await self.program.work(encounter.first)
            await begin()
            await asyncio.gather(*tasks)
            assert not {self.program.ended[work] for work in lost} & {"ok", "partial", "drained"}
        finally:
            if tasks:
                await asyncio.wait(tasks)
            await other.close()

    # a person

    def reconnect(self) -> bool:
        """Sign in again if the program says that somebody must; says whether it was so."""
        token = self.runtime.token_store.get(connections.find(self.store, NAME).id)
        if token is not None and token.status != NEEDS_REAUTH:
            return False
        self.town.run(self._link())
        return True

    def tend(self) -> None:
        """What an operator does after an outage: resume the destination, send again what was refused."""
        destinations.resume(self.store, DESTINATION)
        backlog.replay(self.store, backlog.Selection(dead_only=True))

    def book(self, act: str, **args: str) -> None:
        self.simulator.bookkeeper.perform(act, **args)

    # what came of it

    @property
    def source(self) -> str:
        return connections.find(self.store, NAME).source

    def mirror(self) -> dict[str, Any]:
        """What the receiver holds; empty while nothing has arrived."""
        shown: dict[str, Any] = self.receiver.mirror().get(self.source, {"invoices": {}, "payments": {}})
        return shown

    def differences(self) -> list[str]:
        return mirror.differences(self.mirror(), self.simulator.truth())

    def close(self) -> None:
        self.stop()

    async def _link(self) -> None:
        """By the package's sign-in page, or by the key that the client pastes."""
        if self.access.pasted is not None:
            await linking.accept(self.runtime, NAME, self.access.pasted)
            return
        session = Secret("the session of a test")
        address = await linking.begin(self.runtime, NAME, session)
        async with httpx.AsyncClient(trust_env=False, verify=False) as browser:
            answer = await browser.get(address)
        query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        await linking.finish(self.runtime, Answer.of(query), session.reveal())

    def _empty(self) -> None:
        store = open_store(self.url)
        with store.write() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())
        store.close()

    def _configure(self) -> config.Settings:
        file = self.town.folder / "config.toml"
        connection = self.package.connection(self.town.package_url)
        file.write_text(
            CONFIG.format(
                url=self.url,
                package=self.package.name,
                client_id=self.access.client_id,
                calls_a_minute=self.calls_a_minute,
                receiver=self.town.backend_url,
                administration=self.access.administration,
                connection="\n".join(f'{key} = "{value}"' for key, value in connection.items()),
            )
        )
        return config.load(file, {name: package.options for name, package in packages().items()}, self.environ)
