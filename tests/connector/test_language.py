"""Every language says everything, and each person gets theirs."""

import re
import string
from datetime import date
from typing import get_args

import pytest

from connector.store.arrival import ENTITIES, Phase
from connector.store.authorizations import Outcome
from connector.web import language
from connector.web.language import DEFAULT, LANGUAGES, choose


def words(text: str) -> set[str]:
    """The words in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_every_text_with_the_same_words_in_braces(code: str) -> None:
    ours, english = language.texts(code).texts, language.texts(DEFAULT).texts
    assert list(ours) == list(english)
    assert {key: words(text) for key, text in ours.items()} == {key: words(text) for key, text in english.items()}
    assert [key for key, text in ours.items() if not text or (text != text.strip() and key != "thousands")] == []


@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {DEFAULT}))
def test_no_language_was_left_in_english(code: str) -> None:
    ours, english = language.texts(code).texts, language.texts(DEFAULT).texts
    assert [key for key, text in ours.items() if text == english[key] and re.search(r"\w \w", text)] == []


def test_whatever_the_program_can_say_has_a_text() -> None:
    texts = language.texts(DEFAULT).texts
    failures = set(get_args(Outcome)) - {"", "linked"}
    needed = {f"failure.{name}.{part}" for name in failures for part in ("title", "text", "next")}
    needed |= {f"phase.{phase}" for phase in get_args(Phase)} | {f"linked.{entity}" for entity in ENTITIES}
    assert needed - texts.keys() == set()


@pytest.mark.parametrize(
    ("asked", "kept", "accepts", "chosen"),
    [
        (None, None, "nl-NL,nl;q=0.9,en;q=0.8", "nl"),
        (None, None, "de-DE, fr;q=0.5, da;q=0.7", "da"),
        (None, None, "FR-be", "fr"),
        (None, None, "sv, *;q=0.1", "en"),
        (None, None, "nl;q=0, en;q=0.1", "en"),
        (None, None, "", "en"),
        (None, None, ";;;,q=1,nl;q=x,\x00", "en"),
        (None, "da", "nl", "da"),
        ("fr", "da", "nl", "fr"),
        ("xx", "../../etc", "nl", "nl"),
    ],
)
def test_the_language_is_the_one_asked_for(asked: str | None, kept: str | None, accepts: str, chosen: str) -> None:
    assert choose(asked, kept, accepts) == chosen


def test_numbers_and_days_are_written_as_people_write_them() -> None:
    day = date(2026, 12, 6)
    shown = {code: (language.texts(code).number(1234567), language.texts(code).date(day)) for code in LANGUAGES}
    assert shown == {
        "nl": ("1.234.567", "6-12-2026"),
        "en": ("1,234,567", "2026-12-06"),
        "fr": ("1\u202f234\u202f567", "06/12/2026"),
        "da": ("1.234.567", "6.12.2026"),
    }
