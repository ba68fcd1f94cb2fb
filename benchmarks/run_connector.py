"""One phase of the program in a process of its own: `python -m benchmarks.run_connector FOLDER PHASE [CYCLES]`."""

import asyncio
import logging
import sys
import time
from pathlib import Path
from statistics import median

import structlog

from benchmarks import subject
from benchmarks.measure import Meter
from benchmarks.phases import BY_NAME, LINK, WARM_UP, PhaseClock


async def main(folder: Path, name: str, cycles: int) -> None:
    phase = BY_NAME[name]
    async with subject.opened(folder, PhaseClock(phase)) as program:
        if phase is LINK:
            await program.link()
            return
        for _ in range(WARM_UP if cycles > 1 else 0):
            await program.cycle()
        meter, spent = Meter(), []
        for _ in range(cycles):
            before = time.process_time()
            report = await program.cycle(full=phase.full)
            spent.append(time.process_time() - before)
        tally = report.tally
        print(meter.read(records=tally.created + tally.changed + tally.removed, cycle_ms=1000 * median(spent)))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1))
