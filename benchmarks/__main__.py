"""The program, a hand-written floor and dlt over the same recorded pages, side by side: `make bench`."""

import argparse
import contextlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import stages
from benchmarks.phases import BY_NAME, LINK, PHASES
from benchmarks.race import PEER_PYTHON, ROOT, Result, Track
from benchmarks.record import recorded
from benchmarks.table import show
from benchmarks.wires import WIRES, Wire
from tests import postgres
from tests.stories.packages import EXACTONLINE

SIZES = {"tiny": (200, 1_000), "small": (2_000, 10_000), "full": (20_000, 100_000)}
QUIET_CYCLES = 50
STORES = ("sqlite", "postgresql")
CONTENDERS = ("connector", "floor", "dlt")


def main() -> None:
    options = _options()
    wire = WIRES[options.package]
    if options.package != EXACTONLINE.name:
        options.contenders = ["connector"]
    if "dlt" in options.contenders and not PEER_PYTHON.exists():
        raise SystemExit("dlt is not installed: run `make bench`, or leave it out with --contenders connector,floor")
    places = {
        size: recorded(ROOT / "build/bench", wire, customers=SIZES[size][0], invoices=SIZES[size][1], seed=1)
        for size in dict.fromkeys((options.size, options.memory_size))
        if size
    }
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        results: list[Result] = []
        with _servers(options.stores) as servers:
            if options.stages:
                _show_stages(wire, places[options.size], Path(folder) / "stages", servers, options.stores)
                return
            for number in range(options.runs):
                results += _run(wire, places[options.size], Path(folder) / f"run{number}", servers, options)
            smaller = [] if not options.memory_size else _first_loads(
                wire, places[options.memory_size], Path(folder) / "smaller", servers, options.stores
            )  # fmt: skip
    print(f"\n{_machine()}; {began:%Y-%m-%d %H:%M} UTC; {options.size} size, {options.runs} run(s)")
    print(show(results, smaller, track=places[options.size]))


def _run(wire: Wire, place: Path, folder: Path, servers: dict[str, str], options: argparse.Namespace) -> list[Result]:
    """Every phase of every contender; they take turns within a phase, so that a busy moment hits them alike."""
    found = []
    with _track(wire, place, folder, servers) as track:
        for store in options.stores:
            if "connector" in options.contenders:
                track.run("connector", store, LINK)
            for phase in PHASES:
                for contender in options.contenders:
                    quiet = contender == "connector" and phase.name == "quiet"
                    result = track.run(contender, store, phase, cycles=QUIET_CYCLES if quiet else 1)
                    print(f"  {result.line()}", flush=True)
                    found.append(result)
    return found


def _first_loads(wire: Wire, place: Path, folder: Path, servers: dict[str, str], stores: list[str]) -> list[Result]:
    """The program's first load of another size, for what its memory depends on."""
    found = []
    with _track(wire, place, folder, servers) as track:
        for store in stores:
            track.run("connector", store, LINK)
            found.append(track.run("connector", store, BY_NAME["first"]))
    return found


def _show_stages(wire: Wire, place: Path, folder: Path, servers: dict[str, str], stores: list[str]) -> None:
    """Where the program's time goes in a first load, a cycle without changes and a full re-read."""
    with _track(wire, place, folder, servers) as track:
        for store in stores:
            track.run("connector", store, LINK)
            for name, cycles in (("first", 1), ("quiet", QUIET_CYCLES), ("reread", 1)):
                result = track.run("connector", store, BY_NAME[name], cycles=cycles, by_stage=True)
                per_cycle = {stage: seconds / cycles for stage, seconds in result.stages.items()}
                print(f"\n{BY_NAME[name].title} on {store}")
                print(stages.show(per_cycle, result.cpu, result.rows), flush=True)


@contextlib.contextmanager
def _track(wire: Wire, place: Path, folder: Path, servers: dict[str, str]) -> Iterator[Track]:
    """Databases as they are needed, each contender's own."""
    folder.mkdir()
    made: dict[tuple[str, str], str] = {}
    with contextlib.ExitStack() as stack:

        def database(contender: str, store: str) -> str:
            if (contender, store) not in made:
                made[contender, store] = (
                    f"sqlite:///{folder}/{contender}.db"
                    if store == "sqlite"
                    else stack.enter_context(postgres.database(servers[store]))
                )
            return made[contender, store]

        yield Track(wire, place, folder, database)


@contextlib.contextmanager
def _servers(stores: list[str]) -> Iterator[dict[str, str]]:
    """The database servers that the stores need, with the durability they come with."""
    with contextlib.ExitStack() as stack:
        yield {store: stack.enter_context(postgres.server()) for store in stores if store != "sqlite"}


def _machine() -> str:
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}, load {load}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--package", choices=WIRES, default=EXACTONLINE.name, help="of another, only the program runs")
    parser.add_argument("--size", choices=SIZES, default="full", help="customers and invoices (default: full)")
    parser.add_argument("--memory-size", choices=["", *SIZES], default="small", help="a first load to compare memory")
    parser.add_argument("--runs", type=int, default=1, help="repetitions; medians are shown")
    parser.add_argument("--stores", type=_among(STORES), default=list(STORES), help="sqlite,postgresql")
    parser.add_argument("--contenders", type=_among(CONTENDERS), default=list(CONTENDERS), help="connector,floor,dlt")
    parser.add_argument("--stages", action="store_true", help="only say where the program's own time goes")
    parser.add_argument("--folder", help="where databases are put, instead of the system's folder for such things")
    return parser.parse_args()


def _among(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: use {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    main()
