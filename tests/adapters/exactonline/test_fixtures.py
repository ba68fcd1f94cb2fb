"""Recorded answers of the real package go through the adapter's decoding."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.exactonline import division, wire
from adapters.exactonline.kinds import KINDS
from adapters.exactonline.rows import Chart, Decoded, Decoder
from connector.errors import SourceDown
from connector.http import Response

SHARED = Path(__file__).parents[4] / "shared/fixtures/exact-online"
RECORDED = SHARED / "nango-2026-06"
SAMPLES = SHARED / "dotnet-client"
DIVISION = "124132"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded bodies are not in this checkout")


def answer_of(body: bytes) -> wire.Answer:
    """As the adapter gets it: through the client's own reading of JSON."""
    return wire.answer(Response(200, httpx.Headers({"content-type": "application/json"}), body, "fixture").json())


def exchanges(name: str, path: str = "") -> Iterator[dict[str, Any]]:
    for exchange in json.loads((RECORDED / f"{name}.json").read_bytes())["exchanges"]:
        if exchange["method"] == "GET" and path in exchange["path"]:
            yield exchange


def items(name: str, path: str = "") -> list[dict[str, Any]]:
    return [
        item for exchange in exchanges(name, path) for item in answer_of(json.dumps(exchange["body"]).encode()).items
    ]


def decoded(kind: str, found: list[dict[str, Any]]) -> Decoded:
    chart = Chart(frozenset(), frozenset(), {}, named_suspense=False, journals={})
    return Decoder(KINDS[kind], chart).page(found)


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_list_is_an_envelope_we_know(path: Path) -> None:
    for exchange in exchanges(path.stem):
        answer = answer_of(json.dumps(exchange["body"]).encode())
        assert all("__metadata" in item for item in answer.items)


def test_the_recorded_user_keeps_the_time_of_amsterdam_and_points_at_no_division_of_ours() -> None:
    (me,) = items("get-current-user")
    division.check_clock(me, "Europe/Amsterdam")
    division.check_clock(me, "Europe/Paris")
    with pytest.raises(Exception, match="never is in Europe/London"):
        division.check_clock(me, "Europe/London")


def test_the_recorded_division_is_the_pinned_one() -> None:
    item = division.pick(items("list-divisions"), DIVISION, "here")
    identity = division.identity(item, DIVISION, "Europe/Paris")
    assert (identity.name, identity.currency, identity.country) == ("Nango", "EUR", "FR")
    found = decoded("division", [item])
    assert found.bad == []
    assert "DivisionMoveDate" not in found.rows[0].fields


@pytest.mark.parametrize(("name", "path"), [("create-customer", "Accounts"), ("update-customer", "Accounts")])
def test_a_recorded_customer_is_trimmed_and_keyed(name: str, path: str) -> None:
    found = decoded("account", items(name, path))
    assert found.bad == []
    for row in found.rows:
        assert row.group == row.key == row.fields["ID"]
        assert row.fields["Code"].strip() == row.fields["Code"] != ""
        assert len(row.fields.get("Country", "FR")) == 2


def test_recorded_contacts_belong_to_their_account() -> None:
    for page in (items("contacts"), items("get-contact", "Contacts")):
        found = decoded("contact", page)
        assert found.bad == []
        assert {row.group for row in found.rows} == {row.fields["Account"] for row in found.rows}


def test_recorded_journals_say_where_money_is() -> None:
    found = decoded("journal", items("journals"))
    assert found.bad == []
    by_code = {row.fields["Code"]: row.fields["Type"] for row in found.rows}
    assert (by_code["50"], by_code["30"], by_code["70"]) == (12, 10, 20)


def test_recorded_documents_and_attachments_hang_together() -> None:
    attachments = decoded("attachment", items("document-attachments"))
    assert attachments.bad == []
    assert {row.parent and row.parent[0] for row in attachments.rows} == {"document"}
    names = [row.fields["FileName"] for row in attachments.rows]
    assert "inv24700003.PDF" in names


def test_the_recorded_ledger_sorts_into_receivables_money_and_the_rest() -> None:
    """The small ledger of the recording: 411000 is receivable, 512000 bank, 530000 cash (sheet 7)."""
    found = items("transaction-lines")
    by_code = {item["GLAccountCode"]: item["GLAccount"] for item in found}
    chart = Chart(
        receivable=frozenset({by_code["411000"]}),
        money=frozenset({by_code["512000"], by_code["530000"]}),
        suspense={},
        named_suspense=False,
        journals={},
    )
    rows = Decoder(KINDS["line"], chart).page(found)
    assert rows.bad == []
    assert {row.kind for row in rows.rows} == {"line", "bank"}
    of_line = [row for row in rows.rows if row.kind == "line"]
    assert {row.group for row in of_line} == {"unassigned"}  # the recording did not select Account
    assert all(row.fields["AmountDC"][-3] == "." for row in rows.rows)
    assert len(rows.rows) < len(found) == 83


def test_samples_with_a_byte_order_mark_are_read() -> None:
    assert len(answer_of((SAMPLES / "APIResponse_Json_Array.json").read_bytes()).items) > 0
    assert len(answer_of((SAMPLES / "APIResponse_Json_Object.json").read_bytes()).items) == 1


@pytest.mark.parametrize("name", ["WithoutDTag", "WithoutResultsTag"])
def test_a_malformed_sample_is_a_failure_of_the_package(name: str) -> None:
    with pytest.raises(SourceDown):
        answer_of((SAMPLES / f"APIResponse_Json_Array_{name}.json").read_bytes())
