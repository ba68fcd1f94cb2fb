"""Secrets do not print, and their values are found wherever they turn up."""

import copy
import gc
import json
import pickle
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.secrets import MASK, Secret, redact

VALUE = "s3cr3t/with+odd chars&=%\"'"


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{:>12}".format, "%s".__mod__, lambda s: repr([s])])
def test_a_secret_shows_its_mask_only(shown: object) -> None:
    assert callable(shown)
    text = shown(Secret(VALUE))
    assert MASK in text
    assert "s3cr3t" not in text


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_cannot_leave_the_process(copied: object) -> None:
    assert callable(copied)
    with pytest.raises(TypeError):
        copied(Secret(VALUE))


def test_reveal_gives_the_value() -> None:
    assert Secret(VALUE).reveal() == VALUE
    assert bool(Secret("")) is False


@pytest.mark.parametrize(
    "form", [VALUE, quote(VALUE, safe=""), quote_plus(VALUE), json.dumps(VALUE), json.dumps({"a": [VALUE]})]
)
def test_a_registered_value_is_masked_in_every_form(form: str) -> None:
    secret = Secret(VALUE)
    masked = redact(f"before {form} after")
    assert "s3cr3t" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert secret


def test_a_value_is_still_masked_after_its_secret_was_dropped() -> None:
    Secret("a-token-that-was-replaced")
    gc.collect()
    assert redact("a-token-that-was-replaced") == MASK


def test_the_longer_of_two_overlapping_secrets_is_masked_whole() -> None:
    held = [Secret("overlapping"), Secret("overlapping-and-longer")]
    assert redact("x overlapping-and-longer y") == f"x {MASK} y"
    assert held


def test_a_short_value_does_not_garble_text() -> None:
    held = Secret("open")
    assert redact("the invoice is open") == "the invoice is open"
    assert held


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer AbCdEf123456~_.-",
        "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        '{"access_token":"AbCdEf123456"}',
        r'"{\"refresh_token\": \"AbCdEf123456\"}"',
        "grant_type=refresh_token&refresh_token=AbCdEf123456&x=1",
        "GET /callback?code=AbCdEf123456&state=AbCdEf123456",
        "{'client_secret': 'AbCdEf123456'}",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    masked = redact(text)
    assert MASK in masked
    assert "AbCdEf123456" not in masked
    assert "c2lnbmF0dXJl" not in masked


@pytest.mark.parametrize("text", ["status code=404", "reason_code=12345678910", "the bearer of bad news", "a code: x"])
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


@given(value=st.text(min_size=8, max_size=60), before=st.text(max_size=10), after=st.text(max_size=10))
def test_no_registered_value_survives(value: str, before: str, after: str) -> None:
    secret = Secret(value)
    assert value not in redact(before + value + after) or value in MASK * 20
    assert secret
