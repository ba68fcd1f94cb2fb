"""A whole SnelStart in one process, answering from a set of books."""

from collections import Counter, deque
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from adapters.simulation import Bookkeeper, Books
from adapters.simulation.front import Front, Recorded
from adapters.snelstart.simulator.activation import Activation
from adapters.snelstart.simulator.acts import UNKNOWN, SnelActs
from adapters.snelstart.simulator.api import Api
from adapters.snelstart.simulator.control import SnelControl
from adapters.snelstart.simulator.faults import faults
from adapters.snelstart.simulator.gate import Gate
from adapters.snelstart.simulator.office import TokenOffice
from adapters.snelstart.simulator.settings import SimulatorSettings
from adapters.snelstart.simulator.truth import truth
from adapters.snelstart.simulator.world import World
from connector.clock import Clock


class SnelSimulator:
    """Serve `app`; look at `requests` and `violations`; change things by `bookkeeper` and `faults`.

    The books take the simulator's clock. They have to be in euros.
    """

    def __init__(self, books: Books, clock: Clock, settings: SimulatorSettings) -> None:
        books.clock = clock
        self.books = books
        self.clock = clock
        self.settings = settings
        self.bookkeeper = Bookkeeper(books, seed=books.seed, without=UNKNOWN, more=(SnelActs,))
        self.faults = faults(self.bookkeeper)
        self.violations: Counter[str] = Counter()
        self.world = World(books, settings)
        self.office = TokenOffice(self.administration, clock, settings, self.violations, seed=books.seed)
        self.gate = Gate(clock, settings, self.violations)
        self.activation = Activation(self.office, settings, self.violations)
        api = Api(self.world, clock, settings, office=self.office, gate=self.gate, violations=self.violations)
        methods = ["GET", "POST", "PUT", "DELETE"]
        served = Starlette(
            routes=[
                Route("/b2b/token", api.token, methods=["POST"]),
                Route("/couplings/activate/{app}", self.activation.page, methods=["GET"]),
                Route("/echo/resource", api.echo, methods=["GET"]),
                Route("/v2/{path:path}", api.serve, methods=methods),
                *SnelControl(self).routes(),
            ]
        )
        self._front = Front(served, self.faults, clock, self._answered)
        self.app = self._front
        self.answers: Counter[tuple[str, int]] = Counter()
        """How often each collection answered with each status, faults included."""

    @property
    def administration(self) -> str:
        return self.world.administration

    @property
    def koppelsleutel(self) -> str:
        """What the tenant would copy and paste now."""
        return self.office.current

    @property
    def requests(self) -> deque[Recorded]:
        """Every request so far, the control doors left out."""
        return self._front.requests

    def truth(self) -> dict[str, Any]:
        """What a mirror of the administration has to equal."""
        return truth(self.world)

    def spend(self, calls: int) -> None:
        """Let some other integration of the same administration use up calls."""
        self.gate.spend(self.administration, calls)

    def _answered(self, path: str, status: int) -> None:
        self.answers[path.strip("/").removeprefix("v2/").partition("/")[0], status] += 1


def create(books: Books, clock: Clock, settings: SimulatorSettings | None = None) -> SnelSimulator:
    """A SnelStart whose only administration is these books."""
    return SnelSimulator(books, clock, settings or SimulatorSettings())
