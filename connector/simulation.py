"""What a package's simulator offers the demo and `connector simulate`, loaded by entry point."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from starlette.types import ASGIApp

from connector.errors import ConfigurationError


class Impossible(Exception):
    """The books have nothing at present that could be acted upon so."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """One simulated administration, its package's wire in front of it."""

    app: ASGIApp
    administration: str
    title: str
    client_id: str
    client_secret: str
    settings: Mapping[str, Any]
    """What its app needs in the configuration besides its credentials, such as call limits."""
    connection: Callable[[str], Mapping[str, str]]
    """The simulator's address -> what a connection to it needs in the configuration."""
    truth: Callable[[], dict[str, Any]]
    """The books as they are: customers, items with what is open, the balance of receivables."""
    perform: Callable[..., str]
    """(action, ...) -> a sentence about what was booked. Raises Impossible."""
    perform_any: Callable[[], str]
    found_by_sweeps: Collection[str] = ()
    """Actions of which the package tells nobody: complete reads find them, one after the other."""
    pasted: str | None = None
    """The key that a client copies from the package and pastes, where it has no sign-in."""


Simulate = Callable[..., Simulation]
"""(seed, customers, invoices, clock) -> Simulation"""


def simulators() -> dict[str, Simulate]:
    return {point.name: point.load() for point in entry_points(group="connector.simulators")}


def simulator(package: str) -> Simulate:
    """The simulator of a package.

    Raises:
        ConfigurationError: there is none of that name.
    """
    known = simulators()
    if package not in known:
        raise ConfigurationError(
            f"there is no simulator for {package!r}", where="PACKAGE", fix=f"use one of: {', '.join(sorted(known))}"
        )
    return known[package]
