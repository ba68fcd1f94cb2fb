"""Doors for other processes, outside the API: the truth, the bookkeeper, faults, and what was asked so far."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulation import BookkeepingError

if TYPE_CHECKING:  # the simulator mounts these doors
    from adapters.exactonline.simulator.simulator import ExactSimulator

Handler = Callable[[Request], Awaitable[Response]]


def routes(simulator: "ExactSimulator") -> list[Route]:
    """Everything under `/_sim`."""

    async def truth(_: Request) -> Response:
        return Response(msgspec.json.encode(simulator.books.truth()), media_type="application/json")

    async def actions(request: Request) -> Response:
        """`{"name": ..., ...args}`; "random" does whatever is possible. GET lists the names."""
        if request.method == "GET":
            return JSONResponse({"names": simulator.bookkeeper.names})
        asked: dict[str, Any] = await request.json()
        try:
            name = asked.pop("name")
            if name == "random":
                done = simulator.bookkeeper.random_action()
            else:
                done = simulator.bookkeeper.perform(name, **asked.pop("args", {}), **asked)
        except (BookkeepingError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 409)
        await simulator.webhooks.deliver()
        return JSONResponse({"sentence": done.sentence, "ids": done.ids})

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            simulator.faults.clear()
            return Response(status_code=204)
        try:
            simulator.faults.add(**await request.json())
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return Response(status_code=204)

    async def requests(_: Request) -> Response:
        return JSONResponse([record.as_json() for record in simulator.requests])

    async def violations(_: Request) -> Response:
        return JSONResponse(dict(simulator.violations))

    async def division_move(_: Request) -> Response:
        simulator.move_division()
        return Response(status_code=204)

    async def current_division(request: Request) -> Response:
        simulator.open_in_browser(int((await request.json())["division"]))
        return Response(status_code=204)

    async def settings(request: Request) -> Response:
        """Flip switches: `{"mandatory_filter": true, ...}`."""
        for name, value in (await request.json()).items():
            if not hasattr(simulator.settings, name):
                return JSONResponse({"error": f"no switch {name!r}"}, 400)
            wanted = frozenset(value) if name == "granted" and value is not None else value
            setattr(simulator.settings, name, tuple(wanted) if isinstance(wanted, list) else wanted)
        return Response(status_code=204)

    async def revoke(_: Request) -> Response:
        simulator.office.revoke()
        return Response(status_code=204)

    doors: list[tuple[str, Handler, list[str]]] = [
        ("truth", truth, ["GET"]),
        ("actions", actions, ["GET", "POST"]),
        ("faults", faults, ["POST", "DELETE"]),
        ("requests", requests, ["GET"]),
        ("violations", violations, ["GET"]),
        ("division-move", division_move, ["POST"]),
        ("current-division", current_division, ["POST"]),
        ("settings", settings, ["POST"]),
        ("revoke", revoke, ["POST"]),
    ]
    return [Route(f"/_sim/{name}", handler, methods=methods) for name, handler, methods in doors]
