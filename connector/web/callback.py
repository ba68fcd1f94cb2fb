"""Where the package sends the person back after signing in."""

from collections.abc import Awaitable, Callable
from html import escape

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from connector.adapter import Identity
from connector.errors import ConnectorError
from connector.runtime import CALLBACK_PATH, Runtime

Linked = Callable[[str, Identity], Awaitable[None]]

log = structlog.get_logger()

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}</style>
<h1>{title}</h1><p>{text}</p></html>"""

_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def callback_route(runtime: Runtime, linked: Linked) -> Route:
    """The callback of every package's sign-in; `linked` hears of each success."""

    async def callback(request: Request) -> Response:
        query = request.query_params
        try:
            name, identity = await finish(runtime, query.get("state", ""), query.get("code"), query.get("error"))
        except ConnectorError as error:
            log.warning("connection.sign_in_failed", error=str(error))
            return _page("The administration is not linked", f"{error.what}. {error.fix}", status=400)
        await linked(name, identity)
        return _page(
            "The administration is linked",
            f"{identity.name} ({identity.administration}) is linked. The first open items follow within minutes; "
            "you can close this window.",
        )

    return Route(CALLBACK_PATH, callback)


async def finish(runtime: Runtime, state: str, code: str | None, error: str | None) -> tuple[str, Identity]:
    """Exchange the code, then ask the package whose books these are."""
    connection_id = await runtime.authorizer().complete(state, code=code, error=error)
    return await runtime.signed_in(connection_id)


def _page(title: str, text: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=escape(title), text=escape(text)), status_code=status, headers=_HEADERS)
