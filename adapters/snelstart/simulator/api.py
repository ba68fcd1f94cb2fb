"""The API as routes: who may ask, what is left of the limits, and the answer (sheet 9.2)."""

import base64
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.simulation.documents import Attachment, FileKind
from adapters.simulation.ledger import Entry
from adapters.snelstart.simulator import invoices, reference, relations
from adapters.snelstart.simulator.encoding import Json, to_json
from adapters.snelstart.simulator.gate import Gate, Refusal
from adapters.snelstart.simulator.odata import QueryError
from adapters.snelstart.simulator.office import Token, TokenOffice
from adapters.snelstart.simulator.query import Reader
from adapters.snelstart.simulator.resources import Resource, resources
from adapters.snelstart.simulator.settings import SimulatorSettings
from adapters.snelstart.simulator.world import World
from connector.clock import Clock

_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_DENIED: Final = {"Message": "Authorization has been denied for this request."}
_DOCUMENT_TYPES: Final = {"verkoopboekingen", "relaties", "inkoopboekingen"}
_NOT_SUPPORTED: Final = {"Message": "The requested resource does not support this http method."}


class Api:
    """Answers everything below `/v2`, and the token endpoint beside it."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        settings: SimulatorSettings,
        *,
        office: TokenOffice,
        gate: Gate,
        violations: Counter[str],
    ) -> None:
        self._world = world
        self._clock = clock
        self._settings = settings
        self._office = office
        self._gate = gate
        self._violations = violations
        self._reader = Reader(world, settings)
        self._resources = resources(world)

    async def token(self, request: Request) -> Response:
        if request.url.query:
            self._violations["credentials_in_query"] += 1
        form = dict(parse_qsl((await request.body()).decode("latin-1"), keep_blank_values=True))
        answer = self._office.grant(form)
        return JSONResponse(answer.body, answer.status)

    async def echo(self, request: Request) -> Response:
        """The product of its own outside `/v2` that only looks at the subscription key."""
        try:
            self._gate.check_subscription(request)
        except Refusal as refusal:
            return _refused(refusal)
        return Response(status_code=200)

    async def serve(self, request: Request) -> Response:
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            self._gate.check_subscription(request)
            with self._gate.passing(self._office.spender(text)):
                if self._settings.page_latency:
                    await self._clock.sleep(self._settings.page_latency)
                token = self._office.accepts(text) if kind.lower() == "bearer" else None
                if token is None:
                    raise Refusal(401, _DENIED)  # noqa: TRY301 - every refusal is written in one place
                return self._answer(request, token)
        except QueryError as error:
            code = {"errorCode": "ALG-0104", "message": str(error), "details": None}
            return _refused(Refusal(400, {"Message": str(error)} if error.by_framework else [code]))
        except Refusal as refusal:
            return _refused(refusal)

    def _answer(self, request: Request, token: Token) -> Response:
        if request.method != "GET":
            raise Refusal(405, _NOT_SUPPORTED)
        self._world.catch_up()
        path: str = request.path_params["path"]
        match path.strip("/").split("/"):
            case [name, *rest] if name in self._resources:
                return self._resource(request, token, self._resources[name], rest)
            case ["documenten", *rest]:
                self._may(token, "documenten:read")
                if self._foreign(token):
                    raise Refusal(404)
                return self._documents(rest)
            case ["echo"]:
                return Response(status_code=204)
            case names:
                return _json(self._single(request, token, names))

    def _single(self, request: Request, token: Token, names: list[str]) -> Any:
        """What there is one of."""
        match names:
            case ["companyInfo"]:
                self._may(token, "settings:read")
                return reference.company(self._world, token.administration)
            case ["echo", text]:
                return text
            case ["authorization", "HasUserAccessToAdministration"]:
                return {"hasAccess": True}
            case ["rapportages", "periodebalans"]:
                self._may(token, "rapportage")
                start, end = _dates(request)
                return [] if self._foreign(token) else reference.period_balance(self._world, start, end)
        raise Refusal(404)

    def _resource(self, request: Request, token: Token, resource: Resource, rest: list[str]) -> Response:
        self._may(token, resource.scope)
        if not rest and resource.listing is None:  # it can only be written to there
            raise Refusal(405, _NOT_SUPPORTED)
        foreign = self._foreign(token)
        if not rest:
            raw = {
                name: value for name, value in parse_qsl(request.url.query, keep_blank_values=True) if name[:1] == "$"
            }
            return _json([] if foreign else self._reader.read(resource, raw))
        key = rest[0].lower()
        if not _GUID.match(key):
            raise Refusal(400, [{"errorCode": "ALG-0103", "message": "Ongeldig ID", "details": None}])
        row = None if foreign else resource.get(key)
        below = self._below(resource.path).get("/".join(rest[1:]))
        if row is None or (len(rest) > 1 and below is None):
            raise Refusal(404)
        return _json(resource.write(row)) if below is None else below(token, row)

    def _below(self, path: str) -> dict[str, Callable[[Token, Any], Response]]:
        """What there is under the address of one row."""
        if path == "verkoopfacturen":
            return {"ubl": self._ubl}
        if path != "relaties":
            return {}
        return {
            "verkoopboekingen": self._sales_of,
            "doorlopendeincassomachtigingen": lambda _, row: _json(
                [relations.mandate(self._world, mandate) for mandate in row.mandates]
            ),
            "customFields": lambda _, __: _json({"klantCustomFields": [], "leverancierCustomFields": []}),
        }

    def _sales_of(self, token: Token, row: Any) -> Response:
        self._may(token, "boekhouden:read")
        items = self._world.books.matching.of_customer.get(row.id, {}).values()
        sales = [
            entry for entry in (item.line.entry for item in items) if self._resources["verkoopboekingen"].get(entry.id)
        ]
        return _json([invoices.sale(self._world, entry) for entry in sales])

    def _ubl(self, _: Token, row: Any) -> Response:
        found = self._world.books.documents.of_entry.get(row.line.entry.id)
        files = [one for one in found.attachments if one.kind is FileKind.UBL] if found else []
        if not files:
            raise Refusal(404)
        text = files[0].content()
        if self._settings.ubl_as == "xml":
            return Response(text, media_type="application/xml")
        whole: Any = text.decode()
        return _json([{"fileName": files[0].name, "ubl": whole}] if self._settings.ubl_as == "list" else whole)

    def _documents(self, rest: list[str]) -> Response:
        match rest:
            case [key]:
                found = self._world.books.documents.attachments.get(key.lower())
                entry = found.document.entry if found is not None else None
                if found is None or entry is None or invoices.document(self._world, entry) is None:
                    raise Refusal(404)
                return _json(_content(found, entry))
            case [kind, parent] if kind.lower() in _DOCUMENT_TYPES:
                parent_entry = self._world.books.ledger.entries.get(parent.lower())
                if kind.lower() != "verkoopboekingen" or parent_entry is None:
                    return _json([])
                return _json([_listed(one) for one in invoices.references(self._world, parent_entry)])
            case [_, _]:
                raise Refusal(400, [{"errorCode": "BLG-0001", "message": "Bijlage niet gevonden.", "details": None}])
        raise Refusal(404)

    def _foreign(self, token: Token) -> bool:
        """Whether the token opens other books than these: nothing was ever booked there."""
        return token.administration != self._world.administration

    def _may(self, token: Token, scope: str) -> None:
        if scope not in token.scopes:
            self._violations["outside_scope"] += 1
            raise Refusal(403, _DENIED)


def _listed(one: Json) -> Json:
    """In a list the parent goes by another name than everywhere else (sheet 13.14)."""
    parent = one.pop("parentIdentifier")
    return {"verkoopBoekingId": parent, **one}


def _content(found: Attachment, entry: Entry) -> Json:
    return {
        "content": base64.b64encode(found.content()).decode(),
        "parentIdentifier": entry.id,
        "fileName": found.name,
        "readOnly": True,
        "id": found.id,
        "uri": f"/documenten/{found.id}",
    }


def _dates(request: Request) -> tuple[date, date]:
    try:
        start, end = (date.fromisoformat(request.query_params[name][:10]) for name in ("start", "end"))
    except (KeyError, ValueError) as error:
        words = {name: ["The value is required and has to be a date."] for name in ("start", "end")}
        raise Refusal(400, {"message": "The request is invalid.", "modelState": words}) from error
    return start, end


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json; charset=utf-8")


def _refused(refusal: Refusal) -> Response:
    if refusal.body is None:
        return Response(status_code=refusal.status, headers=refusal.headers)
    return JSONResponse(refusal.body, refusal.status, headers=refusal.headers)
