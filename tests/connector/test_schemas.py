"""The published contract says what the code does: the schemas, the fields and the example of the signature."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from jsonschema import Draft202012Validator

from connector import schemas, signature
from connector.domain import events, records, signals
from connector.domain.events import Meta
from connector.domain.records import Customer, Invoice, Payment, Record, Settlement
from connector.domain.signals import ControlTotal, Freshness
from tests.clocks import ManualClock

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "events.md").read_text(encoding="utf-8")
NOW = ManualClock().now()
SAMPLES: dict[str, msgspec.Struct] = {
    "ar.customer.upserted.v1": Customer(external_id="c", name="Fietsen B.V.", number="10", email="a@example.org"),
    "ar.invoice.upserted.v1": Invoice(
        external_id="i",
        kind="invoice",
        customer="c",
        currency="EUR",
        total=Decimal("121.00"),
        open=Decimal("21.00"),
        base_currency="EUR",
        base_total=Decimal("121.00"),
        base_open=Decimal("21.00"),
        settlements=(Settlement(kind="payment", amount=Decimal(-100), base_amount=Decimal(-100)),),
        sent_at=NOW,
    ),
    "ar.payment.removed.v1": Payment(
        external_id="p",
        kind="receipt",
        customer="c",
        currency="EUR",
        amount=Decimal(5),
        unallocated=Decimal(0),
        base_currency="EUR",
        base_amount=Decimal(5),
        base_unallocated=Decimal(0),
    ),
    "ar.freshness.updated.v1": Freshness(
        dunning_safe_as_of=None,
        blocking=("a feed failed",),
        bank_expected_until=NOW.date(),
        ledger_read_at=NOW,
        control_total=ControlTotal(currency="EUR", ours=Decimal("1.10")),
    ),
}


def written(event_type: str, record: msgspec.Struct) -> dict[str, Any]:
    """An event as the outbox holds it."""
    meta = Meta(entity_version=1, content_hash="0", op="upserted", run_id="r", origin="initial", observed_at=NOW)
    _, body = events.cloud_event(
        source=events.source_urn("acme", "simulated", "1"),
        sequence=1,
        event_type=event_type,
        subject="invoice/i",
        partition="1/c",
        time=NOW,
        data=events.encode({"meta": meta, "record": record, "raw_ref": "group/c"}),
    )
    event: dict[str, Any] = json.loads(body)
    return event


def validate(event: dict[str, Any]) -> None:
    schema = json.loads((DOCS / "schemas" / f"{event['type']}.json").read_text(encoding="utf-8"))
    assert event["dataschema"] == schema["$id"]
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(event)


def test_the_published_files_are_those_the_types_make(tmp_path: Path) -> None:
    schemas.main(str(tmp_path))
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    published = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "schemas").iterdir()}
    assert published == made, "run: python -m connector.schemas docs/schemas"


def test_every_event_type_has_a_schema_and_a_line_on_the_page() -> None:
    named = {value for name, value in vars(events).items() if name.isupper() and str(value).startswith("ar.")}
    assert named <= set(schemas.RECORDS)
    for event_type, record in schemas.RECORDS.items():
        Draft202012Validator.check_schema(schemas.schema(event_type))
        assert f"| `{event_type}` | [{record.__name__}](#{record.__name__.lower()}) |" in PAGE


@pytest.mark.parametrize("event_type", SAMPLES)
def test_what_is_written_is_valid(event_type: str) -> None:
    validate(written(event_type, SAMPLES[event_type]))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.record.total", 121.0),
        ("data.record.total", "121,00"),
        ("data.record.total", "NaN"),
        ("data.record.kind", "guess"),
        ("data.record.currency", "euro"),
        ("data.record.due_date", 20261120),
        ("data.meta.entity_version", "1"),
        ("data.meta", None),
        ("sequence", "1"),
        ("specversion", "0.3"),
    ],
)
def test_what_is_wrong_is_not(path: str, value: Any) -> None:
    event = written("ar.invoice.upserted.v1", SAMPLES["ar.invoice.upserted.v1"])
    *parents, name = path.split(".")
    part = event
    for parent in parents:
        part = part[parent]
    part[name] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(event)


def test_unknown_fields_are_tolerated() -> None:
    event = written("ar.invoice.upserted.v1", SAMPLES["ar.invoice.upserted.v1"])
    event["data"]["record"]["colour"] = "blue"
    event["traceparent"] = "00-…"
    validate(event)


def test_every_field_of_every_record_and_signal_is_on_the_page() -> None:
    tables = dict(_tables(PAGE))
    types = {
        value.__name__: value
        for module in (records, signals, events)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
        if not value.__name__.startswith("_")
    }
    common = set(Record.__struct_fields__)
    for name, struct in types.items():
        fields = set(struct.__struct_fields__)
        if issubclass(struct, Record) and struct is not Record:
            fields -= common
        assert tables.get(name) == fields, name


def test_every_attribute_of_the_envelope_is_on_the_page() -> None:
    section = PAGE.split("## The envelope")[1].split("### Meta")[0]
    event = written("ar.customer.upserted.v1", SAMPLES["ar.customer.upserted.v1"])
    attributes = {name for name in event if name != "data"} | {f"data.{name}" for name in event["data"]}
    assert set(re.findall(r"^\| `([\w.]+)`", section, re.MULTILINE)) == attributes


def test_the_example_of_the_signature_is_right() -> None:
    example = dict(re.findall(r"^\| ([\w-]+) \| `(.*)` \|$", PAGE.split("An example to test with")[1], re.MULTILINE))
    headers = {name: example[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    at = datetime.fromtimestamp(int(example["webhook-timestamp"]), UTC)
    signature.verify([signature.key(example["secret"])], headers, example["body"].encode(), at)


def test_every_link_on_the_page_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings


def _tables(page: str) -> list[tuple[str, set[str]]]:
    sections = re.split(r"^##+ ", page, flags=re.MULTILINE)
    return [
        (section.partition("\n")[0].strip(), set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)))
        for section in sections
    ]
