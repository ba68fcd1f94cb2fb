"""Bad days, as the person at the keyboard and the operator of a daemon meet them.

A database that is full, newer or garbage is in `test_e_storage.py` and `tests/stories/test_cli_mistakes.py`, what the
receiver's single answers mean in `tests/connector/test_judgement.py` and `test_delivery*.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from connector import mirror
from connector.errors import ExitCode, StoreUnavailable
from connector.receiver import Fault
from connector.store import destinations
from connector.store.tables import Base
from tests.desk import Desk, Servers
from tests.faults.world import LINES, FaultyWorld
from tests.stories.conftest import around, desk, door  # noqa: F401 - fixtures
from tests.stories.world import DESTINATION, HOUR

EVENTS = Base.metadata.tables["outbox"]


@dataclass(frozen=True)
class Answer:
    kind: str
    code: int
    words: str
    advice: str
    params: dict[str, Any] = field(default_factory=dict)


LATER, REPORT = "tries again by itself", "report it"


@pytest.mark.parametrize(
    "answer",
    [
        Answer("html", ExitCode.UNAVAILABLE, "an HTML page came instead of data", LATER, {"status": 200}),
        Answer("truncate", ExitCode.UNAVAILABLE, "not usable JSON", LATER),
        Answer("huge", ExitCode.PARTLY_FAILED, "larger than 32768 kB", REPORT, {"size": 1024**3}),
        Answer("wrong_division_rows", ExitCode.PARTLY_FAILED, "an item of division 999999", REPORT),
        Answer("redirect", ExitCode.UNAVAILABLE, "not followed", LATER, {"location": "http://127.0.0.1:9/api"}),
        Answer(
            "redirect", ExitCode.RECONNECT, "sign-in page", "connector connect acme", {"location": "/docs/Login.aspx"}
        ),
        Answer("foreign_next", ExitCode.PARTLY_FAILED, "leads to another origin, https://elsewhere.example", REPORT),
    ],
    ids=lambda answer: f"{answer.kind}-{answer.code}",
)
def test_what_a_package_may_answer(desk: Desk, around: Servers, answer: Answer) -> None:  # noqa: F811 - the fixtures
    """What, where and what to do; an exit code of its own; and as soon as the day is over, everything is there."""
    desk.linked()
    around.fault(LINES, answer.kind, times=None, **answer.params)
    done = desk.run("sync")
    told = done.out + done.err
    assert done.code == answer.code, told
    assert [word for word in (answer.words, answer.advice, "acme", LINES) if word not in told] == [], told
    status = desk.run("status", "--json").json()["connections"][0]
    assert answer.words in status["reason"]
    around.simulator.faults.clear()
    with desk.database() as store, store.write() as connection:
        connection.execute(sa.update(Base.metadata.tables["feed"]).values(attempted_at=None))
    assert desk.run("sync").code == 0
    assert mirror.differences(around.mirror(), around.truth) == []


@pytest.fixture
def unwritable(both: FaultyWorld) -> Iterator[FaultyWorld]:
    """A world that has been read, and then its database takes no more writes; `recover` after `mend`."""
    both.settle()
    both.simulator.bookkeeper.perform("invoice")
    engine = both.store.engine

    def refuse(connection: Any, *_: Any) -> None:
        if both.store.is_sqlite:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("SET default_transaction_read_only = on")
            connection.commit()

    sa.event.listen(engine, "checkout", refuse)
    engine.dispose()
    yield both
    sa.event.remove(engine, "checkout", refuse)
    engine.dispose()
    both.recover()


def test_a_database_that_became_read_only(unwritable: FaultyWorld) -> None:
    """A file system mounted read-only after an error, a PostgreSQL that became the standby."""
    unwritable.mark()
    report = unwritable.cycle()
    assert (report.outcome, report.exit_code) == ("unavailable", ExitCode.UNAVAILABLE)
    assert isinstance(report.error, StoreUnavailable)
    told = str(report.error)
    assert "the database cannot be used" in told
    assert "read-only" in told.replace("readonly", "read-only")
    assert unwritable.store.location in told
    assert ("permissions" if unwritable.store.is_sqlite else "is a standby") in told
    assert unwritable.asked() == unwritable.asked("oauth2/token") == 0, "nothing is fetched that cannot be kept"


# --- the backend -----------------------------------------------------------------------------------------------------


def book(world: FaultyWorld) -> None:
    """Some work, and what becomes of it here."""
    for act in ("invoice", "pay_partly", "rename_customer"):
        world.simulator.bookkeeper.perform(act)
    assert world.cycle().outcome == "ok"


def test_a_backend_that_is_down_for_days(read: FaultyWorld) -> None:
    read.receiver.faults.append(Fault(times=None, status=503))
    told = len(read.receiver.history)
    for hour in range(3 * 24):
        if hour % 24 == 0:
            book(read)
        assert read.deliver().ended in {"failing", "waiting"}
        read.clock.advance(HOUR)
    assert len(read.receiver.history) - told <= 3 * 24, "probes, not storms"
    health = state(read)
    assert (health.paused, health.failures > 3, "503" in health.reason) == (False, True, True)
    assert waiting(read) > 10
    read.receiver.faults.clear()
    read.clock.advance(25 * HOUR)
    assert read.deliver().ended == "drained"
    assert read.differences() == []
    assert waiting(read) == 0


@pytest.mark.parametrize("status", [404, 410])
def test_a_backend_that_is_gone_is_paused_and_keeps_everything(read: FaultyWorld, status: int) -> None:
    read.receiver.faults.append(Fault(times=None, status=status))
    told = len(read.receiver.history)
    for _ in range(3):
        book(read)
        read.deliver()
    assert len(read.receiver.history) - told == 1, "nothing is sent to who is gone"
    health = state(read)
    assert (health.paused, str(status) in health.reason) == (True, True)
    assert waiting(read) > 10
    read.receiver.faults.clear()
    assert read.deliver().ended == "paused", "only a person knows that it is back"
    destinations.resume(read.store, DESTINATION)
    assert read.deliver().ended == "drained"
    assert read.differences() == []


def test_a_backend_that_refuses_everything_costs_no_more_than_the_first_event_of_each_customer(
    read: FaultyWorld,
) -> None:
    for _ in range(25):
        read.simulator.bookkeeper.perform("invoice")
    read.cycle()
    read.receiver.faults.append(Fault(times=None, status=400))
    dead = 0
    for _ in range(24):
        dead += read.deliver().dead
        read.clock.advance(HOUR)
    assert 0 < dead <= len(read.mirror()["customers"]) + 1
    assert waiting(read) > 25
    read.receiver.faults.clear()
    read.tend()
    read.deliver()
    assert read.differences() == []
    assert waiting(read) == 0


def state(world: FaultyWorld) -> destinations.Health:
    with world.store.read() as connection:
        return destinations.health(connection, DESTINATION)


def waiting(world: FaultyWorld) -> int:
    """Events that are neither delivered nor replaced by newer ones."""
    over = EVENTS.c.state.in_(("delivered", "superseded"))
    with world.store.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(EVENTS).where(~over)).scalar_one()
