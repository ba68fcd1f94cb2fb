"""Keys that a package sends by itself: what is believed of an unsigned word that comes once. Real sockets."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from connector import linking
from connector.activation import KEPT, Activations
from connector.errors import StoreUnavailable
from connector.rotation import renew, verify
from connector.store import activations
from connector.store.engine import Store
from connector.store.tokens import LINKED, NEEDS_REAUTH
from connector.web.access import FAILURES
from connector.web.activation import BODY_LIMIT
from tests.keyed import KEY, MINE, NAME, OTHER_BOOKS, KeyedWorld, keyed

NEXT = "canary-of-the-next-key"
WEBHOOK = "/activation/keyed"


@pytest.fixture
async def world(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[KeyedWorld]:
    async with keyed(tmp_path, unused_tcp_port, apps="activation = true") as world:
        yield world


@pytest.fixture
async def by_activation(world: KeyedWorld) -> str:
    """Linked by a key that came; gives the reference."""
    reference = await world.activate(await world.invite())
    await world.tell("created", reference)
    await world.look()
    assert world.events() == ["linked"]
    return reference


def standing(world: KeyedWorld) -> tuple[str, str, str]:
    token = world.token
    assert token is not None
    return token.refresh.reveal(), token.status, token.reason


# --- the way there ---------------------------------------------------------------------------------------------------


async def test_without_a_registered_webhook_there_is_neither_button_nor_webhook(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    async with keyed(tmp_path, unused_tcp_port) as world:
        link = await world.invite()
        assert "activate" not in (await world.get(link)).text
        assert (await world.browser.post(link, data={"activate": "1"})).status_code == 503
        assert (await world.tell("created", "any")).status_code == 404


async def test_the_page_waits_for_the_key_and_not_for_the_browser(world: KeyedWorld) -> None:
    link = await world.invite()
    page = await world.get(link)
    assert ('name="activate"' in page.text, 'name="key"' in page.text) == (True, True)
    assert "form-action 'self' https: https://keyed.example;" in page.headers["content-security-policy"]
    reference = await world.activate(link)
    assert len(reference) >= 43
    for _ in range(2):
        page = await world.get("/connect")
        assert ("sends us the key" in page.text, page.headers["refresh"]) == (True, "5")
    assert (world.token, world.rows("key_news")) == (None, [])

    assert (await world.tell("created", reference)).status_code == 202
    assert "sends us the key" in (await world.get("/connect")).text
    await world.look()
    assert "is linked" in (await world.get("/connect")).text
    assert (standing(world), world.linked) == ((KEY, LINKED, ""), [NAME])
    assert (await world.get(link)).status_code == 410


async def test_who_never_agreed_may_start_again_after_ten_minutes(world: KeyedWorld) -> None:
    await world.activate(await world.invite())
    world.clock.advance(601)
    page = await world.get("/connect")
    assert ("not finished" in page.text, 'name="key"' in page.text, "refresh" in page.headers) == (True, True, False)
    assert "is linked" in (await world.submit("/connect", key=KEY)).text


async def test_a_key_for_other_books_is_not_taken_and_the_browser_hears_it(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    await world.tell("created", reference, OTHER_BOOKS)
    await world.look()
    assert "This key is for something else" in (await world.get("/connect")).text
    assert (world.token, world.events(), world.rows("key_news")) == (None, [], [])
    await world.tell("created", reference, KEY)
    await world.look()
    assert "is linked" in (await world.get("/connect")).text


# --- the webhook -----------------------------------------------------------------------------------------------------


async def test_a_stranger_learns_nothing_and_is_slowed_down_alone(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    known = await world.tell("created", reference)
    unknown = await world.tell("created", "r" * 43)
    assert [one.status_code for one in (known, unknown)] == [202, 202]
    assert known.content == unknown.content == b""
    assert set(known.headers) == set(unknown.headers)
    with capture_logs() as logs:
        answers = [(await world.tell("created", f"{number}")).status_code for number in range(FAILURES + 3)]
    assert answers == [202] * (FAILURES - 1) + [429] * 4
    assert [one["event"] for one in logs].count("activation.not_taken") == FAILURES - 1
    assert (await world.tell("deleted", reference)).status_code == 202, "what comes once is not turned away"
    assert len(world.rows("key_news")) == 2
    world.clock.advance(61)
    assert (await world.tell("created", "another")).status_code == 202


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 202), (b"{}", 202), (b"[1", 202), (b'"\xff', 202), (b"x" * (BODY_LIMIT + 1), 413)],
)
async def test_what_cannot_be_read_is_not_kept(world: KeyedWorld, body: bytes, status: int) -> None:
    answer = await world.browser.post(WEBHOOK, content=body)
    assert (answer.status_code, world.rows("key_news")) == (status, [])


async def test_a_known_reference_fills_no_disk(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    for _ in range(activations.MOST_WAITING + 2):
        assert (await world.tell("created", reference)).status_code == 202
    assert len(world.rows("key_news")) == activations.MOST_WAITING
    await world.look()
    assert (world.rows("key_news"), world.events(), len(world.package.exchanged)) == ([], ["linked"], 1)


async def test_without_its_database_it_says_no_and_the_log_says_what_to_do(
    world: KeyedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Store) -> NoReturn:
        raise StoreUnavailable("the database is away")

    reference = await world.activate(await world.invite())
    monkeypatch.setattr(Store, "write", away)
    with capture_logs() as logs:
        assert (await world.tell("created", reference)).status_code == 503
    monkeypatch.undo()
    assert "activate the link again" in logs[0]["fix"]


async def test_what_is_kept_is_encrypted_and_goes_along_with_the_keys(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    await world.tell("created", reference)
    assert "canary" not in repr(world.rows("key_news"))
    assert reference not in repr([*world.rows("activation"), *world.rows("key_news")])
    assert renew(world.runtime.store, world.runtime.vault).changed == 1
    report = verify(world.runtime.store, world.runtime.vault)
    assert (report.values["key_news.key_ct"], report.problems) == (1, [])
    await world.look()
    assert standing(world)[0] == KEY


# --- a crash, and a package that is away -----------------------------------------------------------------------------


async def test_what_was_kept_before_a_crash_is_dealt_with_by_the_next_process(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    await world.tell("created", reference)
    heard: list[str] = []

    async def linked(name: str, _: Any) -> None:
        heard.append(name)
        stop.set()

    stop = asyncio.Event()
    await asyncio.wait_for(Activations(world.runtime, linked).run(stop), 20)
    assert (heard, standing(world)[:2], world.rows("key_news")) == ([NAME], (KEY, LINKED), [])


async def test_a_crash_within_leaves_all_or_nothing(world: KeyedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = await world.activate(await world.invite())
    await world.tell("created", reference)

    def crash(*_: object) -> NoReturn:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("connector.store.authorizations.conclude", crash)
        await world.look()
    assert (world.token, world.events(), len(world.rows("key_news"))) == (None, [], 1)
    assert [row.spent_at for row in world.rows("invitation")] == [None]
    await world.look()
    assert (standing(world)[0], world.events(), world.rows("key_news")) == (KEY, ["linked"], [])


@pytest.mark.parametrize("cause", ["away", "app_is_known"])
async def test_what_is_not_the_clients_fault_is_tried_again(world: KeyedWorld, cause: str) -> None:
    reference = await world.activate(await world.invite())
    await world.tell("created", reference)
    setattr(world.package, cause, not getattr(world.package, cause))
    await world.look()
    assert (world.token, len(world.rows("key_news"))) == (None, 1)
    words = "sends us the key" if cause == "away" else "This is not your fault"
    assert words in (await world.get("/connect")).text
    setattr(world.package, cause, not getattr(world.package, cause))
    await world.look()
    assert "is linked" in (await world.get("/connect")).text


async def test_it_is_given_up_after_a_week_and_later_news_waits_its_turn(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    await world.tell("created", reference)
    await world.tell("deleted", reference)
    world.package.away = True
    await world.look()
    assert len(world.rows("key_news")) == 2
    world.clock.advance((KEPT + timedelta(minutes=1)).total_seconds())
    await world.look()
    assert (world.rows("key_news"), world.token) == ([], None)


async def test_the_whole_life_on_postgresql(tmp_path: Path, unused_tcp_port: int, postgres_url: str) -> None:
    """The other tests run on SQLite."""
    async with keyed(tmp_path, unused_tcp_port, postgres_url, apps="activation = true") as world:
        reference = await world.activate(await world.invite())
        for action in ("created", "created", "deleted", "created"):
            await world.tell(action, reference)
        await world.look()
        assert (standing(world), world.rows("key_news")) == ((KEY, LINKED, ""), [])
        assert world.events() == ["linked", "reauth_required", "linked", "restored"]
        assert "is linked" in (await world.get("/connect")).text


# --- the life of a key -----------------------------------------------------------------------------------------------


async def test_a_new_key_replaces_the_old_one_and_comes_twice(world: KeyedWorld, by_activation: str) -> None:
    world.package.keys = {NEXT: MINE}
    for _ in range(2):
        await world.tell("replaced", by_activation, NEXT)
    await world.look()
    await world.tell("replaced", by_activation, NEXT)
    await world.tell("created", by_activation, KEY)
    await world.look()
    assert standing(world) == (NEXT, LINKED, "")
    assert world.events() == ["linked", "linked"]
    assert "is linked" in (await world.get("/connect")).text


async def test_a_new_key_for_other_books_is_refused_and_told(world: KeyedWorld, by_activation: str) -> None:
    before = world.rows("token")
    for _ in range(2):
        await world.tell("replaced", by_activation, OTHER_BOOKS)
        with capture_logs() as logs:
            await world.look()
    assert (world.rows("token"), world.events()) == (before, ["linked", "reauth_required"])
    assert "books-2" in repr(world.rows("outbox")[-1].body)
    assert [one["event"] for one in logs if one["log_level"] == "warning"] == ["activation.refused"]
    await world.tell("replaced", by_activation, KEY)
    await world.look()
    assert world.connection.alerted == 0, "what is stored already proves nothing new"
    await linking.accept(world.runtime, NAME, KEY)
    assert world.events()[2:] == ["linked", "restored"]


@pytest.mark.parametrize("named", [KEY, ""])
async def test_a_deleted_key_stops_the_connection_and_forgets_nothing(
    world: KeyedWorld, by_activation: str, named: str
) -> None:
    linked_at = world.connection.linked_at
    for _ in range(2):
        await world.tell("deleted", by_activation, named)
        await world.look()
    assert standing(world) == (KEY, NEEDS_REAUTH, "the client deleted the key in the package")
    assert world.events() == ["linked", "reauth_required"]
    assert world.connection.linked_at == linked_at
    world.package.keys = {NEXT: MINE}
    await world.tell("created", by_activation, NEXT)
    await world.look()
    assert standing(world) == (NEXT, LINKED, "")
    assert world.events()[2:] == ["linked", "restored"]


async def test_a_late_deletion_of_an_old_key_is_ignored(world: KeyedWorld, by_activation: str) -> None:
    world.package.keys = {NEXT: MINE}
    await world.tell("replaced", by_activation, NEXT)
    await world.tell("deleted", by_activation, KEY)
    await world.look()
    assert (standing(world), world.events()) == ((NEXT, LINKED, ""), ["linked", "linked"])


async def test_a_deletion_without_a_key_counts_under_the_reference_of_the_stored_one(
    world: KeyedWorld, by_activation: str
) -> None:
    """Not under one that never brought a key, one of before, or after the client has pasted another."""
    never = await world.activate(await world.invite())
    await world.tell("deleted", never, "")
    await world.look()
    assert standing(world)[1] == LINKED
    world.package.keys[NEXT] = MINE
    await world.tell("created", never, NEXT)
    await world.tell("deleted", by_activation, "")
    await world.look()
    assert standing(world)[:2] == (NEXT, LINKED)
    await world.submit(await world.invite(), key=KEY)
    await world.tell("deleted", never, "")
    await world.look()
    assert (standing(world), world.rows("key_news")) == ((KEY, LINKED, ""), [])


async def test_a_replaced_invitation_does_not_lose_a_key_that_is_told_once(world: KeyedWorld) -> None:
    reference = await world.activate(await world.invite())
    newer = await world.invite()
    await world.tell("created", reference)
    await world.look()
    assert standing(world)[:2] == (KEY, LINKED)
    assert (await world.get(newer)).status_code == 200


async def test_another_browser_sees_nothing_of_it(world: KeyedWorld, by_activation: str) -> None:
    assert "is linked" in (await world.get("/connect")).text
    assert "knows of no sign-in" in (await world.outside.get("/connect")).text
