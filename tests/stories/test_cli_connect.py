"""`connector connect`, as the person at the terminal sees it while somebody signs in."""

import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.desk import Desk, Servers, eventually, link_of, sign_in


def public(desk: Desk) -> Desk:
    """With an address for clients."""
    return desk.configure("[daemon]", f'[daemon]\npublic_url = "{desk.url}"')


def told(process: "subprocess.Popen[str]", words: str) -> str:
    """The first line on standard error that says this."""
    assert process.stderr is not None
    return next(line for line in process.stderr if words in line)


def test_a_declined_consent_is_told_and_may_be_tried_again(desk: Desk) -> None:
    connecting = desk.start("connect", "acme", "--no-browser")
    link = link_of(connecting)
    assert "Access was not granted" in sign_in(link, deny="1").text
    assert "The link still works" in told(connecting, "not linked: access was not granted")
    assert "is linked" in sign_in(link).text
    done = desk.ended(connecting)
    assert (done.code, "linked acme" in done.out) == (0, True), done


def test_it_opens_the_page_where_there_is_a_screen(desk: Desk, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    environ = desk.environ | {"DISPLAY": ":99", "BROWSER": f"{browser} %s"}
    connecting = desk.start("connect", "acme", environ=environ)
    link = link_of(connecting)
    eventually(lambda: opened.exists() and opened.read_text().strip() == link)
    assert "is linked" in sign_in(link).text
    assert desk.ended(connecting).code == 0


def test_an_invitation_needs_an_address_for_clients(desk: Desk) -> None:
    done = desk.run("connect", "acme", "--invite")
    assert (done.code, "public_url" in done.err) == (2, True), done
    assert desk.run("connect", "acme", "--invite", "--paste").code == 2


def test_an_invitation_replaces_the_link_that_somebody_waits_for(desk: Desk) -> None:
    connecting = public(desk).start("connect", "acme", "--no-browser")
    link_of(connecting)
    invited = desk.run("connect", "acme", "--invite", "--days", "3")
    assert invited.code == 0
    assert re.search(rf"^{desk.url}/connect/[\w-]{{43}}$", invited.out, flags=re.MULTILINE)
    done = desk.ended(connecting)
    assert (done.code, "a newer link has replaced this one" in done.err) == (3, True), done
    with sqlite3.connect(desk.folder / "connector.db") as database:
        (days,) = database.execute("SELECT julianday(expires_at) - julianday(created_at) FROM invitation").fetchone()
    database.close()
    assert days == pytest.approx(3)


def test_another_administration_ends_the_terminals_own_sign_in(desk: Desk, around: Servers) -> None:
    settings = around.simulator.settings
    settings.other_divisions, settings.granted = (424242,), frozenset({424242})
    try:
        done = desk.paste(desk.start("connect", "acme", "--paste"))
    finally:
        settings.other_divisions, settings.granted = (), None
    assert (done.code, "did not grant access to division" in done.err) == (4, True), done
    assert desk.run("status", "--json").json()["connections"][0]["linked"] is False
