"""The judge of histories can tell a good one from a bad one."""

from datetime import UTC, datetime

import pytest

from connector.domain.events import FRESHNESS
from connector.receiver import Delivery, Seen
from tests.stories.order import broken

ALICE, BOB = "a/alice", "a/bob"


def seen(sequence: int, subject: str, version: int = 1, *, lane: str = ALICE, verdict: str = "accepted") -> Seen:
    return Seen(
        id=str(sequence),
        source="urn:x",
        type=FRESHNESS if subject.startswith("freshness/") else "ar.invoice.upserted.v1",
        subject=subject,
        sequence=sequence,
        entity_version=version,
        partitionkey=lane,
        digest=f"bytes of {sequence}",
        verdict=verdict,
    )


def request(*events: Seen, status: int = 200) -> Delivery:
    return Delivery(at=datetime(2026, 11, 20, tzinfo=UTC), id="d", digest="", status=status, events=list(events))


ONE, TWO = seen(1, "invoice/1"), seen(2, "invoice/2")
NEWER = seen(3, "invoice/1", 2)
POSTPONED = seen(1, "invoice/1", verdict="retry_later")
CHANGED = seen(1, "invoice/1")
CHANGED.digest = "other bytes"


@pytest.mark.parametrize(
    "history",
    [
        [request(ONE, TWO), request(NEWER)],
        [request(ONE, status=500), request(ONE, TWO)],
        [request(ONE, status=0), request(ONE), request(NEWER)],
        [request(POSTPONED), request(seen(2, "invoice/9", lane=BOB)), request(ONE), request(TWO)],
        [request(ONE), request(ONE)],
        [request(ONE, TWO), request(seen(4, "freshness/a", lane="a"))],
    ],
)
def test_a_good_history(history: list[Delivery]) -> None:
    assert broken(history) == []


@pytest.mark.parametrize(
    ("history", "breach"),
    [
        ([request(ONE), request(CHANGED)], "came with other bytes"),
        ([request(NEWER), request(ONE)], "version 1 came after 2"),
        ([request(TWO), request(ONE)], "sequence 1 came after 2"),
        ([request(ONE, status=500), request(TWO)], "overtook 1"),
        ([request(POSTPONED), request(TWO)], "overtook 1"),
        ([request(ONE, status=0), request(ONE, NEWER)], "overtook 1"),
        ([request(ONE, status=500), request(seen(4, "freshness/a", lane="a"))], "overtook 1"),
    ],
)
def test_a_bad_history(history: list[Delivery], breach: str) -> None:
    assert any(breach in sentence for sentence in broken(history)), broken(history)
