"""Doors for other processes, outside the API: the truth, the bookkeeper, faults, and what was asked so far."""

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulation import BookkeepingError

if TYPE_CHECKING:  # the simulator mounts these doors
    from adapters.exactonline.simulator.simulator import ExactSimulator


class Control:
    """Everything under `/_sim`."""

    def __init__(self, simulator: "ExactSimulator") -> None:
        self._simulator = simulator

    def routes(self) -> list[Route]:
        doors = [
            ("truth", self.truth, ["GET"]),
            ("actions", self.actions, ["GET", "POST"]),
            ("faults", self.faults, ["POST", "DELETE"]),
            ("requests", self.requests, ["GET"]),
            ("violations", self.violations, ["GET"]),
            ("division-move", self.division_move, ["POST"]),
            ("current-division", self.current_division, ["POST"]),
            ("settings", self.settings, ["POST"]),
            ("revoke", self.revoke, ["POST"]),
        ]
        return [Route(f"/_sim/{name}", handler, methods=methods) for name, handler, methods in doors]

    async def truth(self, _: Request) -> Response:
        body = msgspec.json.encode(self._simulator.books.truth())
        return Response(body, media_type="application/json")

    async def actions(self, request: Request) -> Response:
        """`{"name": ..., ...args}`; "random" does whatever is possible. GET lists the names."""
        keeper = self._simulator.bookkeeper
        if request.method == "GET":
            return JSONResponse({"names": keeper.names})
        asked: dict[str, Any] = await request.json()
        name = asked.pop("name", None)
        args = {**asked.pop("args", {}), **asked}
        try:
            done = keeper.random_action() if name == "random" else keeper.perform(str(name), **args)
        except BookkeepingError as error:
            return JSONResponse({"error": str(error)}, 409)
        await self._simulator.webhooks.deliver()
        return JSONResponse({"sentence": done.sentence, "ids": done.ids})

    async def faults(self, request: Request) -> Response:
        """POST takes the arguments of `Faults.add`; DELETE clears."""
        if request.method == "DELETE":
            self._simulator.faults.clear()
            return Response(status_code=204)
        try:
            self._simulator.faults.add(**await request.json())
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(status_code=204)

    async def requests(self, _: Request) -> Response:
        return JSONResponse([record.as_json() for record in self._simulator.requests])

    async def violations(self, _: Request) -> Response:
        return JSONResponse(dict(self._simulator.violations))

    async def division_move(self, _: Request) -> Response:
        self._simulator.move_division()
        return Response(status_code=204)

    async def current_division(self, request: Request) -> Response:
        """`{"division": n}`: the user opens another one in the browser."""
        self._simulator.open_in_browser(int((await request.json())["division"]))
        return Response(status_code=204)

    async def settings(self, request: Request) -> Response:
        """Flip switches: `{"mandatory_filter": true, ...}`."""
        switches: dict[str, Any] = await request.json()
        for name, value in switches.items():
            if not hasattr(self._simulator.settings, name):
                return JSONResponse({"error": f"no switch {name!r}"}, 400)
            if isinstance(value, list):
                value = frozenset(value) if name == "granted" else tuple(value)  # noqa: PLW2901 - JSON has no sets
            setattr(self._simulator.settings, name, value)
        return Response(status_code=204)

    async def revoke(self, _: Request) -> Response:
        """The user takes the consent back."""
        self._simulator.office.revoke()
        return Response(status_code=204)
