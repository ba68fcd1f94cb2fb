"""Progress of a cycle: a bar per feed on a terminal, a line per feed otherwise."""

import contextlib
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from connector.adapter import Feed
from connector.cli.common import err
from connector.cycle import Progress
from connector.reader import FeedReport

TELL_EVERY = 25
"""Pages between two lines about a long feed."""


@contextlib.contextmanager
def watch(name: str) -> Iterator[Progress]:
    """Hooks that draw what a cycle of this connection does."""
    if err.is_terminal:
        with _bars() as bars:
            yield _drawing(name, bars)
    else:
        with _telling(name) as progress:
            yield progress


def _bars() -> Bars:
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]} rows"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )


def _drawing(name: str, bars: Bars) -> Progress:
    tasks: dict[str, TaskID] = {}

    def feed(started: Feed) -> None:
        tasks[started.name] = bars.add_task(f"{name}: {started.name}", total=None, rows=0)

    def page(report: FeedReport) -> None:
        bars.update(tasks[report.name], completed=report.pages, rows=report.rows)

    def assembling(groups: int) -> None:
        tasks["assembly"] = bars.add_task(f"{name}: records", total=groups, rows=groups)

    def assembled(groups: int) -> None:
        bars.advance(tasks["assembly"], groups)

    return Progress(feed=feed, page=page, assembling=assembling, assembled=assembled)


@contextlib.contextmanager
def _telling(name: str) -> Iterator[Progress]:
    """One line for each feed that brought rows, when it is done; a long one also says so on its way."""
    under_way: list[FeedReport] = []

    def tell() -> None:
        for report in under_way:
            if report.rows:
                err.print(f"{name}: {report.name}: {_count(report.rows, 'row')} on {_count(report.pages, 'page')}")
        under_way.clear()

    def page(report: FeedReport) -> None:
        under_way[:] = [report]
        if report.pages % TELL_EVERY == 0:
            err.print(f"{name}: {report.name}: {report.rows} rows so far")

    def assembling(groups: int) -> None:
        tell()
        err.print(f"{name}: assembling {_count(groups, 'group')} of rows")

    yield Progress(feed=lambda _: tell(), page=page, assembling=assembling)
    tell()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
