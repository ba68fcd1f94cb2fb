"""A client's browser in the fault tests: our pages in this process, the package on its socket."""

from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette

from connector import linking
from connector.adapter import Identity
from connector.linking import HERE
from connector.web.connect import ConnectPages
from connector.web.guard import Guard
from tests.faults.world import FaultyWorld
from tests.stories.world import NAME


@dataclass
class Browser:
    """Keeps its cookies to itself, as every browser; follows a redirect only where a test says so."""

    world: FaultyWorld
    linked: list[str] = field(default_factory=list)
    """Connections of whose success the daemon was told."""

    def __post_init__(self) -> None:
        runtime = self.world.runtime

        async def told(name: str, _: Identity) -> None:
            self.linked.append(name)

        self.serve(ConnectPages(runtime=runtime, linked=told))
        self.base = runtime.settings.daemon.url
        self._jar = httpx.Cookies()

    def serve(self, pages: ConnectPages) -> None:
        """Find these pages at our address from now on."""
        self.pages = pages
        self._app = Guard(Starlette(routes=pages.routes()), pages.runtime.settings.daemon)

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self._ask("GET", url, **options)

    def post(self, url: str, origin: str = "null", site: str = "same-origin") -> httpx.Response:
        """A form; our pages send no referrer, and so a browser does not name their origin."""
        return self._ask("POST", url, headers={"Origin": origin, "Sec-Fetch-Site": site})

    def follow(self, answer: httpx.Response) -> httpx.Response:
        """Go where we are sent; always with GET, and never to an address that holds a code or a state."""
        assert answer.status_code == 303, answer.text
        assert "?" not in answer.headers["location"]
        return self.get(answer.headers["location"])

    def press(self, link: str) -> str:
        """Our button; the package's address to which it leads."""
        answer = self.post(link)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def at_package(self, address: str, **page: str) -> str:
        """The package's page, where consent is given at once; the address at which it leaves us."""

        async def go() -> str:
            async with httpx.AsyncClient(trust_env=False) as package:
                answer = await package.get(httpx.URL(address).copy_merge_params(page))
                location: str = answer.headers["location"]
                return location

        return self.world.town.run(go())

    def sign_in(self, link: str, **page: str) -> httpx.Response:
        """From the button to the page on which it ends."""
        return self.follow(self.get(self.at_package(self.press(link), **page)))

    def _ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base, cookies=self._jar) as client:
                answer = await client.request(method, url, **options)
                self._jar = client.cookies
                return answer

        return self.world.town.run(send())


def invite(world: FaultyWorld) -> str:
    """The link of a new invitation."""
    return world.town.run(linking.invite(world.runtime, NAME, HERE)).url.reveal()
