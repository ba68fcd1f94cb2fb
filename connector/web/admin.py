"""The API for operators: how things stand, and what `connector sync` and `connector replay` do.

Whoever has no key learns nothing, not even which addresses exist; what a key does beyond reading is logged.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
import structlog
from msgspec import Meta, Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from connector import standing
from connector.errors import ConnectorError, Unavailable
from connector.runtime import Runtime
from connector.store import backlog, connections, destinations
from connector.store.api_keys import ApiKey, Scope
from connector.store.backlog import Selection
from connector.web.access import Access, Refused

API_PATH = "/api"

READING = ("GET", "HEAD")

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What of the running daemon the API can reach."""

    health: Callable[[], dict[str, Any]]
    sync: Callable[[str], None]
    """Ask for a cycle of a connection."""
    wake: Callable[[str], None]
    """Let a destination look at what waits for it."""


class Chosen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events of a destination are meant: those to which everything that is given applies."""

    events: tuple[str, ...] = ()
    connection: str | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    dead: bool = False


class AdminApi:
    """The routes, all of them behind a key."""

    def __init__(self, runtime: Runtime, controls: Controls) -> None:
        self._runtime = runtime
        self._controls = controls
        self._access = Access(runtime.store, runtime.clock)
        self._routes = Router(
            [
                Route("/health", self._health),
                Route("/connections", self._connections),
                Route("/connections/{name}", self._connection),
                Route("/connections/{name}/sync", self._sync, methods=["POST"]),
                Route("/destinations", self._destinations),
                Route("/destinations/{name}/resume", self._resume, methods=["POST"]),
                Route("/destinations/{name}/replay", self._replay, methods=["POST"]),
                Route("/destinations/{name}/skip", self._skip, methods=["POST"]),
            ],
            redirect_slashes=False,
        )

    def mount(self) -> Mount:
        return Mount(API_PATH, app=self)

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """The key comes first, then the scope that the method needs, then whether there is such an address."""
        request = Request(scope, receive)
        try:
            request.state.key = key = await self._access.key_of(request)
            _require(key, Scope.READ if request.method in READING else Scope.OPERATE)
            await self._routes(scope, receive, send)
        except Refused as refused:
            answer = _json({"error": refused.error}, refused.status, refused.headers)
        except HTTPException as error:
            answer = _json({"error": error.detail.lower()}, error.status_code, error.headers)
        except Unavailable as error:
            answer = _json({"error": error.what}, 503, {"Retry-After": "5"})
        else:
            return
        await answer(scope, receive, send)

    async def _health(self, _: Request) -> Response:
        try:
            await asyncio.to_thread(self._runtime.probe)
        except ConnectorError as error:
            return _json({**self._controls.health(), "ready": False, "reason": str(error)})
        return _json({**self._controls.health(), "ready": True, "reason": ""})

    async def _connections(self, _: Request) -> Response:
        names = self._runtime.settings.connections
        return _json([await asyncio.to_thread(standing.of_connection, self._runtime, name) for name in names])

    async def _connection(self, request: Request) -> Response:
        name = _known(request, self._runtime.settings.connections)
        return _json(await asyncio.to_thread(standing.of_connection, self._runtime, name))

    async def _destinations(self, _: Request) -> Response:
        names = self._runtime.settings.destinations
        return _json([await asyncio.to_thread(standing.of_destination, self._runtime, name) for name in names])

    async def _sync(self, request: Request) -> Response:
        name = _known(request, self._runtime.settings.connections)
        self._controls.sync(name)
        _audit(request, "sync", name)
        return _json({"asked": True}, 202)

    async def _resume(self, request: Request) -> Response:
        name = _known(request, self._runtime.settings.destinations)
        await asyncio.to_thread(destinations.resume, self._runtime.store, name)
        self._controls.wake(name)
        _audit(request, "resume", name)
        return _json({"resumed": True})

    async def _replay(self, request: Request) -> Response:
        name = _known(request, self._runtime.settings.destinations)
        count = await asyncio.to_thread(backlog.replay, self._runtime.store, await self._selection(request, name))
        self._controls.wake(name)
        _audit(request, "replay", name, events=count)
        return _json({"events": count})

    async def _skip(self, request: Request) -> Response:
        _require(request.state.key, Scope.ADMIN)
        name = _known(request, self._runtime.settings.destinations)
        count = await asyncio.to_thread(backlog.skip, self._runtime.store, await self._selection(request, name))
        self._controls.wake(name)
        _audit(request, "skip", name, events=count)
        return _json({"events": count})

    async def _selection(self, request: Request, destination: str) -> Selection:
        try:
            chosen = msgspec.json.decode(await request.body() or b"{}", type=Chosen)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(400, f"the body cannot be read: {error}") from error
        if chosen == Chosen():
            raise Refused(400, "nothing says which events are meant")
        connection_id = None
        if chosen.connection is not None:
            if chosen.connection not in self._runtime.settings.connections:
                raise Refused(400, "there is no such connection")
            connection_id = (await asyncio.to_thread(connections.find, self._runtime.store, chosen.connection)).id
        return Selection(
            event_ids=chosen.events,
            destination=destination,
            connection_id=connection_id,
            since=chosen.since,
            until=chosen.until,
            dead_only=chosen.dead,
        )


def _require(key: ApiKey, needed: Scope) -> None:
    if not key.scope.allows(needed):
        raise Refused(403, f"the scope {needed.value} is needed")


def _known(request: Request, names: Collection[str]) -> str:
    """Of the address, a name that is configured."""
    name: str = request.path_params["name"]
    if name not in names:
        raise Refused(404, "not found")
    return name


def _audit(request: Request, action: str, target: str, **more: object) -> None:
    key: ApiKey = request.state.key
    peer = request.client.host if request.client else ""
    log.info("api.audit", action=action, target=target, by=key.name, prefix=key.prefix, peer=peer, **more)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
