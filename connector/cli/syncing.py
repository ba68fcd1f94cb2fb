"""`sync` and `run`: once on demand, or for as long as the machine runs."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from connector import daemon
from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NamesArgument,
    err,
    errors_explained,
    explain,
    open_runtime,
    out,
    print_json,
    set_up_logging,
)
from connector.cli.progress import watch
from connector.delivery import DeliveryReport
from connector.errors import ConnectorError, ExitCode
from connector.outcome import CycleReport, classify
from connector.rehearsal import Rehearsal, rehearse
from connector.runtime import Runtime
from connector.store import connections
from connector.store.engine import Store


def sync(
    names: NamesArgument = None,
    config_path: ConfigOption = DEFAULT_CONFIG,
    full: Annotated[bool, typer.Option("--full", help="Read every feed from the beginning.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; store and send nothing.")
    ] = False,
    no_deliver: Annotated[bool, typer.Option("--no-deliver", help="Store, but leave the events waiting.")] = False,
    accept_removals: Annotated[
        bool, typer.Option("--accept-removals", help="Confirm a mass disappearance that was held.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Read the packages once and deliver what changed."""
    with errors_explained():
        runtime = open_runtime(config_path)
        options = {"full": full, "accept_removals": accept_removals}
        if dry_run:
            rehearsals = asyncio.run(_rehearse(runtime, names or [], options))
            _show_rehearsals(rehearsals, json=json)
            reports = [rehearsal.report for rehearsal in rehearsals]
            raise typer.Exit(_exit_code(reports, []))
        reports, deliveries = asyncio.run(_sync(runtime, names or [], options, deliver=not no_deliver))
        _show(reports, deliveries, json=json)
        raise typer.Exit(_exit_code(reports, deliveries))


def run(config_path: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run as a daemon: sync when due, deliver all the time, serve health and sign-in callbacks."""
    set_up_logging(verbose=True)

    async def work() -> None:
        stop = asyncio.Event()
        try:
            with daemon.stopping_on_signals(stop):
                await daemon.run(runtime, stop)
        finally:
            await runtime.close()

    with errors_explained():
        runtime = open_runtime(config_path)
        asyncio.run(work())


async def _sync(
    runtime: Runtime, names: Sequence[str], options: dict[str, bool], *, deliver: bool
) -> tuple[list[CycleReport], list[DeliveryReport]]:
    selected = [connection.name for connection in runtime.settings.select(names)]
    slots = asyncio.Semaphore(runtime.settings.daemon.concurrency)
    stop = asyncio.Event()
    destinations = runtime.destinations() if deliver else {}
    used = {runtime.settings.connections[name].destination for name in selected} & destinations.keys()
    deliverer = runtime.deliverer({name: destinations[name] for name in used})

    async def one(name: str) -> CycleReport:
        def events() -> None:
            if deliver:
                deliverer.wake(runtime.settings.connections[name].destination)

        async with slots:
            with watch(name) as progress:
                progress.events = events
                return await _run_cycle(runtime, name, stop=stop, progress=progress, **options)

    try:
        with daemon.stopping_on_signals(stop):
            delivered = asyncio.Event()
            delivering = asyncio.create_task(deliverer.run(delivered))
            try:
                reports = list(await asyncio.gather(*(one(name) for name in selected)))
            finally:
                delivered.set()
                await delivering
            return reports, [await deliverer.deliver_once(name, stop) for name in sorted(used)]
    finally:
        for destination in destinations.values():
            await destination.close()
        await runtime.close()


async def _rehearse(runtime: Runtime, names: Sequence[str], options: dict[str, bool]) -> list[Rehearsal]:
    async def one(name: str) -> Rehearsal:
        async def on(scratch: Store) -> CycleReport:
            with watch(name) as progress:
                return await _run_cycle(runtime, name, progress=progress, store=scratch, **options)

        return await rehearse(runtime.store, connections.find(runtime.store, name).id, on)

    try:
        return [await one(connection.name) for connection in runtime.settings.select(names)]
    finally:
        await runtime.close()


async def _run_cycle(runtime: Runtime, name: str, **options: Any) -> CycleReport:
    """A cycle that could not even start, for want of a secret, say, is reported like one that failed."""
    try:
        async with runtime.cycle(name, **options) as cycle:
            return await cycle.run()
    except ConnectorError as error:
        now = runtime.clock.now()
        return CycleReport(connection=name, started_at=now, finished_at=now, outcome=classify(error), error=error)


def _exit_code(reports: Sequence[CycleReport], deliveries: Sequence[DeliveryReport]) -> int:
    """The common code of what went wrong, or "partly failed" when it is of several kinds."""
    codes = [report.exit_code for report in reports]
    codes += [ExitCode.DONE if _complete(delivery) else ExitCode.UNAVAILABLE for delivery in deliveries]
    wrong = {code for code in codes if code != ExitCode.DONE}
    if not wrong:
        return ExitCode.DONE
    cycles_failed = [report for report in reports if report.exit_code != ExitCode.DONE]
    if len(wrong) == 1 and len(cycles_failed) in {0, len(reports)}:
        return wrong.pop()
    return ExitCode.PARTLY_FAILED


def _complete(delivery: DeliveryReport) -> bool:
    return delivery.ended == "drained" and not delivery.postponed and not delivery.dead


def _show(reports: Sequence[CycleReport], deliveries: Sequence[DeliveryReport], *, json: bool) -> None:
    if json:
        print_json(
            {
                "connections": [_as_json(report) for report in reports],
                "deliveries": [vars(delivery) for delivery in deliveries],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for column in (
        "connection",
        "outcome",
        "pages",
        "rows",
        "new",
        "changed",
        "removed",
        "open in our books",
        "ledger",
    ):
        table.add_column(column, justify="left" if column in {"connection", "outcome"} else "right")
    for report in reports:
        total = report.closing.freshness.control_total if report.closing else None
        table.add_row(
            report.connection,
            report.outcome,
            str(sum(feed.pages for feed in report.feeds)),
            str(sum(feed.rows for feed in report.feeds)),
            str(report.tally.created),
            str(report.tally.changed),
            str(report.tally.removed),
            f"{total.ours} {total.currency}" if total else "-",
            f"{total.ledger} {total.currency}" if total and total.ledger is not None else "-",
        )
    out.print(table)
    for report in reports:
        for reason in report.closing.blocking if report.closing else ():
            err.print(f"{report.connection}: {reason}")
        if isinstance(report.error, ConnectorError):
            explain(report.error)
    for delivery in deliveries:
        out.print(f"{delivery.destination}: {delivery.delivered} events delivered")
        if not _complete(delivery):
            err.print(
                f"{delivery.destination}: delivery ended as {delivery.ended}, {delivery.reason}. "
                "Nothing is lost: `connector run` or the next `connector sync` sends the rest"
            )


def _show_rehearsals(rehearsals: Sequence[Rehearsal], *, json: bool) -> None:
    if json:
        print_json(
            [
                {
                    **_as_json(one.report),
                    "events": one.events,
                    "largest_differences": [vars(each) for each in one.largest],
                }
                for one in rehearsals
            ]
        )
        return
    for one in rehearsals:
        out.print(f"{one.report.connection}: {one.report.outcome}; nothing was stored or sent. It would send:")
        for kind, count in sorted(one.events.items()):
            out.print(f"  {count:>7}  {kind}")
        for each in one.largest:
            out.print(
                f"  invoice {each.number or each.external_id}: open {each.before} -> {each.after} {each.currency}"
            )
        if isinstance(one.report.error, ConnectorError):
            explain(one.report.error)


def _as_json(report: CycleReport) -> dict[str, Any]:
    return {
        "connection": report.connection,
        "outcome": report.outcome,
        "error": None if report.error is None else str(report.error),
        "feeds": [vars(feed) for feed in report.feeds],
        "created": report.tally.created,
        "changed": report.tally.changed,
        "removed": report.tally.removed,
        "unchanged": report.tally.unchanged,
        "freshness": report.closing.freshness if report.closing else None,
    }
