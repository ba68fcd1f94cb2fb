"""A client who pastes a key instead of signing in, over real sockets: what it sees, and what is stored."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connector import linking
from connector.authorizer import SignInFailed
from connector.store import connections
from connector.store.tokens import LINKED
from connector.web.language import LANGUAGES
from tests.keyed import KEY, MINE, NAME, OTHER_BOOKS, KeyedWorld, keyed


@pytest.fixture
async def world(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[KeyedWorld]:
    async with keyed(tmp_path, unused_tcp_port) as world:
        yield world


def nothing_stored(world: KeyedWorld) -> bool:
    return (world.token, world.events(), world.linked, world.connection.linked_at) == (None, [], [], None)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_asks_for_the_key_without_showing_it(world: KeyedWorld, language: str) -> None:
    page = await world.get(f"{await world.invite()}?lang={language}")
    (field,) = re.findall(r"<input[^>]*>", page.text)
    assert {'type="password"', 'autocomplete="off"', 'name="key"', "required"} <= set(field.removesuffix(">").split())
    assert ("client key" in page.text, "Books &gt; Links" in page.text) == (True, True)
    assert "form-action 'self';" in page.headers["content-security-policy"]
    assert page.text.count("<form") == page.text.count('<form method="post"') == 1
    assert "{" not in page.text.partition("</style>")[2]


async def test_the_right_key_links_and_spends_the_invitation_at_once(world: KeyedWorld) -> None:
    link = await world.invite()
    page = await world.submit(link, key=f' "{KEY}"\r\n')
    assert ("is linked" in page.text, "Books &amp; Co" in page.text, page.url.path) == (True, True, "/connect")
    token = world.token
    assert token is not None
    assert (token.refresh.reveal(), token.status) == (KEY, LINKED)
    assert (world.events(), world.linked) == (["linked"], [NAME])
    assert world.connection.next_due_at == world.clock.now()
    assert [row.spent_at for row in world.rows("invitation")] == [world.clock.now()]
    again = await world.submit(link, key=KEY)
    assert (again.status_code, "has been used" in again.text) == (410, True)
    assert len(world.package.exchanged) == 1


async def refuse(world: KeyedWorld) -> None:
    world.package.keys.clear()


async def another(world: KeyedWorld) -> None:
    world.package.keys[KEY] = "books-2"


async def away(world: KeyedWorld) -> None:
    world.package.away = True


async def ours(world: KeyedWorld) -> None:
    world.package.app_is_known = False


async def kept_by_another(world: KeyedWorld) -> None:
    now, store = world.clock.now(), world.runtime.store
    other = connections.register(
        store, name="former", package="keyed", administration=MINE, destination="backend", now=now
    )
    with store.write() as connection:
        connections.linked(connection, other.id, now)


@pytest.mark.parametrize(
    ("spoil", "words", "outcome"),
    [
        (refuse, "The key was not accepted", "refused"),
        (another, "This key is for something else", "wrong_administration"),
        (away, "Keyed Books cannot be reached", "unreachable"),
        (ours, "This is not your fault", "our_fault"),
        (kept_by_another, "is linked already", "already_linked"),
    ],
)
async def test_a_key_that_cannot_be_taken_stores_nothing_and_says_why(
    world: KeyedWorld, spoil: Any, words: str, outcome: str
) -> None:
    link = await world.invite()
    await spoil(world)
    page = await world.submit(link, key=KEY)
    assert words in page.text
    assert (nothing_stored(world), [row.spent_at for row in world.rows("invitation")]) == (True, [None])
    assert [row.outcome for row in world.rows("authorization_request")] == [outcome]


async def test_after_a_failure_the_same_page_takes_the_right_key(world: KeyedWorld) -> None:
    page = await world.submit(await world.invite(), key=OTHER_BOOKS)
    assert ("This key is for something else" in page.text, 'name="key"' in page.text) == (True, True)
    for nothing in ({}, {"key": ""}, {"key": " '' "}):
        assert "The key was not accepted" in (await world.submit("/connect", **nothing)).text
    assert len(world.package.exchanged) == 1, "where there is no key, nobody is asked"
    assert "is linked" in (await world.submit("/connect", key=KEY)).text
    assert world.events() == ["linked"]


async def test_a_failure_leaves_a_good_link_as_it_was(world: KeyedWorld) -> None:
    await world.submit(await world.invite(), key=KEY)
    before = world.rows("token")
    for key in (OTHER_BOOKS, "canary-of-no-key"):
        await world.submit(await world.invite(), key=key)
    assert (world.rows("token"), world.events()) == (before, ["linked"])


async def test_only_our_own_page_and_this_browser(world: KeyedWorld) -> None:
    link = await world.invite()
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert (await world.browser.post(link, data={"key": KEY}, headers=foreign)).status_code == 403
    assert "is linked" in (await world.submit(link, key=KEY)).text
    assert "knows of no sign-in" in (await world.outside.get("/connect")).text
    assert (await world.outside.post("/connect", data={"key": KEY})).status_code == 303
    assert world.package.exchanged == [KEY]


async def test_of_two_browsers_with_one_invitation_the_first_wins(world: KeyedWorld) -> None:
    link = await world.invite()
    pages = await asyncio.gather(*(world.submit(link, key=KEY) for _ in range(2)))
    assert [page.status_code for page in pages].count(200) >= 1
    assert (world.events(), world.linked) == (["linked"], [NAME])


async def test_a_terminal_takes_a_key_without_any_invitation(world: KeyedWorld) -> None:
    with pytest.raises(SignInFailed, match="refused the sign-in"):
        await linking.accept(world.runtime, NAME, "canary-of-no-key")
    assert nothing_stored(world)
    await linking.accept(world.runtime, NAME, f"{KEY}\\n")
    token = world.token
    assert token is not None
    assert token.refresh.reveal() == KEY
