"""The REST API as Starlette routes: who may ask, what is left of the limits, and the answer."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import Response

from adapters.exactonline.simulator import encoding
from adapters.exactonline.simulator.endpoints import Context, endpoints
from adapters.exactonline.simulator.limits import CallLimits, ErrorBudget
from adapters.exactonline.simulator.oauth import TokenOffice
from adapters.exactonline.simulator.odata import QueryError, parse_key, parse_literals
from adapters.exactonline.simulator.query import Page, Reader
from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.tables import Endpoint
from adapters.exactonline.simulator.webhooks import Webhooks
from adapters.exactonline.simulator.world import World
from connector.clock import Clock

LONGEST_URL = 6000
_UNGRANTED = frozenset({"system/Divisions", "current/Me"})
"""Endpoints where the division in the address is not checked."""
_LOOK_UP = re.compile(r"(?P<path>.*)\((?P<key>.*)\)\Z")
_NOT_JSON = "application/xml"


class Refusal(Exception):
    """An answer other than rows."""

    def __init__(self, status: int, text: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})


class Api:
    """Answers everything below `/api/v1`."""

    def __init__(
        self,
        world: World,
        context: Context,
        clock: Clock,
        settings: SimulatorSettings,
        *,
        office: TokenOffice,
        limits: CallLimits,
        budget: ErrorBudget,
        webhooks: Webhooks,
        violations: Counter[str],
    ) -> None:
        self._world = world
        self._context = context
        self._clock = clock
        self._settings = settings
        self._office = office
        self._limits = limits
        self._budget = budget
        self._webhooks = webhooks
        self._violations = violations
        self._reader = Reader(world, settings)
        self._endpoints = endpoints(world, context)

    async def me(self, request: Request) -> Response:
        """The one call that needs no division and counts in no limit."""
        return await self._answer(request, None, "current/Me")

    async def rest(self, request: Request) -> Response:
        division: int = request.path_params["division"]
        return await self._answer(request, division, request.path_params["path"])

    async def attachment(self, request: Request) -> Response:
        """The file itself; without the token and `Download=1` only a page that asks to log in."""
        found = self._world.books.documents.attachments.get(request.query_params.get("ID", ""))
        if not self._authorized(request) or request.query_params.get("Download") != "1":
            return Response("<html><body>Log in to Exact Online</body></html>", media_type="text/html")
        if found is None:
            return Response("<html><body>Not found</body></html>", 404, media_type="text/html")
        media = "application/pdf" if found.name.endswith("PDF") else "application/xml"
        disposition = f'attachment; filename="{found.name}"'
        return Response(found.content(), media_type=media, headers={"Content-Disposition": disposition})

    async def _answer(self, request: Request, division: int | None, path: str) -> Response:
        headers: dict[str, str] = {}
        try:
            if self._settings.page_latency:
                await self._clock.sleep(self._settings.page_latency)
            self._admit(request, division, path, headers)
            self._context.origin = f"{request.url.scheme}://{request.url.netloc}"
            self._world.catch_up()
            if request.method != "GET":
                return await self._change(request, path, headers)
            body, media = self._body(request, division, path)
        except QueryError as error:
            return self._refused(Refusal(400, str(error)), headers)
        except Refusal as refusal:
            return self._refused(refusal, headers)
        if self._settings.byte_order_mark:
            body = b"\xef\xbb\xbf" + body
        return Response(body, media_type=media, headers=headers)

    def _admit(self, request: Request, division: int | None, path: str, headers: dict[str, str]) -> None:
        """Raise unless token, division, error budget and limits all allow the call."""
        if self._budget.blocked:
            self._violations["calls_while_blocked"] += 1
            text = "Access is blocked because of too many errors."
            raise Refusal(self._settings.block_status, text, headers={"Reason": "TooManyErrors"})
        if not self._authorized(request):
            raise Refusal(401, "Unauthorized", headers={"Reason": "Authentication Required"})
        if division is None:
            return
        settings = self._settings
        known = {self._world.division, *settings.other_divisions}
        granted = known if settings.granted is None else known & settings.granted
        if division not in granted and path not in _UNGRANTED:
            self._violations["outside_division"] += 1
            raise Refusal(403, "Forbidden", headers={"Reason": "NoDivisionAccess"})
        if settings.division_blocking_status and path not in _UNGRANTED:
            raise Refusal(403, "Forbidden", headers={"Reason": "DivisionBlocked"})
        admission = self._limits.admit(division)
        headers.update(admission.headers)
        if admission.refused is not None:
            self._violations[f"over_{admission.refused}_limit"] += 1
            raise Refusal(429, "Too Many Requests")
        if len(str(request.url)) > LONGEST_URL:
            self._violations["url_too_long"] += 1
            raise Refusal(400, "The request URL is too long.")

    def _authorized(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._office.accepts(token)

    def _body(self, request: Request, division: int | None, path: str) -> tuple[bytes, str]:
        accept = request.headers.get("accept", "*/*")
        if _NOT_JSON in accept:
            raise Refusal(406, "Not Acceptable")
        raw = dict(parse_qsl(request.url.query, keep_blank_values=True))
        if path == "read/sync/Sync/SyncTimestamp":
            return encoding.to_json({"d": {"results": [self._sync_timestamp(raw)]}}), _media(accept)
        counted = path.endswith("/$count")
        found = _LOOK_UP.match(path)
        endpoint = self._endpoint(path.removesuffix("/$count") if found is None else found["path"])
        foreign = division is not None and division != self._world.division
        uri = self._uri(division, endpoint.path)
        if counted:
            return str(self._reader.count(endpoint, raw)).encode(), "text/plain"
        if found is not None:
            key = parse_key(found["key"], self._world.zone)
            row = None if foreign else self._reader.one(endpoint, key, raw, uri)
            if row is None:
                raise Refusal(404, "The requested resource was not found.")
            return encoding.to_json({"d": row}), _media(accept)
        page = self._reader.read(endpoint, raw, uri)
        if foreign and not endpoint.volatile:  # nothing was ever booked there
            page = Page([], None, page.plain)
        if "application/json" not in accept:
            return encoding.atom(endpoint.path, page.rows), "application/atom+xml"
        return encoding.to_json(_envelope(page, uri)), _media(accept)

    def _endpoint(self, path: str) -> Endpoint:
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            raise Refusal(404, f"Resource not found for the segment '{path.rpartition('/')[2]}'.")
        return endpoint

    def _uri(self, division: int | None, path: str) -> str:
        inside = f"{division}/" if division is not None else ""
        return f"{self._context.origin}/api/v1/{inside}{path}"

    async def _change(self, request: Request, path: str, headers: dict[str, str]) -> Response:
        """Webhook subscriptions are all that can be written."""
        found = _LOOK_UP.match(path)
        if path == "webhooks/WebhookSubscriptions" and request.method == "POST":
            subscription = self._webhooks.subscribe(await request.json())
            if subscription is None:
                raise Refusal(500, "Data already exists")
            body = encoding.to_json({"d": subscription})
            return Response(body, 201, media_type="application/json", headers=headers)
        if found and found["path"] == "webhooks/WebhookSubscriptions" and request.method == "DELETE":
            self._webhooks.unsubscribe(parse_key(found["key"], self._world.zone))
            return Response(status_code=204, headers=headers)
        raise Refusal(405, "Method Not Allowed")

    def _sync_timestamp(self, raw: Mapping[str, str]) -> dict[str, Any]:
        """The row version from which a sync feed shows what was modified since a date."""
        name = raw.get("endPoint", "").strip("'")
        path = next((path for path in self._endpoints if path.startswith("sync/") and path.endswith(name)), "")
        literals = parse_literals(raw.get("modified", ""), self._world.zone)
        if not name or not path or len(literals) != 1 or not isinstance(literals[0], datetime):
            raise QueryError("Bad Request - Error in query syntax.")
        endpoint, since = self._endpoints[path], literals[0]
        version = 1
        for current, key in endpoint.feed.after(0) if endpoint.feed is not None else ():
            row = endpoint.source.get(key)
            modified = endpoint.columns["Modified"](row) if row is not None else since
            if modified < since:
                version = current
        return {
            "TimeStampAsBigInt": str(version),
            "API": name,
            "Modified": encoding.milliseconds(since),
        }

    def _refused(self, refusal: Refusal, headers: Mapping[str, str]) -> Response:
        body = encoding.to_json(encoding.error_body(str(refusal)))
        return Response(body, refusal.status, media_type="application/json", headers={**headers, **refusal.headers})


def _media(accept: str) -> str:
    return "application/json; charset=utf-8" if "application/json" in accept else "application/json"


def _envelope(page: Page, uri: str) -> dict[str, Any]:
    if page.plain:
        return {"d": page.rows}
    inner: dict[str, Any] = {"results": page.rows}
    if page.count is not None:
        inner["__count"] = str(page.count)
    if page.following is not None:
        options = "&".join(f"{name}={quote(value, safe=_KEPT)}" for name, value in page.following.items())
        inner["__next"] = f"{uri}?{options}"
    return {"d": inner}


_KEPT = "$',()*"
