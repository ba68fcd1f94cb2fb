"""The two OAuth addresses: the page where the user consents, and the token endpoint."""

import base64
import binascii
from html import escape
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from adapters.exactonline.simulator.oauth import TokenOffice
from adapters.exactonline.simulator.settings import SimulatorSettings


class ConsentDesk:
    """`approve=1` in the authorize request, or the `auto_approve` switch, skips the page."""

    def __init__(self, office: TokenOffice, settings: SimulatorSettings) -> None:
        self._office = office
        self._settings = settings

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        redirect_uri, state = asked.get("redirect_uri"), asked.get("state")
        wrong = asked.get("response_type") != "code"
        if wrong or not self._office.may_redirect(asked.get("client_id"), redirect_uri):
            return HTMLResponse("<h1>401</h1><p>The redirect URI or client id is not registered.</p>", 401)
        assert redirect_uri is not None
        answer: dict[str, str] = {}
        if asked.get("deny") == "1":
            answer["error"] = "access_denied"
        elif self._settings.auto_approve or asked.get("approve") == "1":
            answer["code"] = self._office.approve(redirect_uri)
        else:
            return HTMLResponse(_page(str(request.url)))
        if state is not None:
            answer["state"] = state
        joint = "&" if "?" in redirect_uri else "?"
        return RedirectResponse(f"{redirect_uri}{joint}{urlencode(answer)}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("latin-1"), keep_blank_values=True))
        credentials = _basic(request.headers.get("authorization", ""))
        if credentials is not None and "client_id" not in form:
            form["client_id"], form["client_secret"] = credentials
        answer = self._office.grant(form)
        headers = {**dict(answer.headers), "Cache-Control": "no-store"}
        return Response(answer.body, answer.status, headers=headers, media_type="application/json")


def _basic(header: str) -> tuple[str, str] | None:
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, secret


def _page(url: str) -> str:
    address = escape(url, quote=True)
    return (
        "<!doctype html><html lang='nl'><title>Exact Online (gesimuleerd)</title><main>"
        "<h1>Toegang geven?</h1><p>De app wil de administraties lezen die u kiest.</p>"
        f"<p><a href='{address}&amp;approve=1'>Toestaan</a> <a href='{address}&amp;deny=1'>Weigeren</a></p>"
        "</main></html>"
    )
