"""The simulator as `connector simulate` and the demo load it: books of a given size, and generous call limits."""

from typing import Any
from zoneinfo import ZoneInfo

from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.simulator import create
from adapters.simulation import BookkeepingError, generate
from connector.clock import Clock
from connector.simulation import Impossible, Simulation

CALLS_PER_MINUTE = 600
"""Ten times the package's limit, so that a demonstration of many cycles does not wait for the next minute."""


def simulate(*, seed: int, customers: int, invoices: int, clock: Clock) -> Simulation:
    today = clock.now().astimezone(ZoneInfo("Europe/Amsterdam")).date()
    books = generate(seed=seed, customers=customers, invoices=invoices, today=today)
    simulator = create(books, clock, SimulatorSettings(minute_limit=CALLS_PER_MINUTE))

    def perform(action: str, **args: Any) -> str:
        try:
            return simulator.bookkeeper.perform(action, **args).sentence
        except BookkeepingError as error:
            raise Impossible(str(error)) from error

    return Simulation(
        app=simulator.app,
        administration=str(simulator.division),
        title="Exact Online (simulated)",
        client_id=simulator.settings.client_id,
        client_secret=simulator.settings.client_secret,
        settings={"calls_per_minute": CALLS_PER_MINUTE},
        connection=lambda url: {"base_url": url},
        truth=books.truth,
        perform=perform,
        perform_any=lambda: simulator.bookkeeper.random_action().sentence,
    )
