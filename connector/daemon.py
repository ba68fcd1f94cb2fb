"""`connector run`: cycles when due, delivery and care all the time, health and callbacks over HTTP."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import structlog

from connector.activation import Activations
from connector.adapter import Identity
from connector.care import Care
from connector.cycle import Progress
from connector.dispatch import InProcessDispatcher
from connector.errors import ConfigurationError, ConnectorError
from connector.outcome import CycleReport
from connector.runtime import Runtime
from connector.store import backlog
from connector.web.admin import Controls
from connector.web.app import create_app
from connector.web.guard import refuse_exposure
from connector.web.server import serve

DRAIN_S = 20.0
"""From the request to stop until what is under way is cut short; supervisors kill after 25 or 30 seconds."""
KEPT = timedelta(days=30)
"""How long delivered events are remembered, for `connector replay`."""
TIDY_EVERY_S = 3600.0

log = structlog.get_logger()


async def run(runtime: Runtime, stop: asyncio.Event, started: Callable[[str], None] = lambda _: None) -> None:
    """Work until `stop`, then end what is under way within 25 seconds. `started` hears our address.

    Raises:
        ConfigurationError: another daemon works on the same SQLite file, the address is taken, or it may not be
            listened on.
    """
    settings = runtime.settings
    refuse_exposure(settings.daemon, runtime.store, runtime.clock.now())
    for file in runtime.readable_by_others():
        log.warning("file.readable_by_others", path=str(file), fix=f"chmod 600 {file}")
    destinations = runtime.destinations()
    deliverer = runtime.deliverer(destinations)

    def wake(destination: str) -> None:
        if destination in destinations:
            deliverer.wake(destination)

    async def cycle(name: str, stopping: asyncio.Event) -> CycleReport:
        progress = Progress(events=lambda: wake(settings.connections[name].destination))
        async with runtime.cycle(name, stop=stopping, progress=progress) as prepared:
            return await prepared.run()

    dispatcher = InProcessDispatcher(
        runtime.store,
        settings.connections,
        cycle,
        clock=runtime.clock,
        concurrency=settings.daemon.concurrency,
    )

    care = Care(runtime, lambda name: wake(settings.connections[name].destination))

    async def linked(name: str, _: Identity) -> None:
        wake(settings.connections[name].destination)
        dispatcher.submit(name, reason="linked")

    activations = Activations(runtime, linked, lambda name: wake(settings.connections[name].destination))
    controls = Controls(
        health=dispatcher.health, sync=lambda name: dispatcher.submit(name, reason="an operator asked"), wake=wake
    )

    host, port = settings.daemon.address
    try:
        with exclusive(runtime):
            app = create_app(runtime, controls, linked, activations.came)
            async with serve(app, host, port) as url:
                log.info("daemon.started", url=url, connections=len(settings.connections))
                started(url)
                try:
                    async with _drain_limit(stop), asyncio.TaskGroup() as work:
                        work.create_task(dispatcher.run(stop))
                        work.create_task(deliverer.run(stop))
                        work.create_task(care.run(stop))
                        work.create_task(activations.run(stop))
                        work.create_task(_tidy(runtime, stop))
                except TimeoutError:
                    log.warning("daemon.drain_cut_short", seconds=DRAIN_S)
        log.info("daemon.stopped")
    finally:
        for destination in destinations.values():
            await destination.close()


async def _tidy(runtime: Runtime, stop: asyncio.Event) -> None:
    """Once an hour, forget what was delivered long ago."""
    while not stop.is_set():
        try:
            count = await asyncio.to_thread(backlog.prune, runtime.store, runtime.clock.now() - KEPT)
        except ConnectorError as error:
            log.warning("tidy.failed", error=str(error))
        else:
            if count:
                log.info("tidy.finished", events=count)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TIDY_EVERY_S)


@contextlib.asynccontextmanager
async def _drain_limit(stop: asyncio.Event) -> AsyncIterator[None]:
    """From the moment we are asked to stop, what is under way has so long; then it is cancelled."""
    async with asyncio.timeout(None) as limit:

        async def start() -> None:
            await stop.wait()
            limit.reschedule(asyncio.get_running_loop().time() + DRAIN_S)

        starter = asyncio.create_task(start())
        try:
            yield
        finally:
            starter.cancel()


@contextlib.contextmanager
def stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks politely, the second ends the process at once."""
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("daemon.stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def exclusive(runtime: Runtime) -> Iterator[None]:
    """One daemon per SQLite file; PostgreSQL is shared through leases.

    Raises:
        ConfigurationError: another daemon has it.
    """
    if not runtime.store.is_sqlite:
        yield
        return
    path = Path(f"{runtime.store.engine.url.database}.lock")
    try:
        file = path.open("w")
    except OSError as error:
        raise ConfigurationError(
            f"the lock file cannot be written ({error.strerror})",
            where=str(path),
            fix="let the user that runs the program write into the folder of the database",
        ) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                "another daemon works on this database",
                where=str(path),
                fix="stop the other one, or use PostgreSQL to run several",
            ) from error
        yield
