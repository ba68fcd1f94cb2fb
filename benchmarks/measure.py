"""What one process used: processor seconds of all its threads and children, wall time, its highest memory."""

import json
import os
import time
from pathlib import Path
from typing import Any


class Meter:
    """Reads the process's own counters. Start it when the process is ready for work."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu()

    def read(self, **more: Any) -> str:
        """Since the start, as one line of JSON. Memory is the high-water mark of the whole life of this program."""
        return json.dumps(
            {"wall": time.perf_counter() - self._wall, "cpu": _cpu() - self._cpu, "peak_mb": peak_mb(), **more}
        )


def peak_mb() -> float:
    """Not `ru_maxrss`: that one remembers the parent that this process was forked from."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].removesuffix("kB")) / 1024


def _cpu() -> float:
    return sum(os.times()[:4])
