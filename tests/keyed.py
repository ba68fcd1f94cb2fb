"""A package that works with a key, and our pages in front of it, all on sockets: no sign-in page anywhere."""

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import msgspec
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connector import config, linking
from connector.activation import Activations
from connector.adapter import Activation, AdapterContext, Identity, KeyGrant, KeyNews, OAuth, Package
from connector.http import Refusal
from connector.linking import HERE
from connector.master_keys import generate_key_file
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import connections
from connector.store.connections import Linked
from connector.store.tables import Base
from connector.store.tokens import StoredToken
from connector.web.admin import Controls
from connector.web.app import create_app
from connector.web.server import serve as serve_at
from tests.clocks import ManualClock
from tests.memory_package import MemoryAdapter, MemoryBooks, memory_package
from tests.servers import serve

KEY = "canary-of-a-client's-key+/=="
OTHER_BOOKS = "canary-of-the-key-to-other-books"
APP_SECRET = "canary-of-our-app"
NAME = "acme"
MINE = "books-1"

CONFIG = """
[daemon]
listen = "127.0.0.1:{port}"
operator = "Jansen & Zn"

[apps.keyed]
client_id = "our-app"
client_secret_env = "APP_SECRET"

[destinations.backend]
type = "webhook"
url = "http://127.0.0.1:1/events"
secret_env = "APP_SECRET"
allow_private = true

[[connections]]
name = "acme"
package = "keyed"
administration = "books-1"
destination = "backend"
"""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    base_url: str = ""


def agreement(_: Any, app: str, reference: str, back: str) -> str:
    return f"https://keyed.example/{app}?{urlencode({'reference': reference, 'back': back})}"


def told(body: bytes) -> KeyNews | None:
    try:
        said = json.loads(body)
        return KeyNews(action=said["action"], reference=Secret(said["reference"]), key=Secret(said["key"]))
    except (ValueError, KeyError, TypeError):
        return None


@dataclass
class KeyedPackage:
    """Knows its keys, each with the books it opens, and the secret of our app."""

    url: str = ""
    keys: dict[str, str] = field(default_factory=lambda: {KEY: MINE, OTHER_BOOKS: "books-2"})
    app_is_known: bool = True
    away: bool = False
    exchanged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[Route("/token", self._token, methods=["POST"]), Route("/company", self._company, methods=["GET"])]
        )

    async def _token(self, request: Request) -> Response:
        key = dict(parse_qsl((await request.body()).decode())).get("clientkey", "")
        self.exchanged.append(key)
        if key not in self.keys:
            return JSONResponse({"error": "The clientkey is not valid."}, 400)
        token = f"canary-of-token-{len(self.exchanged)}-for-{self.keys[key]}"
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": 3599})

    async def _company(self, request: Request) -> Response:
        if self.away:
            return Response(status_code=503)
        if not self.app_is_known or request.headers["x-app-key"] != APP_SECRET:
            return JSONResponse({"message": "invalid app key"}, 401)
        return JSONResponse({"id": request.headers["authorization"].partition("-for-")[2]})

    def package(self) -> Package:
        key = KeyGrant(
            label="client key", where="Books > Links", form=lambda key: {"grant_type": "key", "clientkey": key}
        )
        return dataclasses.replace(
            memory_package(MemoryAdapter(MemoryBooks())),
            name="keyed",
            title="Keyed Books",
            options=Options,
            origins=lambda _: (self.url,),
            oauth=lambda _: OAuth(token_url=f"{self.url}/token", key=key),
            adapter=lambda context: Company(MemoryBooks(), context=context, url=self.url),
            app_header="X-App-Key",
            activation=Activation(page=agreement, read=told),
            refusal=lambda status, said: Refusal(app=True) if status == 401 and "app key" in said else None,
        )


@dataclass
class Company(MemoryAdapter):
    """Asks the package whose books the token opens; the rest is in memory."""

    context: AdapterContext = field(kw_only=True)
    url: str = field(kw_only=True)

    async def identify(self) -> Identity:
        answer = await self.context.http.get(f"{self.url}/company")
        whose = answer.json()["id"]
        return Identity(administration=whose, name="Books & Co", currency="EUR", time_zone="UTC")


@dataclass
class KeyedWorld:
    """A client's browser, our daemon's pages and the package."""

    package: KeyedPackage
    runtime: Runtime
    clock: ManualClock
    url: str
    activations: Activations
    linked: list[str]
    """Connections of whose success the daemon was told."""
    browser: httpx.AsyncClient
    outside: httpx.AsyncClient
    """Whoever has no cookie of ours."""

    async def invite(self) -> str:
        return (await linking.invite(self.runtime, NAME, HERE)).url.reveal()

    async def get(self, url: str) -> httpx.Response:
        return await self.browser.get(url)

    async def submit(self, url: str, **form: str) -> httpx.Response:
        """Send the form of a page and go where we are sent; neither answer may show what was typed."""
        headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
        answer = await self.browser.post(url, data=form, headers=headers)
        shown = answer if answer.status_code != 303 else await self.get(answer.headers["location"])
        assert "canary" not in f"{answer.headers} {answer.text} {shown.headers} {shown.text} {shown.url}"
        return shown

    async def activate(self, link: str) -> str:
        """Press the button that leads to the package's page; gives the reference."""
        answer = await self.browser.post(link, data={"activate": "1"})
        assert answer.status_code == 303
        query = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert query["back"] == f"{self.url}/connect"
        return query["reference"]

    async def tell(self, action: str, reference: str, key: str = KEY) -> httpx.Response:
        """The package posts to our webhook; nothing is dealt with yet."""
        news = {"action": action, "reference": reference, "key": key}
        return await self.outside.post("/activation/keyed", json=news)

    async def look(self) -> None:
        """What the daemon does when something has come, and once a minute."""
        await self.activations.look()

    @property
    def connection(self) -> Linked:
        return connections.find(self.runtime.store, NAME)

    @property
    def token(self) -> StoredToken | None:
        return self.runtime.token_store.get(self.connection.id)

    def rows(self, table: str) -> list[Any]:
        with self.runtime.store.read() as connection:
            return list(connection.execute(sa.select(Base.metadata.tables[table])).all())

    def events(self) -> list[str]:
        """The types of the events that were written, in their order."""
        rows = sorted(self.rows("outbox"), key=lambda row: row.id)
        return [row.type.removeprefix("ar.connection.").removesuffix(".v1") for row in rows]


@asynccontextmanager
async def keyed(folder: Path, port: int, store_url: str = "", apps: str = "") -> AsyncIterator[KeyedWorld]:
    """`apps` are more lines for our app's table."""
    file, clock, hears, package = folder / "config.toml", ManualClock(), list[str](), KeyedPackage()
    database = store_url or f"sqlite:///{folder / 'connector.db'}"
    file.write_text(
        CONFIG.format(port=port).replace("[destinations", f"{apps}\n[destinations", 1)
        + f'\n[store]\nurl = "{database}"\n'
    )
    generate_key_file(folder / "connector.key")
    settings = config.load(file, {"keyed": Options}, {"APP_SECRET": APP_SECRET})

    async def linked(name: str, _: Identity) -> None:
        hears.append(name)

    async with serve(package.app) as package.url:
        runtime = Runtime.open(settings, {"keyed": package.package()}, clock)
        activations = Activations(runtime, linked)
        controls = Controls(health=dict, sync=hears.append, wake=hears.append)
        app = create_app(runtime, controls, linked, activations.came)
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(serve_at(app, "127.0.0.1", port))
            browser, outside = [
                await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, verify=False))
                for _ in range(2)
            ]
            yield KeyedWorld(package, runtime, clock, url, activations, hears, browser, outside)
        await runtime.close()
