"""Doors for other processes that only this package has: keys, tokens, limits, and relations filled in by hand."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulation.control import Control, door

if TYPE_CHECKING:  # the simulator mounts these doors
    from adapters.snelstart.simulator.simulator import SnelSimulator


class SnelControl:
    """Everything under `/_sim`."""

    def __init__(self, simulator: "SnelSimulator") -> None:
        self._simulator = simulator
        self._common = Control(simulator)

    def routes(self) -> list[Route]:
        return [
            *self._common.routes(),
            door("answers", self.answers, "GET"),
            door("koppelsleutel", self.koppelsleutel, "GET", "POST"),
            door("webhook", self.webhook, "POST"),
            door("revoke", self.revoke, "POST"),
            door("spend", self.spend, "POST"),
            door("subscription", self.subscription, "POST"),
            door("relations", self.relations, "POST"),
        ]

    async def answers(self, _: Request) -> Response:
        """How often each collection answered with each status: `{"verkoopfacturen": {"200": 3}}`."""
        counted: dict[str, dict[str, int]] = {}
        for (path, status), times in self._simulator.answers.items():
            counted.setdefault(path, {})[str(status)] = times
        return JSONResponse(counted)

    async def koppelsleutel(self, request: Request) -> Response:
        """GET shows it. POST `{"action": ..., "other_books": false}`: the tenant changes it, and the app is told."""
        simulator = self._simulator
        told = None
        if request.method == "POST":
            told = await simulator.activation.change(**await request.json())
        return JSONResponse({"koppelsleutel": simulator.koppelsleutel, "told": told})

    async def webhook(self, request: Request) -> Response:
        """`{"action": ..., "key": ..., "reference": ..., "times": 1}`: an event out of turn, or more than once."""
        asked: dict[str, Any] = await request.json()
        times = asked.pop("times", 1)
        told = [await self._simulator.activation.tell(**asked) for _ in range(times)]
        return JSONResponse({"told": told})

    async def revoke(self, _: Request) -> Response:
        """Tokens die before their time."""
        self._simulator.office.revoke()
        return Response(status_code=204)

    async def spend(self, request: Request) -> Response:
        """`{"calls": n}`: some other integration of the same administration uses up calls."""
        self._simulator.spend(int((await request.json())["calls"]))
        return Response(status_code=204)

    async def subscription(self, _: Request) -> Response:
        """The partner renews its keys."""
        self._simulator.gate.renew_subscription()
        return Response(status_code=204)

    async def relations(self, request: Request) -> Response:
        """`{"id": ..., "fields": {...}}`: fields of a relation that the books do not know, by their wire names."""
        asked: dict[str, Any] = await request.json()
        if asked["id"] not in self._simulator.books.relations.customers:
            return JSONResponse({"error": f"no relation {asked['id']}"}, 404)
        self._simulator.world.retouch(asked["id"], asked["fields"])
        return Response(status_code=204)
