"""Signatures in the Standard Webhooks form: `v1,` + base64 of HMAC-SHA256 over `<id>.<timestamp>.<body>`.

A secret is `whsec_<base64>` or any other text, whose UTF-8 bytes are then the key. During a rotation there are two:
the sender signs with both, the receiver accepts either.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

PREFIX = "whsec_"
MIN_BYTES = 24
TOLERANCE = timedelta(minutes=5)


class InvalidSignature(ValueError):
    """The request was not signed with a known secret, or not at this time; the text says which."""


def key(secret: str) -> bytes:
    """The bytes of a secret.

    Raises:
        ValueError: not base64 after `whsec_`, or shorter than 24 bytes.
    """
    if secret.startswith(PREFIX):
        encoded = secret.removeprefix(PREFIX)
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError(f"what follows {PREFIX} is not base64") from error
    else:
        raw = secret.encode()
    if len(raw) < MIN_BYTES:
        raise ValueError(f"a signing secret needs at least {MIN_BYTES} bytes")
    return raw


def headers(keys: Sequence[bytes], delivery_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of one attempt; `at` is the time of the attempt."""
    timestamp = str(int(at.timestamp()))
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(one, delivery_id, timestamp, body) for one in keys),
    }


def verify(keys: Sequence[bytes], received: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Check the raw bytes of a request; `received` has lower-case header names.

    Raises:
        InvalidSignature: a header is missing, the time is too far away, or no signature matches.
    """
    try:
        delivery_id, timestamp, signatures = (received[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        sent = int(timestamp)
    except KeyError as error:
        raise InvalidSignature(f"the header {error} is missing") from error
    except ValueError as error:
        raise InvalidSignature("webhook-timestamp is not a number") from error
    if abs(now.timestamp() - sent) > TOLERANCE.total_seconds():
        raise InvalidSignature("webhook-timestamp is too far from this clock")
    given = [part.encode() for part in signatures.split()]
    expected = [_signature(one, delivery_id, timestamp, body).encode() for one in keys]
    # Every pair is compared, so that the time taken does not tell which secret matched.
    if not sum([hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]):
        raise InvalidSignature("no signature matches")


def _signature(one: bytes, delivery_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.new(one, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
