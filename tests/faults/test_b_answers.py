"""Group B of the fault catalogue: statuses, links and limits, against a whole cycle of the Exact Online adapter.

B15 and B16 are about Twinfield's XML, which the program does not speak yet.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest

from connector import adapter
from connector.errors import AuthRevoked, ExitCode, NeedsReconnect, Throttled
from connector.outcome import CycleReport
from connector.runtime import Runtime
from tests.faults.world import ACCOUNTS, LINES, OPEN, FaultyTown, FaultyWorld, assert_waits, failed
from tests.servers import serve_raw
from tests.stories.world import HOUR, NAME


def unattended(world: FaultyWorld, runtime: Runtime | None = None) -> CycleReport:
    """A cycle for which nobody waits, so that the reserve of calls is left alone."""

    async def run() -> CycleReport:
        async with (runtime or world.runtime).cycle(NAME, rng=random.Random(1)) as cycle:
            return await cycle.run()

    return world.town.run(run())


class Listener:
    """A server that must never hear from us."""

    def __init__(self, town: FaultyTown) -> None:
        self._stack = contextlib.AsyncExitStack()
        self._town = town
        self.heard: list[str] = []
        self.url = town.run(self._stack.enter_async_context(serve_raw(self._listen)))

    async def _listen(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append("a request")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def close(self) -> None:
        self._town.run(self._stack.aclose())


@pytest.fixture
def elsewhere(town: FaultyTown) -> Iterator[Listener]:
    listener = Listener(town)
    yield listener
    listener.close()


# --- B1 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["seconds", "date", None])
def test_b1_a_429_pauses_every_worker_of_the_pair_and_nobody_else(both: FaultyWorld, wait: str | None) -> None:
    world, clock = both, both.clock
    date = format_datetime(clock.now() + timedelta(seconds=120), usegmt=True)
    headers = {"Retry-After": "120" if wait == "seconds" else date} if wait else {}
    world.simulator.faults.add(LINES, "status", status=429, headers=headers)
    report = unattended(world)
    assert (report.outcome, report.exit_code) == ("throttled", ExitCode.UNAVAILABLE)
    assert isinstance(report.error, Throttled)
    until, wanted = report.error.until, timedelta(seconds=120 if wait else 60)
    assert wanted <= until - clock.now() <= wanted + timedelta(seconds=3)
    assert "opens again at" in str(report.error)

    world.mark()
    other = msgspec.structs.replace(world.settings.connections[NAME], name="other", administration="999")
    connections = world.settings.connections | {"other": other}
    settings = msgspec.structs.replace(world.settings, connections=connections)
    colleague = Runtime.open(settings, adapter.packages(), clock)
    with pytest.raises(NeedsReconnect):  # only its missing sign-in stops it: the budget has let it pass at once
        world.town.run(identify(colleague, "other"))
    assert clock.now() < until
    unattended(world, colleague)
    early = [one.path for one in list(world.simulator.requests)[world.began :] if one.at < until.isoformat()]
    assert early == [], "a second worker asked all the same"
    world.town.run(colleague.close())
    world.recover()


async def identify(runtime: Runtime, name: str) -> None:
    async with runtime.adapter(name) as package:
        await package.identify()


# --- B2 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "calls"),
    [("status", 500, 1), ("status", 502, 3), ("status", 504, 3), ("html", 200, 1)],
)
def test_b2_a_server_error_keeps_everything(read: FaultyWorld, kind: str, status: int, calls: int) -> None:
    read.simulator.bookkeeper.perform("invoice")
    kept, cursors = read.kept(), read.cursors()
    read.simulator.faults.add(LINES, kind, status=status, times=None)
    assert_waits(read.cycle(), "HTML" if kind == "html" else str(status), LINES)
    assert read.asked(LINES) == calls
    assert read.set_aside() == {}
    assert read.cursors()["lines"] == cursors["lines"]
    assert set(kept["row"]) <= set(read.kept()["row"])
    assert kept["invoice"] == read.kept()["invoice"]


def test_b2_a_package_that_is_away_is_asked_less_and_less_often(read: FaultyWorld) -> None:
    read.simulator.faults.add("/api/v1/", "status", status=503, times=None)
    waits = []
    for _ in range(6):
        assert_waits(read.cycle(), "not available (HTTP 503)")
        due = read.linked.next_due_at
        assert due is not None
        waits.append(round((due - read.clock.now()) / timedelta(minutes=1)))
    assert waits == [pytest.approx(wait, rel=0.1) for wait in (1, 2, 5, 15, 30, 60)]
    assert read.asked() == 18


# --- B8, B9 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_b8_a_redirect_is_not_followed(read: FaultyWorld, elsewhere: Listener, status: int) -> None:
    cursor = read.cursors()["lines"]
    read.simulator.faults.add(LINES, "redirect", status=status, location=f"{elsewhere.url}/api", times=None)
    assert_waits(read.cycle(), "redirected", "not followed", LINES)
    assert elsewhere.heard == []
    assert read.cursors()["lines"] == cursor


def test_b8_a_redirect_to_the_sign_in_page_is_a_matter_for_a_person(read: FaultyWorld) -> None:
    location = f"{read.town.package_url}/docs/Login.aspx?ReturnUrl=x"
    read.simulator.faults.add(LINES, "redirect", location=location, times=None)
    report = read.cycle()
    assert (report.outcome, report.exit_code) == ("needs_reconnect", ExitCode.RECONNECT)
    assert "sign in to the package again" in str(report.error)
    assert read.asked("Login.aspx") == 0


@pytest.mark.parametrize(
    "link",
    [
        "{elsewhere}/api/v1/{division}/sync/x",
        "http://{host}@evil.invalid/api/v1/{division}/sync/x",
        "http://user@{host}/api/v1/{division}/sync/x",
        "https://{host}/api/v1/{division}/sync/x",
        "http://{host}/api/v1/1{division}/sync/x",
        "http://{host}/api/v1/{division}/../999/sync/x",
        "http://{host}/api/v1/{division}/%2e%2e/999/sync/x",
        "//evil.invalid/api/v1/{division}/sync/x",
    ],
)
def test_b9_a_next_link_that_leads_away_is_not_followed(read: FaultyWorld, elsewhere: Listener, link: str) -> None:
    read.simulator.bookkeeper.perform("invoice")
    cursor, division = read.cursors()["lines"], read.simulator.division
    host = read.town.package_url.removeprefix("http://")
    location = link.format(elsewhere=elsewhere.url, host=host, division=division)
    read.simulator.faults.add(LINES, "foreign_next", location=location, times=None)
    report = read.cycle()
    assert (report.outcome, report.exit_code) == ("partial", ExitCode.PARTLY_FAILED)
    ((name, reason),) = failed(report).items()
    assert (name, read.cursors()[name]) == ("lines", cursor)
    assert "was not requested" in reason
    assert "cannot be trusted" in reason
    assert read.linked.reason == reason, "which is what `connector status` shows"
    assert elsewhere.heard == []
    assert read.asked(LINES) == 1
    assert read.asked() == read.asked(f"/api/v1/{division}/") + read.asked("current/Me")


# --- B10, B11, B12 ---------------------------------------------------------------------------------------------------


def test_b10_one_401_is_met_with_a_newer_token(world: FaultyWorld) -> None:
    world.clock.advance(545)
    world.mark()
    world.simulator.faults.add(LINES, "status", status=401)
    world.settle()
    assert (world.asked(LINES), world.asked("oauth2/token")) == (2, 1)


def test_b10_a_401_just_after_a_grant_waits_until_the_package_allows_another(world: FaultyWorld) -> None:
    world.mark()
    world.simulator.faults.add(LINES, "status", status=401)
    report = world.cycle()
    assert (report.outcome, world.asked(LINES), world.asked("oauth2/token")) == ("throttled", 1, 0)
    assert "no new access token before" in str(report.error)
    world.recover()


def test_b10_a_401_for_ever_is_three_requests(world: FaultyWorld) -> None:
    world.clock.advance(545)
    world.mark()
    world.simulator.faults.add(LINES, "status", status=401, times=None)
    report = world.cycle()
    assert (report.outcome, report.exit_code) == ("needs_reconnect", ExitCode.RECONNECT)
    assert isinstance(report.error, AuthRevoked)
    assert "sign in to the package again" in str(report.error)
    assert (world.asked(LINES), world.asked("oauth2/token")) == (2, 1)
    due = world.linked.next_due_at
    assert due is not None
    assert due - world.clock.now() > timedelta(hours=20)
    world.clock.advance(86_400)
    cursors, asked = world.cursors(), len(world.simulator.requests)
    assert world.cycle().outcome == "needs_reconnect"
    assert len(world.simulator.requests) == asked, "nobody is asked until somebody signs in"
    world.simulator.faults.clear()
    assert world.reconnect()
    assert world.cursors() == cursors
    world.recover()


@pytest.mark.parametrize("path", [LINES, ACCOUNTS, OPEN, "sync/Deleted", "crm/BankAccounts"])
def test_b11_a_403_on_one_endpoint_pauses_one_feed(read: FaultyWorld, path: str) -> None:
    read.clock.advance(HOUR + 1)
    done = read.simulator.bookkeeper.perform("invoice")
    read.simulator.faults.add(path, "status", status=403, times=None)
    removed = read.removed()
    report = read.cycle()
    assert (report.outcome, report.exit_code) == ("partial", ExitCode.PARTLY_FAILED)
    ((name, reason),) = failed(report).items()
    assert re.search(rf"denies access.*{path}.*give the user the right", reason)
    assert read.states()[name].reason == reason
    assert len(report.feeds) > 5
    assert report.closing is not None
    assert report.closing.freshness.dunning_safe_as_of is None
    assert any(name in reason for reason in report.closing.blocking)
    read.clock.advance(900)
    read.cycle()
    assert read.asked(path) == 1, "a right does not come back by asking"
    assert read.removed() == removed
    read.recover()
    assert done.ids[0] in read.mirror()["invoices"]


@pytest.mark.parametrize(("match", "outcome"), [("system/Divisions", "stopped"), ("ReportingBalance", "stopped")])
def test_b12_a_poisonous_request_never_blocks_the_key(read: FaultyWorld, match: str, outcome: str) -> None:
    """A person in despair tries again and again; the package blocks the key at ten errors within an hour."""
    read.clock.advance(HOUR)
    read.simulator.faults.add(match, "status", status=400, times=None, text="Bad Request - Error in query syntax.")
    for _ in range(8):
        report = read.cycle()
        assert (report.outcome, report.exit_code) == (outcome, ExitCode.PARTLY_FAILED)
        read.clock.advance(300)
    assert read.simulator.violations == {"errors_in_budget": 5}
    assert re.search(rf"refused within an hour.*until .*{match}", str(report.error))


def test_b12_a_poisonous_look_up_does_not_stop_the_feeds(world: FaultyWorld) -> None:
    world.simulator.faults.add("bulk/CRM/Accounts", "status", status=400, times=None)
    world.settle()
    assert world.asked("bulk/CRM/Accounts") == 1


# --- B13 -------------------------------------------------------------------------------------------------------------


def test_b13_a_full_day_waits_for_the_reset_and_a_person_still_gets_through(read: FaultyWorld) -> None:
    clock = read.clock
    clock.advance((23 - clock.now().hour) * HOUR)
    read.mark()
    read.simulator.settings.day_limit = 60
    for _ in range(8):
        report = unattended(read)
        if report.outcome == "throttled":
            break
        clock.advance(61)
    assert isinstance(report.error, Throttled)
    assert report.exit_code == ExitCode.UNAVAILABLE
    assert report.error.until.time() == datetime.min.time()
    assert f"opens again at {report.error.until:%Y-%m-%d} 00:00:00 UTC" in read.linked.reason
    read.mark()
    assert unattended(read).outcome == "throttled"
    assert read.asked() == 0

    clock.advance(900)
    assert read.cycle().outcome == "throttled", "a person has the reserve, and no more"
    assert read.asked() > 0
    assert read.asked("oauth2/token") == 1
    assert read.simulator.violations == {}
    read.simulator.settings.day_limit = 10**6
