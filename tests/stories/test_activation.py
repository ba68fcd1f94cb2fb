"""SnelStart's activation from end to end: our page, its page, the webhook, the first sync, and the key's later life."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from adapters.simulation import generate
from adapters.snelstart.adapter import PACKAGE
from adapters.snelstart.simulator import SimulatorSettings, SnelSimulator, create
from connector import activation, config, linking
from connector.activation import Activations
from connector.adapter import Identity
from connector.clock import SystemClock
from connector.linking import HERE
from connector.master_keys import generate_key_file
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import connections
from connector.store.tokens import LINKED, NEEDS_REAUTH, StoredToken
from connector.web.admin import Controls
from connector.web.app import create_app
from connector.web.server import serve as serve_at
from tests.clocks import ManualClock
from tests.desk import PATIENCE_S
from tests.nursery import command
from tests.servers import serve

SUBSCRIPTION = "canary-of-the-subscription-key"

CONFIG = """
[daemon]
listen = "127.0.0.1:{port}"
[apps.snelstart]
client_id = "SimulatedDunning"
client_secret_env = "SUBSCRIPTION"
activation = true
[destinations.backend]
type = "webhook"
url = "http://127.0.0.1:1/events"
secret_env = "SUBSCRIPTION"
allow_private = true
[[connections]]
name = "acme"
package = "snelstart"
administration = "{administration}"
destination = "backend"
base_url = "{package}/v2"
auth_url = "{package}"
web_url = "{package}"
"""


@dataclass
class Story:
    simulator: SnelSimulator
    runtime: Runtime
    activations: Activations
    browser: httpx.AsyncClient
    package: httpx.AsyncClient
    linked: list[str]
    came: asyncio.Event
    """Set when the daemon has been told of something."""

    async def sim(self, door: str, **asked: Any) -> Any:
        answer = await self.package.post(f"/_sim/{door}", json=asked)
        assert answer.is_success, answer.text
        return answer.json()

    async def look(self) -> None:
        """What the daemon does as soon as its webhook has taken something."""
        await asyncio.wait_for(self.came.wait(), 20)
        self.came.clear()
        await self.activations.look()

    async def agree(self) -> httpx.Response:
        """From the invitation to the page on which the browser ends."""
        invited = await linking.invite(self.runtime, "acme", HERE)
        button = await self.browser.post(invited.url.reveal(), data={"activate": "1"})
        page = await self.package.get(button.headers["location"])
        assert "Koppeling activeren" in page.text
        agreed = httpx.URL(button.headers["location"]).copy_merge_params({"approve": "1"})
        back = await self.package.get(agreed)
        return await self.browser.get(back.headers["location"])

    @property
    def token(self) -> StoredToken:
        token = self.runtime.token_store.get(connections.find(self.runtime.store, "acme").id)
        assert token is not None
        return token


@pytest.fixture
async def story(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Story]:
    clock, linked, came = ManualClock(), list[str](), asyncio.Event()
    books = generate(seed=7, customers=4, invoices=10, today=clock.now().date(), foreign_currency=False)
    settings = SimulatorSettings(
        subscription_keys=(SUBSCRIPTION,),
        minute_limit=10**6,
        hour_limit=10**6,
        webhook_url=f"http://127.0.0.1:{unused_tcp_port}/activation/snelstart",
    )
    simulator = create(books, clock, settings)
    generate_key_file(tmp_path / "connector.key")

    async def hears(name: str, _: Identity) -> None:
        linked.append(name)

    async with AsyncExitStack() as stack:
        package = await stack.enter_async_context(serve(simulator.app))
        text = CONFIG.format(port=unused_tcp_port, administration=simulator.administration, package=package)
        (tmp_path / "config.toml").write_text(text)
        loaded = config.load(tmp_path / "config.toml", {"snelstart": PACKAGE.options}, {"SUBSCRIPTION": SUBSCRIPTION})
        runtime = Runtime.open(loaded, {"snelstart": PACKAGE}, clock)
        stack.push_async_callback(runtime.close)
        controls = Controls(health=dict, sync=linked.append, wake=linked.append)
        app = create_app(runtime, controls, hears, came.set)
        url = await stack.enter_async_context(serve_at(app, "127.0.0.1", unused_tcp_port))
        browser, other = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=base, trust_env=False, verify=False))
            for base in (url, package)
        ]
        yield Story(simulator, runtime, Activations(runtime, hears), browser, other, linked, came)


async def test_a_client_agrees_at_snelstart_and_is_synced(story: Story) -> None:
    page = await story.agree()
    assert "SnelStart sends us the key" in page.text, "coming back proves nothing"
    await story.look()
    page = await story.browser.get("/connect")
    assert ("is linked" in page.text, story.linked) == (True, ["acme"])
    assert story.token.refresh.reveal() == story.simulator.koppelsleutel
    async with story.runtime.cycle("acme") as cycle:
        report = await cycle.run()
    assert (report.outcome, report.error) == ("ok", None)


async def test_a_key_is_renewed_deleted_and_given_again(story: Story) -> None:
    await story.agree()
    await story.look()
    old = story.simulator.koppelsleutel
    assert (await story.sim("koppelsleutel", action="Regenerate"))["told"] is True
    await story.look()
    assert (story.token.refresh.reveal(), story.token.status) == (story.simulator.koppelsleutel, LINKED)
    assert story.token.refresh.reveal() != old

    late = {"action": "Delete", "key": old, "times": 2}
    assert (await story.sim("webhook", **late))["told"] == [True, True]
    await story.look()
    assert story.token.status == LINKED, "late, of a key of before"

    assert (await story.sim("koppelsleutel", action="Delete"))["told"] is True
    await story.look()
    assert (story.token.status, story.token.reason) == (NEEDS_REAUTH, "the client deleted the key in the package")
    await story.agree()
    await story.look()
    assert story.token.status == LINKED
    async with story.runtime.cycle("acme") as cycle:
        assert (await cycle.run()).outcome == "ok"


async def test_a_renewed_key_for_other_books_is_refused(story: Story) -> None:
    await story.agree()
    await story.look()
    before = story.token
    await story.sim("koppelsleutel", action="Regenerate", other_books=True)
    await story.look()
    assert (story.token.refresh.reveal(), story.token.generation) == (before.refresh.reveal(), before.generation)
    assert connections.find(story.runtime.store, "acme").alerted == 0
    story.runtime.clock.advance(4000)  # type: ignore[attr-defined]  # the clock of a test
    async with story.runtime.cycle("acme") as cycle:
        assert (await cycle.run()).outcome == "needs_reconnect"


async def test_a_dead_subscription_key_is_not_the_clients_fault_and_the_key_is_not_lost(story: Story) -> None:
    story.simulator.settings.subscription_expired = True
    await story.agree()
    await story.look()
    assert "This is not your fault" in (await story.browser.get("/connect")).text
    story.simulator.settings.subscription_expired = False
    story.came.set()
    await story.look()
    assert "is linked" in (await story.browser.get("/connect")).text


async def test_a_daemon_that_dies_between_hearing_and_dealing_with_it_loses_no_key(
    tmp_path: Path, unused_tcp_port: int, door: Path
) -> None:
    """Kill -9 right after the key was written down, before anybody was answered."""
    books = generate(seed=7, customers=1, invoices=1, today=ManualClock().now().date(), foreign_currency=False)
    simulator = create(books, SystemClock(), SimulatorSettings(subscription_keys=(SUBSCRIPTION,)))
    generate_key_file(tmp_path / "connector.key")
    file, environ = tmp_path / "config.toml", os.environ | {"SUBSCRIPTION": SUBSCRIPTION}
    async with serve(simulator.app) as package, httpx.AsyncClient(trust_env=False, verify=False) as outside:
        file.write_text(CONFIG.format(port=unused_tcp_port, administration=simulator.administration, package=package))
        loaded = config.load(file, {"snelstart": PACKAGE.options}, environ)
        runtime = Runtime.open(loaded, {"snelstart": PACKAGE}, SystemClock())
        invited = await linking.invite(runtime, "acme", HERE)
        page = await activation.begin(runtime, "acme", Secret("a browser"), invited.invitation)

        async def daemon(**failing: str) -> asyncio.subprocess.Process:
            pipes = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
            return await asyncio.create_subprocess_exec(
                *command(door, "run"), cwd=tmp_path, env=environ | failing, **pipes
            )

        async def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await outside.get(f"http://127.0.0.1:{unused_tcp_port}/healthz")).is_success
            return False

        async def linked() -> bool:
            return connections.find(runtime.store, "acme").linked_at is not None

        first = await daemon(CONNECTOR_FAILPOINTS="activation.after_note=kill9")
        await eventually(answers)
        simulator.settings.webhook_url = f"http://127.0.0.1:{unused_tcp_port}/activation/snelstart"
        simulator.activation.reference = dict(parse_qsl(urlsplit(page).query))["referenceKey"]
        assert await simulator.activation.change("Create") is False
        assert await first.wait() == -signal.SIGKILL
        assert not await linked()
        second = await daemon()
        try:
            await eventually(linked)
        finally:
            second.terminate()
            assert await second.wait() == 0
        token = runtime.token_store.get(invited.invitation.connection_id)
        assert token is not None
        assert token.refresh.reveal() == simulator.koppelsleutel
        await runtime.close()


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Nobody tells us what another process has come to."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(0.05)


async def test_the_command_line_invites_and_takes_a_key(tmp_path: Path, unused_tcp_port: int, door: Path) -> None:
    books = generate(seed=7, customers=1, invoices=1, today=ManualClock().now().date(), foreign_currency=False)
    simulator = create(books, SystemClock(), SimulatorSettings(subscription_keys=(SUBSCRIPTION,)))
    generate_key_file(tmp_path / "connector.key")

    async def run(*words: str, stdin: str = "") -> tuple[int | None, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command(door, *words),
            cwd=tmp_path,
            env=os.environ | {"SUBSCRIPTION": SUBSCRIPTION},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE_S)
        assert "canary" not in f"{out!r} {err!r}"
        assert simulator.koppelsleutel not in f"{out!r} {err!r}"
        return process.returncode, f"{out.decode()}{err.decode()}"

    async with serve(simulator.app) as package:
        text = CONFIG.format(port=unused_tcp_port, administration=simulator.administration, package=package)
        public = text.replace("[daemon]", '[daemon]\npublic_url = "https://connector.example"')
        (tmp_path / "config.toml").write_text(public)
        code, shown = await run("connect", "acme", "--invite")
        assert (code, "https://connector.example/connect/" in shown) == (0, True), shown
        code, shown = await run("connect", "acme", stdin="no such key\n")
        assert (code, "refused the sign-in" in shown) == (3, True), shown
        code, shown = await run("connect", "acme", stdin=f'"{simulator.koppelsleutel}"\n')
        assert (code, "linked acme" in shown) == (0, True), shown
        _, shown = await run("check", "acme")
        assert "https://connector.example/activation/snelstart" in "".join(shown.split())
