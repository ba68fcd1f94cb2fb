"""The results as one table, and what they come to: ratios between contenders, and the goals."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from benchmarks import recording
from benchmarks.phases import PHASES
from benchmarks.race import Result

HEADER = ("phase", "store", "contender", "rows", "rows/s", "records/s", "wall s", "CPU s", "peak MB", "calls", "least")
PEAK_MB, QUIET_MS, TIMES_DLT, TIMES_FLOOR = 200, 30, 3, 2


def show(results: Sequence[Result], smaller: Sequence[Result], *, track: Path) -> str:
    """Medians where there were several runs. Rows are raw items as the package sent them."""
    merged = _merge(results)
    lines = _aligned([HEADER, *(_cells(result) for result in merged)])
    lines += ["", *_ratios(merged), *_quiet(merged), *_memory(merged, smaller)]
    contents = recording.contents(track)
    if contents is not None:
        calls = contents.phases["first"].calls_until_open
        lines.append(f"open items and their customers are there after {calls} calls of the first load")
    return "\n".join(lines)


def _merge(results: Iterable[Result]) -> list[Result]:
    """The runs of the same thing as one, by phase, store and contender."""
    together: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        together.setdefault((result.phase, result.store, result.contender), []).append(result)
    order = {phase.name: number for number, phase in enumerate(PHASES)}
    merged = []
    for runs in together.values():
        numbers = {name: median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak_mb", "cycle_ms")}
        merged.append(runs[0].with_numbers(**numbers))
    return sorted(merged, key=lambda result: order[result.phase])


def _cells(result: Result) -> tuple[str, ...]:
    title = next(phase.title for phase in PHASES if phase.name == result.phase)
    return (
        title,
        result.store,
        result.contender,
        f"{result.rows:,}",
        f"{result.rows / result.wall:,.0f}",
        f"{result.records / result.wall:,.0f}" if result.contender != "dlt" else "-",
        f"{result.wall:.2f}",
        f"{result.cpu:.2f}",
        f"{result.peak_mb:.0f}",
        f"{result.calls:,}",
        f"{result.least:,}",
    )


def _ratios(results: Sequence[Result]) -> list[str]:
    """Speed against the others, by wall time and by processor time, in each phase that reads a lot."""
    found = {(result.phase, result.store, result.contender): result for result in results}
    lines = []
    for (phase, store, contender), ours in found.items():
        if contender != "connector" or phase not in {"first", "reread"}:
            continue
        for other, goal in (("floor", f"goal at least {1 / TIMES_FLOOR:.1f}"), ("dlt", f"goal at least {TIMES_DLT}")):
            theirs = found.get((phase, store, other))
            if theirs is not None:
                wall = (ours.rows / ours.wall) / (theirs.rows / theirs.wall)
                cpu = (ours.rows / ours.cpu) / (theirs.rows / theirs.cpu)
                lines.append(f"{phase} on {store}: {wall:.2f} x {other} in rows/s, {cpu:.2f} x in rows/CPU s ({goal})")
    return lines


def _quiet(results: Sequence[Result]) -> list[str]:
    return [
        f"no-change cycle on {result.store}: {result.cycle_ms:.1f} ms CPU, HTTP and delivery included, "
        f"median inside one process (goal {QUIET_MS})"
        for result in results
        if result.contender == "connector" and result.phase == "quiet"
    ]


def _memory(results: Sequence[Result], smaller: Sequence[Result]) -> list[str]:
    before = {result.store: result for result in smaller}
    return [
        f"memory of a first load on {result.store}: {before[result.store].peak_mb:.0f} MB for "
        f"{before[result.store].rows:,} rows, {result.peak_mb:.0f} MB for {result.rows:,} (goal {PEAK_MB})"
        for result in results
        if result.contender == "connector" and result.phase == "first" and result.store in before
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = 3
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
