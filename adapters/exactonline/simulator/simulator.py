"""A whole Exact Online in one process, answering from a set of books."""

from collections import Counter, deque
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from adapters.exactonline.simulator.api import Api
from adapters.exactonline.simulator.consent import ConsentDesk
from adapters.exactonline.simulator.control import ExactControl
from adapters.exactonline.simulator.endpoints import Context
from adapters.exactonline.simulator.faults import faults
from adapters.exactonline.simulator.limits import CallLimits, ErrorBudget
from adapters.exactonline.simulator.oauth import TokenOffice
from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.webhooks import Webhooks
from adapters.exactonline.simulator.world import World
from adapters.simulation import Bookkeeper, Books
from adapters.simulation.front import Front, Recorded
from connector.clock import Clock

_API = "/api/v1/"


class ExactSimulator:
    """Serve `app`; look at `requests` and `violations`; change things by `bookkeeper` and `faults`.

    The books take the simulator's clock.
    """

    def __init__(self, books: Books, clock: Clock, settings: SimulatorSettings) -> None:
        books.clock = clock
        self.books = books
        self.clock = clock
        self.settings = settings
        self.bookkeeper = Bookkeeper(books, seed=books.seed)
        self.faults = faults()
        self.violations: Counter[str] = Counter()
        self.office = TokenOffice(clock, settings, self.violations, seed=books.seed)
        self.limits = CallLimits(clock, settings)
        self._budget = ErrorBudget(clock, settings)
        self.world = World(books, settings)
        self.context = Context(self.world.division)
        self.webhooks = Webhooks(self.world, self.context, clock, settings, self.violations)
        self._api = Api(
            self.world,
            self.context,
            clock,
            settings,
            office=self.office,
            limits=self.limits,
            budget=self._budget,
            webhooks=self.webhooks,
            violations=self.violations,
        )
        desk = ConsentDesk(self.office, settings)
        writes = ["GET", "POST", "PUT", "DELETE"]
        served = Starlette(
            routes=[
                Route("/api/oauth2/auth", desk.authorize, methods=["GET"]),
                Route("/api/oauth2/token", desk.token, methods=["POST"]),
                Route("/api/v1/current/Me", self._api.me, methods=["GET"]),
                Route("/api/v1/{division:int}/{path:path}", self._api.rest, methods=writes),
                Route("/docs/SysAttachment.aspx", self._api.attachment, methods=["GET"]),
                *ExactControl(self).routes(),
            ]
        )
        self._front = Front(served, self.faults, clock, self._answered)
        self.app = self._front

    @property
    def division(self) -> int:
        """The division the books are served under."""
        return self.world.division

    def truth(self) -> dict[str, Any]:
        """What a mirror of the books has to equal."""
        return self.books.truth()

    @property
    def requests(self) -> deque[Recorded]:
        """Every request so far, the control doors left out."""
        return self._front.requests

    def move_division(self) -> None:
        """Move the division to another database: all row versions start anew."""
        self.world.move()

    def open_in_browser(self, division: int) -> None:
        """The user opens another division, and `CurrentDivision` follows."""
        self.context.current_division = division

    def _answered(self, path: str, status: int) -> None:
        division, _, endpoint = path.removeprefix(_API).partition("/")
        if not path.startswith(_API) or not division.isdecimal():
            return
        if self._budget.count(int(division), endpoint.partition("(")[0], status):
            self.violations["errors_in_budget"] += 1


def create(books: Books, clock: Clock, settings: SimulatorSettings | None = None) -> ExactSimulator:
    """An Exact Online whose only administration is these books."""
    return ExactSimulator(books, clock, settings or SimulatorSettings())
