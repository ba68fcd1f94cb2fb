"""Progress of a cycle: a bar per feed on a terminal, a line per feed otherwise."""

import contextlib
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from connector.adapter import Feed
from connector.cli.common import err
from connector.cycle import Progress
from connector.reader import FeedReport


@contextlib.contextmanager
def watch(name: str) -> Iterator[Progress]:
    """Hooks that draw what a cycle of this connection does."""
    if err.is_terminal:
        with _bars() as bars:
            yield _drawing(name, bars)
    else:
        yield _telling(name)


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


def _telling(name: str) -> Progress:
    def page(report: FeedReport) -> None:
        if report.pages == 1 or report.pages % 25 == 0:
            err.print(f"{name}: {report.name}: {report.rows} rows on {report.pages} pages so far")

    def assembling(groups: int) -> None:
        err.print(f"{name}: {groups} customers and other groups to assemble")

    return Progress(page=page, assembling=assembling)
