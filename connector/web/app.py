"""The daemon's web application: health, the pages by which clients connect, what brings keys, the operators' API."""

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from connector.errors import ConnectorError
from connector.runtime import Runtime
from connector.web.activation import ActivationWebhook
from connector.web.admin import AdminApi, Controls
from connector.web.connect import ConnectPages, Linked
from connector.web.guard import Guard


def create_app(
    runtime: Runtime, controls: Controls, linked: Linked, keys_came: Callable[[], None] = lambda: None
) -> Starlette:
    """What `controls.health` calls `live` must be true for /healthz to answer 200.

    `keys_came` hears when a package has sent something about a key.
    """

    async def healthz(_: Request) -> Response:
        state = controls.health()
        shown = {name: state[name] for name in ("live", "seconds_since_tick")}
        return JSONResponse(shown, 200 if state["live"] else 503)

    async def readyz(_: Request) -> Response:
        try:
            await asyncio.to_thread(runtime.probe)
        except ConnectorError:
            return PlainTextResponse("not ready; GET /api/health says why to those who have a key\n", 503)
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *ConnectPages(runtime=runtime, linked=linked).routes(),
            *ActivationWebhook(runtime, keys_came).routes(),
            AdminApi(runtime, controls).mount(),
        ],
        middleware=[Middleware(Guard, runtime.settings.daemon)],
    )
