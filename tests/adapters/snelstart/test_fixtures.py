"""SnelStart's own example bodies go through decoding: their names and nesting are right, their values mean nothing."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.snelstart import wire
from adapters.snelstart.access import refusal
from adapters.snelstart.kinds import BOOKING, KINDS, MANDATE
from adapters.snelstart.rows import Chart, decode, mandates
from connector.adapter import BadRow, Row
from connector.decoding import decoder
from connector.http import Refusal, Response

SHARED = Path(__file__).parents[4] / "shared/fixtures/snelstart"
EXAMPLES = SHARED / "openapi-examples"
NIL = "00000000-0000-0000-0000-000000000000"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the official bodies are not in this checkout")


def body_of(path: Path) -> Any:
    """As the adapter gets it: through the client's own reading of JSON."""
    return Response(200, httpx.Headers({"content-type": "application/json"}), path.read_bytes(), "fixture").json()


def example(name: str) -> Any:
    return body_of(EXAMPLES / f"GET_{name}.json")


def filled(value: Any, at: Iterator[int]) -> Any:
    """The example with values that could be: ids that are not nil, dates where dates belong."""
    match value:
        case dict():
            return {name: _date(name) or filled(inner, at) for name, inner in value.items()}
        case list():
            return [filled(inner, at) for inner in value]
        case str() if value == NIL:
            return f"00000000-0000-4000-8000-{next(at):012x}"
        case _:
            return value


def _date(name: str) -> str | None:
    dates = {"datum", "factuurDatum", "vervalDatum", "modifiedOn", "afsluitDatum", "intrekkingsDatum", "factuurdatum"}
    return "2018-08-07T06:24:48.12" if name in dates else None


def items(name: str) -> list[dict[str, Any]]:
    found = filled(example(name), iter(range(1, 1000)))
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_field_that_is_kept_exists_by_that_very_name(kind: str) -> None:
    """The casing differs from resource to resource, and a wrong name reads as a silent nothing (sheet 4)."""
    (item,) = items(KINDS[kind].collection)
    assert set(KINDS[kind].fields) <= item.keys()
    fields = decoder(KINDS[kind].fields, KINDS[kind].required)(item)
    assert fields.keys() == KINDS[kind].fields.keys()


@pytest.mark.parametrize(("kind", "name"), [("bankline", "bankboekingen"), ("cashline", "kasboekingen")])
def test_an_official_booking_becomes_a_line(kind: str, name: str) -> None:
    (item,) = items(name)
    assert set(BOOKING) <= item.keys()
    (row,) = decode(kind, [item], Chart.of({})).rows
    assert row.parent == ("sale", item["verkoopboekingBoekingsRegels"][0]["boekingId"]["id"])
    assert row.fields.keys() == {"booking", "sale", "bedrag", "of", *BOOKING} - {"id"}


def test_an_official_invoice_belongs_to_its_relation_and_brings_its_sale() -> None:
    (item,) = items("verkoopfacturen")
    invoice, sale = decode("invoice", [item], Chart.of({})).rows
    assert invoice.group == sale.group == item["relatie"]["id"]
    assert (sale.kind, sale.key) == ("sale", item["verkoopBoeking"]["id"])


def test_official_mandates_are_read() -> None:
    listed = items("relaties_id_doorlopendeincassomachtigingen")
    assert set(MANDATE) <= listed[0].keys()
    row = mandates("r", listed)
    assert isinstance(row, Row)
    assert row.fields["mandates"][0].keys() == MANDATE.keys()
    assert isinstance(mandates("r", [{"id": 5}]), BadRow)


def test_the_list_of_documents_and_a_document_have_what_we_read() -> None:
    assert {"verkoopBoekingId", "fileName", "id"} <= items("documenten_documenttype_pid")[0].keys()
    assert "content" in items("documenten_id")[0]


def test_the_period_balance_has_what_we_read() -> None:
    assert {"grootboekIdentifier", "eindSaldoPeriode"} <= items("rapportages_periodebalans")[0].keys()


@pytest.mark.parametrize(
    ("name", "meant"), [("401-apim-invalid-subscription-key", Refusal(app=True)), ("400-business-error-array", None)]
)
def test_recorded_refusals_are_told_apart(name: str, meant: Refusal | None) -> None:
    said = (SHARED / f"errors/{name}.json").read_text(encoding="utf-8")
    assert refusal(int(name[:3]), said) == meant


def test_an_official_request_with_foreign_vat_adds_up_to_the_cent() -> None:
    body = body_of(SHARED / "portal/POST_verkoopboekingen-oss-with-foreign-vat.json")
    total = sum(Decimal(wire.amount(line["bedrag"])) for line in body["boekingsregels"])
    assert total == Decimal(wire.amount(body["factuurbedrag"])) == Decimal("81.46")
    assert wire.link(body["klant"]) == "5830cec3-8929-4703-80b4-bd695402a7b0"
    assert wire.day(body["factuurdatum"]) == "2021-07-29"


def test_the_official_token_is_one_that_we_can_use() -> None:
    token = json.loads((SHARED / "portal/token-response.json").read_text(encoding="utf-8"))
    assert (token["token_type"], token["expires_in"]) == ("bearer", 3599)
