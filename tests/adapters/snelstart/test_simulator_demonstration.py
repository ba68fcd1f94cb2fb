"""What `connector simulate snelstart` and the demo load."""

import pytest

from connector.demo import STORY
from connector.simulation import Impossible, simulator
from tests.clocks import ManualClock


def test_the_story_of_the_demo_can_be_told_in_these_books() -> None:
    simulation = simulator("snelstart")(seed=1, customers=40, invoices=200, clock=ManualClock())
    before = simulation.truth()
    assert {item["currency"] for item in before["items"].values()} == {"EUR"}
    assert simulation.pasted is not None
    assert len(simulation.pasted) > 300
    for act in STORY:
        assert len(simulation.perform(act)) > 10, act
    assert simulation.truth() != before
    assert simulation.perform_any()
    with pytest.raises(Impossible):
        simulation.perform("invoice_in_dollars")
