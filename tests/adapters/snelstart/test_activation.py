"""What the webhook's body may look like, and the address of the activation page (sheet 1.2)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.snelstart.activation import page, read
from adapters.snelstart.adapter import Options

WORDS = {"KoppelSleutel": "a/long+key==", "ActionType": "Create", "ReferenceKey": "r-1"}


@given(st.sampled_from(["Create", "Regenerate", "Delete"]), st.data())
def test_names_come_in_any_case(action: str, data: st.DataObject) -> None:
    spelt = {
        data.draw(st.sampled_from([name, name.lower(), name.upper(), name.swapcase()])): value
        for name, value in (WORDS | {"ActionType": data.draw(st.sampled_from([action, action.lower()]))}).items()
    }
    news = read(json.dumps(spelt).encode())
    assert news is not None
    assert (news.reference.reveal(), news.key.reveal()) == ("r-1", "a/long+key==")
    assert news.action == {"Create": "created", "Regenerate": "replaced", "Delete": "deleted"}[action]


@pytest.mark.parametrize("key", [{}, {"KoppelSleutel": None}, {"KoppelSleutel": ""}])
def test_a_deletion_may_come_without_its_key(key: dict[str, str | None]) -> None:
    news = read(json.dumps({"ActionType": "Delete", "ReferenceKey": "r-1", "More": [1], **key}).encode())
    assert news is not None
    assert news.key.reveal() == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'"\xff"',
        json.dumps(WORDS | {"ReferenceKey": ""}).encode(),
        json.dumps(WORDS | {"ReferenceKey": 1}).encode(),
        json.dumps(WORDS | {"KoppelSleutel": ["a"]}).encode(),
        json.dumps(WORDS | {"ActionType": "Rename"}).encode(),
        json.dumps(WORDS | {"ActionType": None}).encode(),
    ],
)
def test_anything_else_is_no_news(body: bytes) -> None:
    assert read(body) is None


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_survived(body: bytes) -> None:
    read(body)


def test_the_page_is_told_who_we_are_and_where_the_browser_goes_afterwards() -> None:
    assert page(Options(), "Our App", "r+1", "https://connector.example/connect") == (
        "https://web.snelstart.nl/couplings/activate/Our%20App"
        "?referenceKey=r%2B1&successUrl=https%3A%2F%2Fconnector.example%2Fconnect"
    )
