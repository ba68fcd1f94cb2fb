"""The daemon's web application: health, and the pages by which clients connect."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connector.errors import ConnectorError
from connector.runtime import Runtime
from connector.web.connect import ConnectPages, Linked

Health = Callable[[], dict[str, Any]]


def create_app(runtime: Runtime, health: Health, linked: Linked) -> Starlette:
    """`health` says how the dispatcher does; its `live` must be true for /healthz to answer 200."""

    async def healthz(_: Request) -> Response:
        state = health()
        return _json(state, 200 if state["live"] else 503)

    async def readyz(_: Request) -> Response:
        try:
            await asyncio.to_thread(_probe, runtime)
        except ConnectorError as error:
            return PlainTextResponse(f"not ready: {error}\n", 503)
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *ConnectPages(runtime=runtime, linked=linked).routes(),
        ],
    )


def _probe(runtime: Runtime) -> None:
    """The database takes a write and the key is the right one."""
    runtime.check_key()
    with runtime.store.write() as connection:
        connection.exec_driver_sql("SELECT 1")


def _json(value: Any, status: int) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
