"""A consultant's desk: a folder with a configuration, the program as a process, and a package and backend that answer.

Whatever a process prints is looked at for what must never be there: secrets, tracebacks, control characters.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import httpx

from adapters.exactonline.simulator import ExactSimulator, SimulatorSettings, create
from adapters.simulation import generate
from connector import config, linking
from connector.adapter import packages
from connector.authorizer import Answer
from connector.clock import Clock, SystemClock
from connector.master_keys import generate_key_file
from connector.receiver import Receiver
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store.engine import Store, open_store
from tests import leaks, nursery
from tests.servers import serve

PATIENCE_S = 60.0
CLIENT_SECRET = "canary-of-the-client-secret"
SIGNING_SECRET = "whsec_Y2FuYXJ5LW9mLXRoZS1zaWduaW5nLXNlY3JldC0zMmI="
SECRETS = {"EXACT_SECRET": CLIENT_SECRET, "BACKEND_SECRET": SIGNING_SECRET}
NEVER_SHOWN = re.compile(
    r"Traceback|sqlalche\.me|canary|Y2FuYXJ5|stampNL|\b(?:access|refresh)\.[0-9a-f]{8}"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]"
)

CONFIG = """
[daemon]
listen = "127.0.0.1:{port}"

[apps.exactonline]
client_id = "simulated-client"
client_secret_env = "EXACT_SECRET"
calls_per_minute = 100000
calls_per_day = 1000000

[destinations.backend]
type = "webhook"
url = "{backend}/events"
secret_env = "BACKEND_SECRET"
allow_private = true

[[connections]]
name = "acme"
package = "exactonline"
administration = "{administration}"
destination = "backend"
base_url = "{package}"
"""


@dataclass
class Servers:
    """The package's simulator and the reference receiver, on sockets of a thread of their own."""

    simulator: ExactSimulator
    receiver: Receiver
    package_url: str
    backend_url: str

    @property
    def truth(self) -> dict[str, Any]:
        return self.simulator.books.truth()

    def book(self, action: str) -> None:
        """Let something be booked."""
        httpx.post(f"{self.package_url}/_sim/actions", json={"name": action}, trust_env=False).raise_for_status()

    def fault(self, match: str, kind: str, **rest: Any) -> None:
        fault = {"match": match, "kind": kind, **rest}
        httpx.post(f"{self.package_url}/_sim/faults", json=fault, trust_env=False).raise_for_status()

    def was_asked(self, path: str) -> bool:
        """Whether the package got such a request in this test."""
        return any(path in request.path for request in list(self.simulator.requests))

    def clear(self) -> None:
        """For the next desk: its database counts its versions from 1 again, so the backend must know none."""
        self.simulator.requests.clear()
        self.simulator.faults.clear()
        self.receiver.forget()

    def mirror(self) -> dict[str, Any]:
        """What the receiver holds of the one administration there is; empty before anything came."""
        return next(iter(self.receiver.mirror().values()), {})


@contextlib.contextmanager
def servers(*, customers: int = 8, invoices: int = 25, package_clock: Clock | None = None) -> Iterator[Servers]:
    clock = package_clock or SystemClock()
    today = clock.now().astimezone(ZoneInfo("Europe/Amsterdam")).date()
    books = generate(seed=3, customers=customers, invoices=invoices, today=today)
    generous = SimulatorSettings(
        minute_limit=10**6,
        day_limit=10**6,
        auto_approve=True,
        client_id="simulated-client",
        client_secret=CLIENT_SECRET,
    )
    simulator, receiver = create(books, clock, generous), Receiver([SIGNING_SECRET], clock=SystemClock())
    loop, ready, done = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    urls: list[str] = []

    async def answer() -> None:
        async with serve(simulator.app) as package, serve(receiver.app) as backend:
            urls.extend((package, backend))
            ready.set()
            await done.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(answer())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield Servers(simulator, receiver, *urls)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(PATIENCE_S)


@dataclass(frozen=True)
class Done:
    """A process that ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Desk:
    """One folder of one consultant."""

    folder: Path
    servers: Servers
    port: int
    door: Path
    """Where processes come from (`tests.nursery`)."""
    environ: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    keeps_quiet: bool = True
    """Whether output is looked at for what must not be there."""

    def __post_init__(self) -> None:
        self.file = self.folder / "config.toml"
        self.key = self.folder / "connector.key"
        generate_key_file(self.key)
        self.configure()

    def configure(self, old: str = "", new: str = "") -> Self:
        """Write the configuration, with something in it replaced."""
        text = CONFIG.format(
            port=self.port,
            administration=self.servers.simulator.division,
            backend=self.servers.backend_url,
            package=self.servers.package_url,
        )
        assert old in text
        self.file.write_text(text.replace(old, new) if old else text)
        return self

    def linked(self) -> Self:
        """As after `connect` and a consent, without starting a process for it."""
        settings = config.load(self.file, {name: one.options for name, one in packages().items()}, self.environ)
        runtime = Runtime.open(settings, packages(), SystemClock())

        async def link() -> None:
            session = Secret("the session of a test")
            address = await linking.begin(runtime, "acme", session)
            await linking.finish(runtime, answered(consent(address)), session.reveal())
            await runtime.close()

        asyncio.run(link())
        return self

    @property
    def url(self) -> str:
        """Where its daemon listens."""
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def database(self) -> Iterator[Store]:
        store = open_store(f"sqlite:///{self.folder / 'connector.db'}", migrate=False)
        yield store
        store.close()

    def run(self, *words: str, environ: Mapping[str, str] | None = None) -> Done:
        """Run a command to its end."""
        return self.ended(self.start(*words, environ=environ))

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
        return subprocess.Popen(
            nursery.command(self.door, *words),
            cwd=self.folder,
            env=inherited | dict(self.environ if environ is None else environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGTERM) -> Done:
        """Ask a process to end, and wait for it."""
        process.send_signal(number)
        return self.ended(process)

    def ended(self, process: "subprocess.Popen[str]", stdin: str = "") -> Done:
        try:
            out, err = process.communicate(stdin, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"it does not end: {process.communicate()}") from None
        return self.checked(Done(process.returncode, out, err))

    def paste(self, connecting: "subprocess.Popen[str]", *before: str) -> Done:
        """Consent, and paste the address on which the browser ended; other lines before it."""
        return self.ended(connecting, "\n".join([*before, consent(link_of(connecting)), ""]))

    def checked(self, done: Done) -> Done:
        for text in (done.out, done.err):
            # The link that a person opens is printed on purpose; its state works once, for ten minutes.
            found = NEVER_SHOWN.search(text)
            assert not self.keeps_quiet or found is None, f"{found} in: {text}"
        return done


def sign_in(page: str, **package: str) -> httpx.Response:
    """Open our page as a browser does, press its button, and consent at the package; where the browser ends.

    `package` are parameters for the package's page: `deny="1"` declines.
    """
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(page).status_code == 200
        to_package = browser.post(page)
        assert to_package.status_code == 303, to_package.text
        return browser.get(httpx.URL(to_package.headers["location"]).copy_merge_params(package), follow_redirects=True)


def answered(address: str) -> Answer:
    """The package's answer in the address on which it left the browser."""
    return Answer.of(dict(parse_qsl(urlsplit(address).query)))


def consent(link: str) -> str:
    """Open the package's sign-in link as a browser does; the address on which it ends."""
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(link)
        assert answer.is_redirect, answer.text
        return answer.headers["location"]


def link_of(connecting: "subprocess.Popen[str]") -> str:
    """The link that is printed for a person, as soon as it is."""
    assert connecting.stdout is not None
    return next(line.strip() for line in connecting.stdout if line.startswith("http"))


@contextlib.contextmanager
def running(desk: Desk, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """A daemon that answers; it is gone afterwards, however the test went."""
    process = desk.start(*(words or ("run",)))
    try:
        eventually(lambda: healthy(desk) or process.poll() is not None)
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGTERM):
            if process.poll() is None:
                process.send_signal(number)
        process.wait(PATIENCE_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def eventually(holds: Callable[[], bool]) -> None:
    """Nobody tells us what another process has come to."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.05)


def get(desk: Desk, path: str) -> httpx.Response:
    answer = httpx.get(f"{desk.url}{path}", trust_env=False, timeout=PATIENCE_S)
    assert leaks.in_output(f"{answer.headers} {answer.text}") is None
    return answer


def healthy(desk: Desk) -> bool:
    try:
        return get(desk, "/healthz").status_code == 200
    except httpx.TransportError:
        return False
