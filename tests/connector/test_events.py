"""Events: canonical bytes, stable ids, and what changed."""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from connector.domain import events
from connector.domain.records import Invoice, Settlement
from tests.clocks import ManualClock

NOW = ManualClock().now()


def invoice(status: str, open_: str = "0") -> Invoice:
    paid = Decimal(open_) - 100
    return Invoice(
        external_id="i",
        kind="invoice",
        customer="c",
        currency="EUR",
        total=Decimal(100),
        open=Decimal(open_),
        base_currency="EUR",
        base_total=Decimal(100),
        base_open=Decimal(open_),
        payment_status=status,  # type: ignore[arg-type]  # given by the test
        settlements=(Settlement(kind="payment", amount=paid, base_amount=paid),),
    )


def cloud_event(**changed: Any) -> bytes:
    given: dict[str, Any] = {
        "source": "urn:connector:acme:simulated:1",
        "sequence": 7,
        "event_type": "ar.invoice.upserted.v1",
        "subject": "invoice/i",
        "partition": "1/c",
        "time": NOW,
        "data": b'{"b":1,"a":"1.10"}',
    }
    return events.cloud_event(**given | changed)[1]


def test_equal_values_are_equal_bytes() -> None:
    assert events.encode({"b": Decimal("1.10"), "a": 1}) == b'{"a":1,"b":"1.10"}'
    assert events.encode({"a": 1, "b": Decimal("1.10")}) == b'{"a":1,"b":"1.10"}'


def test_an_event_is_the_same_whenever_it_is_written() -> None:
    zone = timezone(timedelta(hours=5))
    assert cloud_event() == cloud_event(time=datetime.astimezone(NOW, zone))
    event = json.loads(cloud_event())
    assert event["time"] == "2026-11-20T09:00:00.000Z"
    assert event["sequence"] == "00000000000000000007"
    assert b'"data":{"b":1,"a":"1.10"}' in cloud_event(), "what was encoded is not encoded again"


def test_an_id_depends_on_source_sequence_and_content() -> None:
    """A database restored from a backup uses sequence numbers again, for other events."""
    ids = [
        json.loads(cloud_event(**changed))["id"]
        for changed in ({}, {"subject": "x"}, {"sequence": 8}, {"source": "s"}, {"data": b'{"b":2}'})
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"payment_status": "open"}, invoice("paid"), "open→paid"),
        ({}, invoice("paid"), "open→paid"),
        ({"payment_status": "paid"}, invoice("partly_paid", "40"), "paid→partly_paid"),
        ({"payment_status": "paid"}, invoice("paid"), None),
        (None, invoice("paid"), None),
    ],
)
def test_a_transition_is_how_the_payment_status_moved(
    before: dict[str, str] | None, after: Invoice, expected: str | None
) -> None:
    assert events.transition(before, after) == expected


def test_changed_fields_are_those_that_differ_also_when_they_came_or_went() -> None:
    assert events.changed_fields(None, {"a": 1}) == []
    assert events.changed_fields({"a": 1, "b": 1, "d": 1}, {"a": 1, "b": 2, "c": 1}) == ["b", "c", "d"]
