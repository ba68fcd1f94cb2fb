"""Doors for other processes, outside a package's API: the truth, the bookkeeper, faults, and what was asked so far."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulation.bookkeeper import Bookkeeper
from adapters.simulation.faults import Faults
from adapters.simulation.front import Recorded
from adapters.simulation.ledger import BookkeepingError

Door = Callable[[Request], Awaitable[Response]]


class Controlled(Protocol):
    """A simulator, as the doors see it."""

    bookkeeper: Bookkeeper
    faults: Faults
    violations: Counter[str]

    @property
    def requests(self) -> deque[Recorded]: ...

    @property
    def settings(self) -> Any: ...

    def truth(self) -> dict[str, Any]: ...


class Control:
    """What is under `/_sim` at every package. `booked` is awaited after an act."""

    def __init__(self, simulator: Controlled, booked: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._simulator = simulator
        self._booked = booked

    def routes(self) -> list[Route]:
        return [
            door("truth", self.truth, "GET"),
            door("actions", self.actions, "GET", "POST"),
            door("faults", self.faults, "POST", "DELETE"),
            door("requests", self.requests, "GET"),
            door("violations", self.violations, "GET"),
            door("settings", self.settings, "POST"),
        ]

    async def truth(self, _: Request) -> Response:
        return Response(msgspec.json.encode(self._simulator.truth()), media_type="application/json")

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
        if self._booked is not None:
            await self._booked()
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

    async def settings(self, request: Request) -> Response:
        """Flip switches by name; one that does not exist or does not fit leaves all as they were."""
        switches: dict[str, Any] = await request.json()
        types = get_type_hints(type(self._simulator.settings))
        unknown = switches.keys() - types.keys()
        if unknown:
            return JSONResponse({"error": f"no switch {min(unknown)!r}"}, 400)
        try:
            fitting = {name: msgspec.convert(value, types[name]) for name, value in switches.items()}
        except msgspec.ValidationError as error:
            return JSONResponse({"error": str(error)}, 400)
        for name, value in fitting.items():
            setattr(self._simulator.settings, name, value)
        return Response(status_code=204)


def door(name: str, handler: Door, *methods: str) -> Route:
    """A door of a package's own, beside those of `Control`."""
    return Route(f"/_sim/{name}", handler, methods=list(methods))
