"""The client's way through in a real browser, on a phone and without JavaScript; pictures go to build/screenshots."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.store import connections
from tests.desk import Desk, Servers, running

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

CHROMIUM = shutil.which("chromium")
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
PHONE = {"width": 390, "height": 844}
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ANOTHER_DIVISION = 424242
LANGUAGES = {"nl": "Verder naar", "en": "Continue to", "fr": "Continuer vers", "da": "Fortsæt til"}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture
def phone(chromium: Any) -> Iterator[Any]:
    """A page of an English-speaking client's phone."""
    with tab(chromium, "en-GB") as page:
        yield page


@pytest.fixture
def asking(around: Servers) -> Iterator[None]:
    """The package shows its consent page, and the user has another division besides."""
    settings = around.simulator.settings
    settings.auto_approve, settings.other_divisions = False, (ANOTHER_DIVISION,)
    yield
    settings.auto_approve, settings.other_divisions, settings.granted = True, (), None


@pytest.fixture
def daemon(desk: Desk) -> Iterator[Desk]:
    """A desk whose daemon runs, with an address for clients."""
    desk.configure("[daemon]", f'[daemon]\npublic_url = "http://127.0.0.1:{desk.port}"\noperator = "Vroom Incasso"')
    with running(desk):
        yield desk


@contextlib.contextmanager
def tab(chromium: Any, locale: str, **options: Any) -> Iterator[Any]:
    """A page that must have nothing to complain about: the policy forbids what it does not need."""
    context = chromium.new_context(viewport=PHONE, locale=locale, java_script_enabled=False, **options)
    context.set_default_timeout(15_000)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    yield page
    context.close()
    assert [one for one in complaints if "Content Security Policy" in one] == []


def invitation(desk: Desk) -> str:
    done = desk.run("connect", "acme", "--invite")
    assert done.code == 0, done
    found = re.search(r"^http\S+/connect/\S+$", done.out, flags=re.MULTILINE)
    assert found, done.out
    return found[0]


def picture(page: Any, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def known(desk: Desk) -> connections.Linked:
    with desk.database() as store:
        return connections.find(store, "acme")


def title(page: Any) -> str:
    found: str = page.inner_text("h1")
    return found


def grant(page: Any) -> None:
    """Press our button, then the package's."""
    page.click("main button")
    page.click("text=Toestaan")


def test_from_the_invitation_to_the_books_at_the_dunning_service(
    daemon: Desk, around: Servers, phone: Any, asking: None
) -> None:
    link = invitation(daemon)
    phone.goto(link)
    assert title(phone) == "Give read access to your bookkeeping"
    text = phone.inner_text("main")
    assert "Vroom Incasso asks" in text
    assert str(around.simulator.division) in text
    picture(phone, "1-invitation")

    phone.click("main button")
    phone.click("text=Weigeren")
    assert (title(phone), phone.url) == ("Access was not granted", f"{daemon.url}/connect")
    picture(phone, "2-declined")

    around.simulator.settings.granted = frozenset({ANOTHER_DIVISION})
    grant(phone)
    assert (title(phone), phone.url) == ("This is not the right administration", f"{daemon.url}/connect")
    assert "choose that one when Exact Online asks" in phone.inner_text("main")
    assert known(daemon).linked_at is None
    picture(phone, "3-wrong-administration")

    around.simulator.settings.granted = None
    grant(phone)
    assert (title(phone), phone.url) == ("Your administration is linked", f"{daemon.url}/connect")
    assert around.simulator.books.administration.name in phone.inner_text("main")
    assert "The first open items arrive in about 2 minutes." in phone.inner_text("main")
    picture(phone, "4-linked")

    phone.wait_for_selector("text=Everything has arrived.")  # nobody but the page itself asks again
    rows = [row.split("\t") for row in phone.inner_text("tbody").splitlines()]
    assert [read == arrived != "0" for _, read, arrived in rows] == [True, True, True]
    assert phone.locator("progress").count() == 1
    assert len(around.mirror()["customers"]) == int(rows[0][1])
    picture(phone, "5-arrived")

    phone.goto(link)
    assert title(phone) == "This link has been used"


def test_everybody_reads_it_in_their_own_language(daemon: Desk, chromium: Any) -> None:
    link = invitation(daemon)
    for language, button in LANGUAGES.items():
        with tab(chromium, f"{language}-{language.upper()}") as page:
            page.goto(link)
            assert page.get_attribute("html", "lang") == language
            assert page.inner_text("main button") == f"{button} Exact Online"
            picture(page, f"6-{language}")
    with tab(chromium, "sv-SE", color_scheme="dark") as page:
        page.goto(link)
        assert page.get_attribute("html", "lang") == "en"
        page.click("text=Dansk")
        assert page.get_attribute("html", "lang") == "da"
        page.goto(link)
        assert page.get_attribute("html", "lang") == "da", "it is remembered"
        picture(page, "7-dark")
