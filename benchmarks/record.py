"""Record what the simulator answers to the program in each phase: once per size and seed."""

import asyncio
import gc
import tempfile
from collections.abc import MutableMapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.simulation import BookkeepingError, Books, generate
from benchmarks import recording, subject
from benchmarks.phases import BEGIN, LINK, PHASES, Phase
from benchmarks.recording import Answer, Contents, Summary
from benchmarks.wires import Wire
from connector.clock import SystemClock
from connector.web.server import serve
from tests.stories.packages import EXACTONLINE

ACTS = ("pay", "pay_partly", "invoice", "credit_note", "write_off", "unmatch", "edit_due_date", "change_email")


class FrozenClock(SystemClock):
    """Stands at the beginning of a phase; the books move on by themselves."""

    moment = BEGIN

    def now(self) -> datetime:
        return self.moment


class Recorder:
    """An ASGI application that keeps the answers of another one."""

    def __init__(self, app: ASGIApp, wire: Wire) -> None:
        self._app = app
        self._wire = wire
        self.answers: list[Answer] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[str, str] = {}
        body = bytearray()

        async def keep(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers.update((name.decode(), value.decode()) for name, value in message["headers"])
            else:
                body.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, keep)
        if scope["method"] == "GET" and scope["path"].startswith(self._wire.api):
            headers.pop("content-length")
            target = f"{scope['raw_path'].decode()}?{scope['query_string'].decode()}"
            self.answers.append(Answer(target, bytes(body), headers, len(self._wire.items(bytes(body)))))

    def save(self, folder: Path, phase: Phase, origin: str) -> Summary:
        """Write down what came since the last time."""
        recorded = recording.Phase(origin, self.answers)
        recording.save(folder, phase.name, recorded)
        print(f"  {phase.title}: {len(self.answers)} calls", flush=True)
        self.answers = []
        return recording.summarise(recorded, self._wire)


async def record(folder: Path, wire: Wire, *, customers: int, invoices: int, seed: int) -> None:
    """Fill the folder: one file per phase, then the table of contents."""
    today = BEGIN.astimezone(ZoneInfo("Europe/Amsterdam")).date()
    books = generate(seed=seed, customers=customers, invoices=invoices, today=today, **wire.package.books)
    clock = FrozenClock()
    simulator = wire.package.create(books, clock, {})
    access = wire.package.access(simulator)
    simulator.world.catch_up()  # at this size the first request would wait longer for it than the program does
    balance = simulator.truth()["receivable_balance"]
    gc.freeze()
    recorder = Recorder(simulator.app, wire)
    with tempfile.TemporaryDirectory() as place:
        async with serve(recorder) as origin:
            subject.configure(
                Path(place),
                store=f"sqlite:///{place}/connector.db",
                package=wire.package,
                origin=origin,
                receiver="http://127.0.0.1:9",
                access=access,
            )
            async with subject.opened(Path(place), clock) as program:
                await program.link()
                phases = {LINK.name: recorder.save(folder, LINK, origin)}
                for phase in PHASES:
                    clock.moment = BEGIN + phase.after
                    keep_books(books, phase, simulator.bookkeeper.perform, seed)
                    await program.cycle(deliver=False, full=phase.full)
                    phases[phase.name] = recorder.save(folder, phase, origin)
    if simulator.violations:
        raise SystemExit(f"the simulator objects: {simulator.violations}")
    recording.finish(folder, Contents(access.administration, balance, phases, access.pasted))


def keep_books(books: Books, phase: Phase, perform: Any, seed: int) -> None:
    """Let bookkeeping touch a share of the items."""
    rng = Random(seed)
    acts = int(len(books.truth()["items"]) * phase.changed) if phase.changed else 0
    while acts:
        try:
            perform(rng.choice(ACTS))
        except BookkeepingError:
            continue
        acts -= 1


def recorded(folder: Path, wire: Wire, *, customers: int, invoices: int, seed: int) -> Path:
    """The folder with the recording of this size, made now where it is missing."""
    named = "" if wire.package is EXACTONLINE else f"{wire.package.name}-"
    place = folder / f"{named}{customers}-{invoices}-{seed}"
    if recording.contents(place) is None:
        print(f"recording {customers} customers, {invoices} invoices (once) ...", flush=True)
        asyncio.run(record(place, wire, customers=customers, invoices=invoices, seed=seed))
    return place
