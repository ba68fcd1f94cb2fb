"""Running one phase of one contender in a process of its own, against fresh servers, and what came of it."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from benchmarks import recording, subject
from benchmarks.phases import WARM_UP, Phase
from benchmarks.wires import Wire
from tests.stories.packages import Access

ROOT = Path(__file__).parent.parent
PEER_PYTHON = ROOT / ".venv-bench/bin/python"


@dataclass(frozen=True)
class Result:
    """One run of one phase. Rows are the raw items that the server sent."""

    contender: str
    store: str
    phase: str
    rows: int
    calls: int
    least: int
    records: int
    wall: float
    cpu: float
    peak_mb: float
    cycle_ms: float = 0.0
    """Median processor time of one cycle."""
    stages: dict[str, float] = field(default_factory=dict)
    """Processor seconds by stage, where they were asked for."""

    def line(self) -> str:
        figures = f"{self.wall:.2f} s, {self.cpu:.2f} s CPU, {self.peak_mb:.0f} MB, {self.calls} calls"
        return f"{self.store} {self.phase}, {self.contender}: {figures}"

    def with_numbers(self, **numbers: float) -> "Result":
        return replace(self, **numbers)  # type: ignore[arg-type]  # the numeric fields only


@dataclass
class Track:
    """One recording and one folder to work in; every contender and kind of store has its database in it."""

    wire: Wire
    recorded: Path
    folder: Path
    database: Callable[[str, str], str]
    """(contender, store) -> URL of its database, the same each time."""

    def __post_init__(self) -> None:
        found = recording.contents(self.recorded)
        assert found is not None
        self.contents = found
        self.package_port, self.receiver_port = free_port(), free_port()
        self.package = f"http://127.0.0.1:{self.package_port}"
        self.receiver = f"http://127.0.0.1:{self.receiver_port}"

    def run(self, contender: str, store: str, phase: Phase, *, cycles: int = 1, by_stage: bool = False) -> Result:
        summary = self.contents.phases[phase.name]
        command = {"connector": self._connector, "floor": self._floor, "dlt": self._dlt}[contender]
        with (
            self._server("replay", self.wire.package.name, str(self.recorded), phase.name, str(self.package_port)),
            self._server("receiver", phase.name, str(self.receiver_port)),
        ):
            line = run_process(*command(store, phase, cycles), *(["stages"] if by_stage else []))
            counts = httpx.get(f"{self.package}/counts", trust_env=False).json()
            if contender == "connector" and phase.name == "first":
                self._check_mirror()
        said: dict[str, Any] = json.loads(line or "{}")
        times = 1 if cycles == 1 else cycles + WARM_UP
        return Result(
            contender,
            store,
            phase.name,
            rows=counts["items"] // times,
            calls=counts["calls"] // times,
            least=summary.least_calls,
            records=said.get("records", 0),
            wall=said.get("wall", 0.0) / cycles,
            cpu=said.get("cpu", 0.0) / cycles,
            peak_mb=said.get("peak_mb", 0.0),
            cycle_ms=said.get("cycle_ms", 0.0),
            stages=said.get("stages", {}),
        )

    def _connector(self, store: str, phase: Phase, cycles: int) -> list[str]:
        folder = self.folder / f"connector-{store}"
        subject.configure(
            folder,
            store=self.database("connector", store),
            package=self.wire.package,
            origin=self.package,
            receiver=self.receiver,
            access=Access(str(self.contents.administration), "client", "secret", self.contents.pasted),
        )
        return [sys.executable, "-m", "benchmarks.run_connector", str(folder), phase.name, str(cycles)]

    def _floor(self, store: str, phase: Phase, _: int) -> list[str]:
        file = self._starts(phase)
        url = self.database("floor", store)
        return [sys.executable, "-m", "benchmarks.floor", url, str(file), self.package, self.receiver, phase.name]

    def _dlt(self, store: str, phase: Phase, _: int) -> list[str]:
        file = self._starts(phase)
        url = self.database("dlt", store)
        place = self.folder / f"dlt-{store}"
        return [str(PEER_PYTHON), "-m", "benchmarks.peer", url, str(file), self.package, str(place)]

    def _starts(self, phase: Phase) -> Path:
        file = self.folder / f"{phase.name}.starts"
        file.write_text("\n".join(self.contents.phases[phase.name].starts))
        return file

    @contextlib.contextmanager
    def _server(self, *args: str) -> Iterator[None]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.servers", *args],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"a server did not start: {args}")
            yield
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()

    def _check_mirror(self) -> None:
        """A fast wrong answer is no result: what arrived has to add up to the books."""
        (shown,) = httpx.get(f"{self.receiver}/mirror", trust_env=False, timeout=120).json().values()
        arrived, true = Decimal(shown["totals"]["base"]), Decimal(self.contents.balance)
        if arrived != true:
            raise SystemExit(f"the mirror holds {arrived}, the books {true}")


def run_process(*command: str) -> str:
    """Its last line of output."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with {done.returncode}")
    return done.stdout.strip().rpartition("\n")[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
