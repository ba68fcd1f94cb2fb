"""SnelStart as its fact sheet describes it, quirks included, answering from simulated books."""

from adapters.snelstart.simulator.settings import SimulatorSettings
from adapters.snelstart.simulator.simulator import SnelSimulator, create

__all__ = ["SimulatorSettings", "SnelSimulator", "create"]
