"""Signatures: ours and those of the reference library are the same, and what is wrong is refused."""

import base64
from datetime import timedelta

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from connector import signature
from connector.clock import SystemClock
from connector.signature import InvalidSignature
from tests.clocks import ManualClock

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
NOW = ManualClock().now()
BODY = '[{"id":"1","naam":"Café"}]'.encode()


def keys(*secrets: str) -> list[bytes]:
    return [signature.key(secret) for secret in secrets]


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return signature.headers(keys(*secrets), "dlv_1", NOW, body)


@given(
    body=st.text().map(str.encode), delivery_id=st.text("abc_123", min_size=1), raw=st.binary(min_size=24, max_size=64)
)
def test_the_reference_library_makes_the_same_signature(body: bytes, delivery_id: str, raw: bytes) -> None:
    secret = "whsec_" + base64.b64encode(raw).decode()
    theirs = standardwebhooks.Webhook(secret).sign(delivery_id, NOW, body.decode())
    assert signature.headers(keys(secret), delivery_id, NOW, body)["webhook-signature"] == theirs


def test_the_reference_library_accepts_ours_during_a_rotation() -> None:
    headers = signature.headers(keys(SECRET, OLD), "dlv_1", SystemClock().now(), BODY)
    for secret in (SECRET, OLD):
        standardwebhooks.Webhook(secret).verify(BODY, headers)


def test_we_accept_what_the_reference_library_signs() -> None:
    theirs = standardwebhooks.Webhook(SECRET).sign("dlv_1", NOW, BODY.decode())
    headers = {"webhook-id": "dlv_1", "webhook-timestamp": str(int(NOW.timestamp())), "webhook-signature": theirs}
    signature.verify(keys(SECRET), headers, BODY, NOW)


@pytest.mark.parametrize(("sender", "receiver"), [((SECRET, OLD), (OLD,)), ((OLD,), (SECRET, OLD))])
def test_either_secret_will_do_during_a_rotation(sender: tuple[str, ...], receiver: tuple[str, ...]) -> None:
    signature.verify(keys(*receiver), signed(*sender), BODY, NOW)


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_may_be_five_minutes_off(minutes: int) -> None:
    signature.verify(keys(SECRET), signed(SECRET), BODY, NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_replay_at_another_time_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidSignature, match="too far"):
        signature.verify(keys(SECRET), signed(SECRET), BODY, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("webhook-id", "dlv_2", "no signature matches"),
        ("webhook-timestamp", str(int(NOW.timestamp()) + 1), "no signature matches"),
        ("webhook-timestamp", "today", "not a number"),
        ("webhook-signature", "", "no signature matches"),
        ("webhook-signature", "v1", "no signature matches"),
        ("webhook-signature", "v1a," + "A" * 44, "no signature matches"),
        ("webhook-signature", "v1,é", "no signature matches"),
    ],
)
def test_a_changed_header_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(InvalidSignature, match=why):
        signature.verify(keys(SECRET), signed(SECRET) | {name: value}, BODY, NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = {key: value for key, value in signed(SECRET).items() if key != name}
    with pytest.raises(InvalidSignature, match=name):
        signature.verify(keys(SECRET), headers, BODY, NOW)


def test_a_changed_body_or_another_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        signature.verify(keys(SECRET), signed(SECRET), BODY + b" ", NOW)
    with pytest.raises(InvalidSignature):
        signature.verify(keys(OLD), signed(SECRET), BODY, NOW)


def test_a_secret_may_be_plain_text_and_base64_without_padding() -> None:
    assert signature.key("a text of at least twenty-four bytes") == b"a text of at least twenty-four bytes"
    assert signature.key(SECRET.rstrip("=")) == bytes(range(32))


@pytest.mark.parametrize(
    ("secret", "why"),
    [("whsec_not base64!", "base64"), ("whsec_A", "base64"), ("whsec_c2hvcnQ=", "24 bytes"), ("", "24 bytes")],
)
def test_a_weak_or_damaged_secret_is_refused_without_being_shown(secret: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        signature.key(secret)
    assert not secret or secret not in str(raised.value)
