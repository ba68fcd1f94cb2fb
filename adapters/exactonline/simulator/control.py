"""Doors for other processes that only this package has: another database, another division, consent taken back."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.simulation.control import Control, door

if TYPE_CHECKING:  # the simulator mounts these doors
    from adapters.exactonline.simulator.simulator import ExactSimulator


class ExactControl:
    """Everything under `/_sim`."""

    def __init__(self, simulator: "ExactSimulator") -> None:
        self._simulator = simulator
        self._common = Control(simulator, simulator.webhooks.deliver)

    def routes(self) -> list[Route]:
        return [
            *self._common.routes(),
            door("division-move", self.division_move, "POST"),
            door("current-division", self.current_division, "POST"),
            door("revoke", self.revoke, "POST"),
        ]

    async def division_move(self, _: Request) -> Response:
        self._simulator.move_division()
        return Response(status_code=204)

    async def current_division(self, request: Request) -> Response:
        """`{"division": n}`: the user opens another one in the browser."""
        self._simulator.open_in_browser(int((await request.json())["division"]))
        return Response(status_code=204)

    async def revoke(self, _: Request) -> Response:
        """The user takes the consent back."""
        self._simulator.office.revoke()
        return Response(status_code=204)
