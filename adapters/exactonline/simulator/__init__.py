"""Exact Online as its fact sheet describes it, quirks included, answering from simulated books."""

from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.simulator import ExactSimulator, create

__all__ = ["ExactSimulator", "SimulatorSettings", "create"]
