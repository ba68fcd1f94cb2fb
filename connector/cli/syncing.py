"""`sync` and `run`: once on demand, or for as long as the machine runs."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from connector import daemon
from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NamesArgument,
    common_code,
    errors_explained,
    open_runtime,
    set_up_logging,
)
from connector.cli.progress import watch
from connector.cli.summary import show, show_rehearsals
from connector.delivery import Deliverer, DeliveryReport
from connector.errors import ConnectorError, ExitCode
from connector.outcome import CycleReport, classify
from connector.rehearsal import Rehearsal, rehearse
from connector.runtime import Runtime
from connector.secrets import forbid_core_dumps
from connector.store import connections
from connector.store import destinations as health
from connector.store.engine import Store

DELIVERED = {"drained", "busy", "stopped"}
"""How a delivery ends when nothing is wrong; `busy`: the daemon is at it, `stopped`: we were asked to."""


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
            show_rehearsals(rehearsals, json=json)
            raise typer.Exit(_exit_code([rehearsal.report for rehearsal in rehearsals], []))
        reports, deliveries = asyncio.run(_sync(runtime, names or [], options, deliver=not no_deliver))
        show(reports, deliveries, json=json)
        raise typer.Exit(_exit_code(reports, deliveries))


def run(config_path: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run as a daemon: sync when due, deliver, serve health."""
    set_up_logging(verbose=True)
    forbid_core_dumps()

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


class _Sending:
    """Delivers to one destination whenever a cycle has written events, and once more at the end."""

    def __init__(self, deliverer: Deliverer, name: str, stop: asyncio.Event) -> None:
        self.total = DeliveryReport(destination=name)
        self._deliverer = deliverer
        self._stop = stop
        self._more = asyncio.Event()
        self._last = False
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        self._more.set()

    async def finish(self) -> DeliveryReport:
        self._last = True
        self._more.set()
        await self._task
        return self.total

    async def _run(self) -> None:
        done = False
        while not done:
            await self._more.wait()
            self._more.clear()
            done = self._last
            await self._deliver()

    async def _deliver(self) -> None:
        total = self.total
        try:
            report = await self._deliverer.deliver_once(total.destination, self._stop)
        except ConnectorError as error:
            total.ended, total.reason = "failing", str(error)
            return
        if report.ended != "waiting" or total.ended == "drained":  # what made it wait was said before
            total.ended, total.reason = report.ended, report.reason
        total.requests += report.requests
        total.delivered += report.delivered
        total.postponed += report.postponed
        total.dead += report.dead


async def _sync(
    runtime: Runtime, names: Sequence[str], options: dict[str, bool], *, deliver: bool
) -> tuple[list[CycleReport], list[DeliveryReport]]:
    selected = runtime.settings.select(names)
    used = sorted({connection.destination for connection in selected}) if deliver else []
    slots = asyncio.Semaphore(runtime.settings.daemon.concurrency)
    stop = asyncio.Event()
    destinations = {name: runtime.destination(name) for name in used}
    deliverer = runtime.deliverer(destinations)
    for name in used:
        health.retry_now(runtime.store, name)  # a person asks: do not wait for the schedule
    sending = {name: _Sending(deliverer, name, stop) for name in used}

    async def one(name: str, destination: str) -> CycleReport:
        async with slots:
            with watch(name) as progress:
                if deliver:
                    progress.events = sending[destination].wake
                return await _run_cycle(runtime, name, stop=stop, progress=progress, **options)

    try:
        with daemon.stopping_on_signals(stop):
            reports = await asyncio.gather(*(one(each.name, each.destination) for each in selected))
            return list(reports), [await each.finish() for each in sending.values()]
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
    """The common code of what went wrong; "partly failed" also when some connections went well."""
    cycles = [report.exit_code for report in reports]
    went_well = [
        delivery.ended in DELIVERED and not delivery.postponed and not delivery.dead for delivery in deliveries
    ]
    code = common_code([*cycles, *(ExitCode.DONE if well else ExitCode.UNAVAILABLE for well in went_well)])
    some = any(cycles) and not all(cycles)
    return ExitCode.PARTLY_FAILED if some else code
