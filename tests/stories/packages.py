"""The packages that stories are told of: one small value for each, with all that differs between them."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from adapters.exactonline import simulator as exactonline
from adapters.simulation import Bookkeeper, Books
from adapters.simulation.faults import Faults
from adapters.simulation.front import Recorded
from adapters.snelstart import simulator as snelstart
from connector.clock import Clock


class Simulator(Protocol):
    """A package's simulator, as far as all of them are alike."""

    app: Any
    books: Books
    bookkeeper: Bookkeeper
    faults: Faults
    violations: Counter[str]
    world: Any

    @property
    def settings(self) -> Any: ...

    @property
    def requests(self) -> deque[Recorded]: ...

    def truth(self) -> dict[str, Any]: ...


class Access(NamedTuple):
    """What a configuration and a client need to be let in."""

    administration: str
    client_id: str
    client_secret: str
    pasted: str | None = None
    """The key that the client copies; where there is none, the client signs in."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """One package."""

    name: str
    create: Callable[[Books, Clock, Mapping[str, Any]], Simulator]
    """(books, clock, switches) -> a simulator with calls to spare, whose client consents at once."""
    access: Callable[[Any], Access]
    """Of such a simulator."""
    connection: Callable[[str], Mapping[str, str]]
    """The package's address -> the settings of a connection to it beyond those that every package has."""
    books: Mapping[str, Any] = field(default_factory=dict)
    """What its generated books cannot hold, as arguments of `generate`."""


def _exactonline(books: Books, clock: Clock, switches: Mapping[str, Any]) -> Simulator:
    spare: dict[str, Any] = {"minute_limit": 10**6, "day_limit": 10**6, "auto_approve": True}
    return exactonline.create(books, clock, exactonline.SimulatorSettings(**spare | dict(switches)))


def _exactonline_access(simulator: exactonline.ExactSimulator) -> Access:
    settings = simulator.settings
    return Access(str(simulator.division), settings.client_id, settings.client_secret)


def _snelstart(books: Books, clock: Clock, switches: Mapping[str, Any]) -> Simulator:
    spare: dict[str, Any] = {"minute_limit": 10**6, "hour_limit": 10**6}
    return snelstart.create(books, clock, snelstart.SimulatorSettings(**spare | dict(switches)))


def _snelstart_access(simulator: snelstart.SnelSimulator) -> Access:
    settings = simulator.settings
    return Access(
        simulator.administration,
        settings.app_short_name,
        settings.subscription_keys[0],
        simulator.koppelsleutel,
    )


EXACTONLINE = Simulated(
    name="exactonline",
    create=_exactonline,
    access=_exactonline_access,
    connection=lambda url: {"base_url": url},
)
SNELSTART = Simulated(
    name="snelstart",
    create=_snelstart,
    access=_snelstart_access,
    connection=lambda url: {"base_url": f"{url}/v2", "auth_url": url},
    books={"foreign_currency": False},
)
PACKAGES = (EXACTONLINE, SNELSTART)
