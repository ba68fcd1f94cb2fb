"""What the client's pages are made of: headers, markup, escaping, and the progress they show."""

import base64
import dataclasses
import hashlib
import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import NoReturn

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from connector.errors import StoreUnavailable
from connector.store import arrival
from connector.store.arrival import Phase
from connector.store.engine import Store
from connector.web.language import LANGUAGES
from tests.faults.browser import Browser, invite
from tests.faults.world import TABLES, FaultyWorld

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Markup(HTMLParser):
    """Notes the tags, and that each is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def every_answer(world: FaultyWorld) -> dict[str, httpx.Response]:
    """One of each kind."""
    link, browser = invite(world), Browser(world)
    found = {
        "invitation": browser.get(link),
        "unknown": browser.get("/connect/unknown"),
        "none": browser.get("/connect"),
    }
    found["button"] = browser.post(link)
    found["unfinished"] = browser.get("/connect")
    back = browser.at_package(found["button"].headers["location"], deny="1")
    found["callback"] = browser.get(back)
    found["declined"] = browser.get("/connect")
    found["linked"] = browser.sign_in(link)
    found["spent"] = browser.get(link)
    return found


def test_every_answer_forbids_what_it_does_not_need(read: FaultyWorld) -> None:
    for kind, answer in every_answer(read).items():
        assert answer.headers["referrer-policy"] == "no-referrer", kind
        assert answer.headers["cache-control"] == "no-store", kind
        assert answer.headers["x-content-type-options"] == "nosniff", kind
        if answer.status_code == 303:
            continue
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy, kind
        assert "frame-ancestors 'none'" in policy, kind
        assert "script" not in policy + answer.text, kind
        (style,) = re.findall(r"<style>(.*?)</style>", answer.text, flags=re.DOTALL)
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy, kind
        assert ("<form" in answer.text) == ("form-action 'none'" not in policy), kind


def test_a_form_may_lead_to_the_package(read: FaultyWorld) -> None:
    """Browsers hold the policy against the redirect that answers the form, too."""
    world = read
    policy = Browser(world).get(invite(world)).headers["content-security-policy"]
    assert f"form-action 'self' https: {world.town.package_url};" in policy


def test_only_our_own_page_may_press_the_button(read: FaultyWorld) -> None:
    link, browser = invite(read), Browser(read)
    assert browser.post(link, origin="https://elsewhere.example", site="cross-site").status_code == 403
    assert browser.post(link, origin="null", site="cross-site").status_code == 403
    assert browser.post(link, origin="null", site="none").status_code == 403
    assert browser.post(link, origin=browser.base).status_code == 303
    assert browser.post(link).status_code == 303


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_sound_in_every_language(read: FaultyWorld, language: str) -> None:
    world = read
    link = invite(world)
    browser = Browser(world)
    pages = [browser.get(link, headers={"Accept-Language": language}), browser.get(f"/connect/x?lang={language}")]
    linked = browser.sign_in(link)
    pages += [linked, browser.get("/connect")]
    for page in pages:
        markup = Markup(page.text)
        assert markup.open == []
        assert f'<html lang="{language}">' in page.text
        assert page.headers["content-language"] == language
        assert [markup.tags.count(tag) for tag in ("h1", "main", "nav", "title")] == [1, 1, 1, 1]
        assert "{" not in page.text.partition("</style>")[2]


def test_names_from_outside_are_text_and_no_markup(read: FaultyWorld) -> None:
    world = read
    daemon = msgspec.structs.replace(world.settings.daemon, operator="<b>Jansen & Zn</b>")
    world.runtime.settings = msgspec.structs.replace(world.settings, daemon=daemon)
    connection = TABLES["connection"]
    with world.store.write() as transaction:
        transaction.execute(sa.update(connection).values(title="<script>alert(1)</script>"))
    page = Browser(world).get(invite(world)).text
    assert "&lt;b&gt;Jansen &amp; Zn&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_it_shows_how_the_first_sync_comes_along(read: FaultyWorld) -> None:
    world = read
    browser = Browser(world)
    page = browser.sign_in(invite(world))
    assert ("about 2 minutes" in page.text, page.headers["refresh"]) == (True, "5")
    world.clock.advance(60)
    world.book("invoice")
    world.cycle()
    page = browser.get("/connect")
    assert ("on its way" in page.text, page.headers["refresh"]) == (True, "5")
    world.deliver()
    page = browser.get("/connect")
    assert ("Everything has arrived" in page.text, "refresh" in page.headers) == (True, False)
    assert world.linked.title in page.text
    counted = re.findall(r"<td>(\d+)</td><td>(\d+)</td>", page.text)
    mirror = world.mirror()
    assert counted == [(str(len(mirror[kind])),) * 2 for kind in ("customers", "invoices", "payments")]


@pytest.mark.parametrize(
    ("row", "phase"),
    [
        ({"last_started_at": None}, "waiting"),
        ({"initial_done": False, "lease_owner": "x"}, "reading"),
        ({"initial_done": False, "outcome": "interrupted"}, "paused"),
        ({"outcome": "throttled"}, "paused"),
        ({"outcome": "unavailable"}, "paused"),
        ({"outcome": "stopped"}, "stopped"),
        ({"outcome": "needs_reconnect"}, "stopped"),
        ({"outcome": "partial"}, "done"),
    ],
)
def test_what_the_connection_says_is_put_into_one_word(read: FaultyWorld, row: dict[str, object], phase: Phase) -> None:
    world = read
    since, connection = world.clock.now(), TABLES["connection"]
    before = {
        "last_started_at": since + timedelta(seconds=1),
        "initial_done": True,
        "outcome": "ok",
        "lease_owner": None,
    }
    lease = since if row.get("lease_owner") else None
    with world.store.write() as transaction:
        transaction.execute(sa.update(connection).values(**before | row, lease_until=lease))
    assert arrival.look(world.store, world.linked.id, since).phase == phase
    with world.store.write() as transaction:
        transaction.execute(sa.update(connection).values(**before, lease_until=None))


def test_a_program_that_ends_promises_no_progress(read: FaultyWorld) -> None:
    """`connector connect` serves the pages only until somebody has seen that it went well."""
    world, seen = read, []
    browser = Browser(world)

    async def shown() -> None:
        seen.append("shown")

    browser.serve(dataclasses.replace(browser.pages, lasting=False, shown=shown))
    page = browser.sign_in(invite(world))
    assert ("The first sync follows" in page.text, "refresh" in page.headers) == (True, False)
    assert seen == ["shown"]


@pytest.mark.parametrize("address", ["/connect/x", "/connect", "/callback?state=x&code=y"])
def test_without_its_database_a_page_says_so_in_words(
    read: FaultyWorld, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def away(_: Store) -> NoReturn:
        raise StoreUnavailable("the database is away")

    browser = Browser(read)
    monkeypatch.setattr(Store, "read", away)
    monkeypatch.setattr(Store, "write", away)
    page = browser.get(address)
    if page.status_code == 303:
        page = browser.follow(page)
    assert (page.status_code, "does not work right now" in page.text) == (503, True)
    monkeypatch.undo()


def test_the_whole_way_on_either_database(both: FaultyWorld) -> None:
    world = both
    invite(world)
    link, browser = invite(world), Browser(world)
    assert "Access was not granted" in browser.sign_in(link, deny="1").text
    assert "is linked" in browser.sign_in(link).text
    world.clock.advance(60)
    assert "about 2 minutes" in browser.get("/connect").text
    world.settle()
    assert "Everything has arrived" in browser.get("/connect").text
    assert Browser(world).get(link).status_code == 410
