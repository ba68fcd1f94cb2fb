"""Group D of the fault catalogue where a person signs in: revoked, as another company, and answers nobody asked for."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from connector import linking
from connector.errors import PermissionLost
from connector.linking import HERE, AlreadyLinked
from connector.runtime import CALLBACK_PATH
from connector.secrets import Secret
from connector.store import connections
from connector.store.tokens import NEEDS_REAUTH, StoredToken
from tests.desk import answered
from tests.faults.browser import Browser, invite
from tests.faults.world import TABLES, FaultyWorld
from tests.stories.world import NAME

ANOTHER_DIVISION = 424242
SIGNED_IN = "ar.connection.linked.v1"


def stored(world: FaultyWorld) -> StoredToken:
    token = world.runtime.token_store.get(world.linked.id)
    assert token is not None
    return token


def everything(world: FaultyWorld) -> dict[str, list[Any]]:
    """All rows of all tables but those of the call budget and of begun sign-ins."""
    with world.store.read() as connection:
        return {
            name: sorted(connection.execute(sa.select(table)).all(), key=repr)
            for name, table in TABLES.items()
            if name not in {"call_budget", "authorization_request"}
        }


def events(world: FaultyWorld, kind: str) -> int:
    table = TABLES["outbox"]
    with world.store.read() as connection:
        return connection.execute(sa.select(sa.func.count()).where(table.c.type == kind)).scalar_one()


# --- D10: revoked ----------------------------------------------------------------------------------------------------


def test_d10_a_revoked_access_is_one_clear_state_and_a_new_sign_in_resumes(read: FaultyWorld) -> None:
    world = read
    kept, cursors, linked_before = world.kept(), world.cursors(), events(world, SIGNED_IN)
    world.simulator.office.revoke()
    world.clock.advance(700)
    assert world.cycle().outcome == "needs_reconnect"
    assert stored(world).status == NEEDS_REAUTH
    for _ in range(3):
        world.clock.advance(3600)
        assert world.cycle().outcome == "needs_reconnect"
    assert (world.kept(), world.cursors()) == (kept, cursors), "nothing is forgotten"

    browser = Browser(world)
    page = browser.sign_in(invite(world))
    assert "is linked" in page.text
    assert browser.linked == [NAME]
    assert world.linked.next_due_at == world.clock.now()
    assert events(world, SIGNED_IN) == linked_before + 1

    world.book("pay")
    world.mark()
    report = world.cycle()
    assert (report.outcome, report.error) == ("ok", None)
    lines = next(feed for feed in report.feeds if feed.name == "lines")
    assert 0 < lines.rows < 20, "only what is new is read"
    world.deliver()
    assert world.differences() == []


def test_d10_the_others_go_on(read: FaultyWorld) -> None:
    """A connection that waits for a person is not in the way of one that is due."""
    world = read
    now = world.clock.now()
    connections.register(
        world.store, name="other", package="exactonline", administration="7", destination="backend", now=now
    )
    other = connections.find(world.store, "other")
    with world.store.write() as connection:
        connections.linked(connection, other.id, now)
    world.simulator.office.revoke()
    world.clock.advance(700)
    assert world.cycle().outcome == "needs_reconnect"
    assert connections.due(world.store, [NAME, "other"], world.clock.now(), 10) == ["other"]
    with world.store.write() as connection:
        connection.execute(sa.delete(TABLES["connection"]).where(TABLES["connection"].c.id == other.id))
    Browser(world).sign_in(invite(world))


# --- D11: another company --------------------------------------------------------------------------------------------


@pytest.fixture
def two_divisions(read: FaultyWorld) -> FaultyWorld:
    """The user has another division besides. The simulator knows one user, whose older sign-in may be used on."""
    read.simulator.settings.other_divisions = (ANOTHER_DIVISION,)
    read.simulator.settings.old_refresh_token_lives = True
    return read


def test_d11_another_company_is_refused_and_the_good_link_stays(two_divisions: FaultyWorld) -> None:
    world = two_divisions
    before = everything(world)
    link = invite(world)
    world.simulator.settings.granted = frozenset({ANOTHER_DIVISION})
    browser = Browser(world)
    page = browser.sign_in(link)
    world.simulator.settings.granted = None
    assert "not the right administration" in page.text
    assert world.linked.administration in page.text
    after = everything(world)
    assert after.pop("invitation") != before.pop("invitation")
    assert after == before
    assert browser.linked == []

    world.book("invoice")
    world.settle()
    assert "is linked" in browser.sign_in(link).text, "the link was not used up"


def test_d11_the_terminal_says_the_same(two_divisions: FaultyWorld) -> None:
    world, session = two_divisions, Secret("a process in a terminal")
    before = stored(world).generation
    address = world.town.run(linking.begin(world.runtime, NAME, session))
    world.simulator.settings.granted = frozenset({ANOTHER_DIVISION})
    answer = answered(Browser(world).at_package(address))
    with pytest.raises(PermissionLost, match="did not grant access to division"):
        world.town.run(linking.finish(world.runtime, answer, session.reveal()))
    world.simulator.settings.granted = None
    assert stored(world).generation == before
    Browser(world).sign_in(invite(world))


def test_d11_books_that_another_connection_keeps_are_refused(read: FaultyWorld) -> None:
    """Also one that has left the configuration; before anybody is sent to the package, and once more after."""
    world, now = read, read.clock.now()
    link = invite(world)
    browser = Browser(world)
    back = browser.at_package(browser.press(link))
    before, mine = stored(world).generation, world.linked
    connections.register(
        world.store, name="former", package=mine.package, administration=mine.administration, destination="x", now=now
    )
    former = connections.find(world.store, "former")
    with world.store.write() as connection:
        connections.linked(connection, former.id, now)
    page = browser.follow(browser.get(back))
    assert "is linked already" in page.text
    assert "former" not in page.text, "the client learns nothing of others"
    refused = Browser(world).post(link)
    assert (refused.status_code, "is linked already" in refused.text) == (503, True)
    with pytest.raises(AlreadyLinked, match='by the connection "former" already'):
        world.town.run(linking.invite(world.runtime, NAME, HERE))
    assert stored(world).generation == before
    with world.store.write() as connection:
        connection.execute(sa.delete(TABLES["connection"]).where(TABLES["connection"].c.id == former.id))
    Browser(world).sign_in(link)


def test_d11_without_an_answer_whose_books_these_are_nothing_is_stored(read: FaultyWorld) -> None:
    world = read
    before = stored(world).generation
    link = invite(world)
    world.simulator.faults.add("/api/v1/", "status", status=503, times=None)
    browser = Browser(world)
    assert "Exact Online cannot be reached" in browser.sign_in(link).text
    world.simulator.faults.clear()
    assert stored(world).generation == before
    assert "is linked" in browser.sign_in(link).text


# --- D12: answers nobody asked for -----------------------------------------------------------------------------------


def with_(url: str, **query: str | None) -> str:
    """The address with some of its query replaced, or left out."""
    changed = {**dict(parse_qsl(urlsplit(url).query)), **query}
    return f"{CALLBACK_PATH}?{urlencode({name: value for name, value in changed.items() if value is not None})}"


def expired(world: FaultyWorld, _: Browser, back: str) -> str:
    world.clock.advance(601)
    return back


def reused_code(_: FaultyWorld, browser: Browser, back: str) -> str:
    """An answer that was taken, and whose code comes again with a state of its own."""
    assert "is linked" in browser.follow(browser.get(back)).text
    browser.linked.clear()
    again = browser.at_package(browser.press(invite(browser.world)))
    return with_(again, code=dict(parse_qsl(urlsplit(back).query))["code"])


def replayed(_: FaultyWorld, browser: Browser, back: str) -> str:
    assert "is linked" in browser.follow(browser.get(back)).text
    browser.linked.clear()
    return back


ANSWERS: dict[str, tuple[Callable[[FaultyWorld, Browser, str], str], str]] = {
    "wrong state": (lambda _, __, back: with_(back, state="A" * 43), "The sign-in is not finished"),
    "missing state": (lambda _, __, back: with_(back, state=None), "The sign-in is not finished"),
    "expired state": (expired, "The sign-in is not finished"),
    "missing code": (lambda _, __, back: with_(back, code=None), "The sign-in did not succeed"),
    "wrong code": (lambda _, __, back: with_(back, code="A" * 40), "The sign-in did not succeed"),
    "code reused": (reused_code, "The sign-in did not succeed"),
    "declined": (lambda _, __, back: with_(back, code=None, error="access_denied"), "Access was not granted"),
    "another error": (lambda _, __, back: with_(back, error="server_error"), "The sign-in did not succeed"),
    "garbage": (lambda _, __, back: f"{CALLBACK_PATH}?state=%00%ff&code=%00&error=<b>", "The sign-in is not finished"),
    "replayed": (replayed, "is linked"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_d12_a_bad_answer_is_refused_and_stores_nothing(read: FaultyWorld, answer: str) -> None:
    world, (spoil, words) = read, ANSWERS[answer]
    browser = Browser(world)
    back = browser.at_package(browser.press(invite(world)))
    callback = spoil(world, browser, back)
    before = everything(world)
    page = browser.follow(browser.get(callback))
    assert words in page.text
    assert everything(world) == before
    assert browser.linked == []


def test_d12_another_browser_is_refused_and_uses_nothing_up(read: FaultyWorld) -> None:
    world = read
    mine, other = Browser(world), Browser(world)
    back = mine.at_package(mine.press(invite(world)))
    before = everything(world)
    page = other.follow(other.get(back))
    assert (page.status_code, "knows of no sign-in" in page.text) == (400, True)
    assert everything(world) == before
    assert "is linked" in mine.follow(mine.get(back)).text


def test_d12_a_browser_does_not_finish_what_a_terminal_began(read: FaultyWorld) -> None:
    world, session = read, Secret("a process in a terminal")
    before = everything(world)
    address = world.town.run(linking.begin(world.runtime, NAME, session))
    browser = Browser(world)
    back = browser.at_package(address)
    page = browser.get(back)
    assert (page.status_code, "Your terminal waits for this address" in page.text) == (200, True)
    assert everything(world) == before
    name, identity = world.town.run(linking.finish(world.runtime, answered(back), session.reveal()))
    assert (name, identity.administration) == (NAME, world.linked.administration)


def test_d12_the_package_sees_a_code_once(read: FaultyWorld) -> None:
    world = read
    browser = Browser(world)
    back = browser.at_package(browser.press(invite(world)))
    world.mark()
    for _ in range(3):
        browser.get(back)
    assert world.asked("/api/oauth2/token") == 1


def test_d12_over_https_the_cookie_is_bound_to_this_very_host(read: FaultyWorld) -> None:
    world = read
    link = invite(world)
    daemon = msgspec.structs.replace(world.settings.daemon, public_url="https://connector.example")
    world.runtime.settings = msgspec.structs.replace(world.settings, daemon=daemon)
    browser = Browser(world)
    answer = browser.post(httpx.URL(link).path)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-connect=")
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    assert "redirect_uri=https%3A%2F%2Fconnector.example%2Fcallback" in answer.headers["location"]


# --- invitations -----------------------------------------------------------------------------------------------------


def test_looking_at_an_invitation_changes_nothing(read: FaultyWorld) -> None:
    """A mail scanner opens every link, and again."""
    world = read
    link = invite(world)
    before = everything(world)
    for _ in range(3):
        page = Browser(world).get(link)
        assert (page.status_code, "set-cookie" in page.headers) == (200, False)
    assert everything(world) == before
    with world.store.read() as connection:
        assert Secret(link).reveal().rpartition("/")[2] not in str(
            connection.execute(sa.select(TABLES["invitation"])).all()
        )


def test_an_invitation_is_spent_by_success_only_and_then_for_good(read: FaultyWorld) -> None:
    world = read
    link = invite(world)
    browser = Browser(world)
    declined = browser.sign_in(link, deny="1")
    assert "Access was not granted" in declined.text
    again = browser.post("/connect")
    assert again.status_code == 303
    assert "is linked" in browser.follow(browser.get(browser.at_package(again.headers["location"]))).text
    for answer in (Browser(world).get(link), Browser(world).post(link)):
        assert (answer.status_code, "has been used" in answer.text) == (410, True)


def test_a_new_invitation_replaces_the_old_one_also_under_way(read: FaultyWorld) -> None:
    world = read
    link = invite(world)
    browser = Browser(world)
    back = browser.at_package(browser.press(link))
    before, newer = stored(world).generation, invite(world)
    assert Browser(world).get(link).status_code == 404
    assert "did not succeed" in browser.follow(browser.get(back)).text
    assert stored(world).generation == before
    assert "is linked" in browser.sign_in(newer).text


def test_of_two_browsers_with_one_invitation_the_first_wins(read: FaultyWorld) -> None:
    world = read
    link = invite(world)
    first, second = Browser(world), Browser(world)
    package = second.press(link)
    assert "is linked" in first.sign_in(link).text
    generation = stored(world).generation
    assert "did not succeed" in second.follow(second.get(second.at_package(package))).text
    assert stored(world).generation == generation
    Browser(world).sign_in(invite(world))


def test_an_invitation_ends_but_a_sign_in_that_began_in_time_may_finish(read: FaultyWorld) -> None:
    world = read
    link = invite(world)
    browser = Browser(world)
    world.clock.advance(HERE.total_seconds() - 60)
    back = browser.at_package(browser.press(link))
    world.clock.advance(120)
    late = Browser(world).get(link)
    assert (late.status_code, "has expired" in late.text) == (410, True)
    assert Browser(world).post(link).status_code == 410
    assert "is linked" in browser.follow(browser.get(back)).text
