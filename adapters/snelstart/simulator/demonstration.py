"""The simulator as `connector simulate` and the demo load it: books of a given size, and generous call limits."""

from typing import Any
from zoneinfo import ZoneInfo

from adapters.simulation import BookkeepingError, generate
from adapters.snelstart.simulator.settings import SimulatorSettings
from adapters.snelstart.simulator.simulator import create
from connector.clock import Clock
from connector.simulation import Impossible, Simulation

CALLS_PER_MINUTE = 600
"""More than the package's limit, so that a demonstration of many cycles does not wait for the next minute."""


def simulate(*, seed: int, customers: int, invoices: int, clock: Clock) -> Simulation:
    today = clock.now().astimezone(ZoneInfo("Europe/Amsterdam")).date()
    books = generate(seed=seed, customers=customers, invoices=invoices, today=today, foreign_currency=False)
    settings = SimulatorSettings(tier="production", minute_limit=CALLS_PER_MINUTE, hour_limit=60 * CALLS_PER_MINUTE)
    simulator = create(books, clock, settings)

    def perform(action: str, **args: Any) -> str:
        try:
            return simulator.bookkeeper.perform(action, **args).sentence
        except BookkeepingError as error:
            raise Impossible(str(error)) from error

    return Simulation(
        app=simulator.app,
        administration=simulator.administration,
        title="SnelStart (simulated)",
        client_id=settings.app_short_name,
        client_secret=settings.subscription_keys[0],
        settings={"calls_per_minute": CALLS_PER_MINUTE},
        connection=lambda url: {"base_url": f"{url}/v2", "auth_url": url, "web_url": url},
        truth=simulator.truth,
        perform=perform,
        perform_any=lambda: simulator.bookkeeper.random_action().sentence,
        found_by_sweeps=("delete_entry",),
        pasted=simulator.koppelsleutel,
    )
