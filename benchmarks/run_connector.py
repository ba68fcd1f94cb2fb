"""One phase of the program in a process of its own.

python -m benchmarks.run_connector FOLDER PHASE CYCLES [stages]
"""

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
from benchmarks.stages import Stages
from connector.runtime import spare_the_collector


async def main(folder: Path, name: str, cycles: int, *, by_stage: bool) -> None:
    phase, stages = BY_NAME[name], Stages()
    if by_stage:
        stages.watch()
    async with subject.opened(folder, PhaseClock(phase)) as program:
        if phase is LINK:
            await program.link()
            return
        for _ in range(WARM_UP if cycles > 1 else 0):
            await program.cycle()
        stages.spent.clear()
        meter, spent = Meter(), []
        for _ in range(cycles):
            before = time.process_time()
            report = await program.cycle(full=phase.full)
            spent.append(time.process_time() - before)
        tally = report.tally
        records = tally.created + tally.changed + tally.removed
        print(meter.read(records=records, cycle_ms=1000 * median(spent), stages=stages.spent))


if __name__ == "__main__":
    spare_the_collector()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), by_stage="stages" in sys.argv[4:]))
