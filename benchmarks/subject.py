"""The program under test on one database: configured, linked, and run for a cycle with delivery beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from connector import config, linking
from connector.adapter import packages
from connector.authorizer import Answer
from connector.clock import Clock
from connector.cycle import Progress
from connector.delivery import Deliverer
from connector.master_keys import generate_key_file
from connector.outcome import CycleReport
from connector.runtime import Runtime
from connector.secrets import Secret

if TYPE_CHECKING:  # whatever is imported here counts as memory of the program
    from tests.stories.packages import Access, Simulated

NAME, DESTINATION = "acme", "backend"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

CONFIG = """
[store]
url = "{store}"
[secrets]
key_file = "connector.key"
[apps.{package}]
client_id = "{client_id}"
client_secret_env = "CLIENT_SECRET"
calls_per_minute = 1000000
calls_per_day = 10000000
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


def configure(folder: Path, *, store: str, package: "Simulated", origin: str, receiver: str, access: "Access") -> None:
    """Write the configuration and what else it takes to be let in, and a key where there is none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "connector.key").exists():
        generate_key_file(folder / "connector.key")
    text = CONFIG.format(
        store=store,
        package=package.name,
        client_id=access.client_id,
        receiver=receiver,
        administration=access.administration,
        connection="\n".join(f'{key} = "{value}"' for key, value in package.connection(origin).items()),
    )
    (folder / "config.toml").write_text(text)
    (folder / "secrets.json").write_bytes(msgspec.json.encode((access.client_secret, access.pasted)))


class Subject:
    """One running program."""

    def __init__(self, runtime: Runtime, deliverer: Deliverer, pasted: str | None) -> None:
        self.runtime = runtime
        self._deliverer = deliverer
        self._pasted = pasted

    async def link(self) -> None:
        """Paste the key, or sign in as a browser would; simulator and replay consent at once."""
        if self._pasted is not None:
            await linking.accept(self.runtime, NAME, self._pasted)
            return
        session = Secret("the session of a benchmark")
        address = await linking.begin(self.runtime, NAME, session)
        state = parse_qs(urlsplit(address).query)["state"][0]
        answer = Answer(state=state, code=Secret(await self._code(address)))
        await linking.finish(self.runtime, answer, session.reveal())

    async def cycle(self, *, deliver: bool = True, **options: Any) -> CycleReport:
        """One cycle; the outbox is delivered meanwhile, as in the daemon, and empty at the end."""
        done = asyncio.Event()
        delivering = asyncio.create_task(self._deliverer.run(done)) if deliver else None
        progress = Progress(events=lambda: self._deliverer.wake(DESTINATION))
        async with self.runtime.cycle(NAME, progress=progress, **options) as cycle:
            report = await cycle.run()
        if report.outcome != "ok":
            raise SystemExit(f"the cycle ended as {report.outcome}: {report.error or report.closing}")
        if delivering is not None:
            done.set()
            await delivering
            await self._deliverer.deliver_once(DESTINATION)
        return report

    async def _code(self, address: str) -> str:
        async with httpx.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(address)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


@asynccontextmanager
async def opened(folder: Path, clock: Clock) -> AsyncIterator[Subject]:
    """The program as configured in a folder."""
    options = {name: package.options for name, package in packages().items()}
    client_secret, pasted = msgspec.json.decode((folder / "secrets.json").read_bytes())
    environ = {"CLIENT_SECRET": client_secret, "WEBHOOK_SECRET": SECRET}
    runtime = Runtime.open(config.load(folder / "config.toml", options, environ), packages(), clock)
    destinations = runtime.destinations()
    try:
        yield Subject(runtime, runtime.deliverer(destinations), pasted)
    finally:
        for destination in destinations.values():
            await destination.close()
        await runtime.close()
