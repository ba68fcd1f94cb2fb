"""The simulator against bodies recorded from the real service: the same fields, of the same JSON types."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from adapters.exactonline.simulator.schema import schemas
from tests.adapters.exactonline.simulated import simulated

RECORDED = Path(__file__).parents[4] / "shared/fixtures/exact-online/nango-2026-06"
NOWHERE_LISTED = {"ClientGroup", "ClientGroupDescription"}
"""Fields that answers have and the reference does not (sheet 3.1)."""

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded bodies are not here")


def entities(name: str) -> list[dict[str, Any]]:
    found = []
    for exchange in json.loads((RECORDED / f"{name}.json").read_text())["exchanges"]:
        inner = exchange["body"]["d"] if exchange["body"] else []
        rows = inner.get("results", [inner]) if isinstance(inner, dict) else inner
        found += [row for row in rows if exchange["method"] == "GET"]
    assert found
    return found


def shape(value: Any) -> str:
    """What kind of JSON a value is, as finely as clients depend on it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, dict):
        return "deferred" if "__deferred" in value else "object"
    if re.fullmatch(r"/Date\(-?\d+\)/", value):
        return "date"
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value):
        return "guid"
    return "string"


@pytest.mark.parametrize(
    ("name", "path", "options"),
    [
        ("get-current-user", "current/Me", {}),
        ("divisions", "system/Divisions", {}),
        ("journals", "financial/Journals", {}),
        ("customers", "crm/Accounts", {"filter": "Status eq 'C'"}),
        ("create-customer", "crm/Accounts", {"filter": "Status eq 'C'"}),
        ("get-contact", "crm/Contacts", {"filter": "Account ne guid'11111111-1111-4111-a111-111111111111'"}),
        ("contacts", "crm/Contacts", {"filter": "Account ne guid'11111111-1111-4111-a111-111111111111'"}),
        ("transaction-lines", "financialtransaction/TransactionLines", {"filter": "Type ge 0"}),
        ("gl-accounts", "financial/GLAccounts", {"filter": "Type ge 0"}),
        ("documents", "documents/Documents", {"filter": "Type eq 10"}),
        ("document-attachments", "documents/DocumentAttachments", {"filter": "FileName ne ''"}),
    ],
)
async def test_fields_and_types_are_those_recorded(name: str, path: str, options: dict[str, str]) -> None:
    async with simulated(mandatory_filter=False) as client:
        url = "http://exact.test/api/v1/current/Me" if path == "current/Me" else path
        ours = await client.rows(url, **options)
        shapes: dict[str, set[str]] = {}
        for row in ours:
            for field, value in row.items():
                if value is not None:
                    shapes.setdefault(field, set()).add(shape(value))
        for row in entities(name):
            if "CurrentDivision" in row and path != "current/Me":
                continue
            known = {"__metadata", *schemas()[path].fields} | NOWHERE_LISTED
            assert set(row) <= known
            assert row["__metadata"]["type"] == ours[0]["__metadata"]["type"]
            for field, value in row.items():
                if value is not None and field in shapes:
                    assert shape(value) in shapes[field], field


async def test_next_addresses_are_written_as_recorded() -> None:
    exchange = json.loads((RECORDED / "gl-accounts.json").read_text())["exchanges"][0]
    pattern = re.sub(r"https://[^/]+/api/v1/\d+", "BASE", exchange["body"]["d"]["__next"])
    pattern = re.sub(r"datetime'[^']*',guid'[^']*'", "TOKEN", pattern)
    async with simulated(mandatory_filter=False) as client:
        options = {name[1:]: value for name, value in exchange["query"].items()}
        answer = await client.get("financialtransaction/TransactionLines", **{**options, "select": "ID,Modified"})
        following = answer.json()["d"]["__next"]
    shown = re.sub(r"http://exact.test/api/v1/\d+", "BASE", following)
    assert re.search(r"datetime'\d{4}-\d\d-\d\dT\d\d%3A\d\d%3A\d\d\.\d+',guid'[0-9a-f-]+'$", shown)
    shown = re.sub(r"datetime'[^']*',guid'[^']*'", "TOKEN", shown)
    ours = shown.replace("financialtransaction/TransactionLines", "financial/GLAccounts")
    assert ours == pattern.replace("ID,Code,Description,Modified", "ID,Modified")
