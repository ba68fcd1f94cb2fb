"""The simulator against SnelStart's own export of its API and the official examples: the same names and types."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapters.snelstart.simulator.schema import PREFIX, fields_of, models
from tests.adapters.snelstart.simulated import Client, simulated, small_books

SHARED = Path(__file__).parents[4] / "shared"
EXPORT = SHARED / "reference/snelstart-openapi/snelstart-b2b-api-v2.yaml"
FIXTURES = SHARED / "fixtures/snelstart"

pytestmark = pytest.mark.skipif(not EXPORT.is_file() or not FIXTURES.is_dir(), reason="the export is not here")

PATHS = {
    "companyInfo": "CompanyInfo.CompanyInfoModel",
    "relaties": "Relaties.RelatieModel",
    "verkoopfacturen": "Verkoopfacturen.VerkoopfactuurModel",
    "bankboekingen": "Bankboekingen.BankboekingModel",
    "kasboekingen": "Kasboekingen.KasboekingModel",
    "grootboekmutaties": "GrootboekMutaties.GrootboekMutatieModel",
    "grootboeken": "Grootboeken.GrootboekModel",
    "dagboeken": "Dagboeken.DagboekModel",
    "landen": "Landen.LandModel",
    "btwtarieven": "BtwTarieven.BtwTariefModel",
    "kostenplaatsen": "Kostenplaatsen.KostenplaatsModel",
    "verkooporders": "Verkooporders.VerkoopOrderModel",
    "rapportages/periodebalans?start=2026-01-01&end=2026-12-31": "Rapportage.PeriodebalansRegelModel",
    "authorization/HasUserAccessToAdministration": "Authorization.AdministrationAccessModel",
}


@cache
def lines() -> list[str]:
    return EXPORT.read_text().splitlines()


@cache
def schemas() -> dict[str, dict[str, dict[str, Any]]]:
    """Each model's properties. Reads the regular part of the file that lists models, and no other YAML."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    start = lines().index("  schemas:")
    model, field, inside = "", "", ""
    for line in lines()[start + 1 :]:
        depth = len(line) - len(line.lstrip())
        key, _, value = line.strip().partition(":")
        value = value.strip().strip("'\"")
        if depth == 4:
            model, inside = key.strip("'\""), ""
            found[model] = {}
        elif depth == 6:
            inside = key
        elif depth == 8 and inside == "properties":
            field = key
            found[model][field] = {}
        elif inside == "properties" and field in found.get(model, {}):
            _add(found[model][field], key, value, depth)
    return found


def _add(facts: dict[str, Any], key: str, value: str, depth: int) -> None:
    items = facts.setdefault("items", {}) if depth > 10 else facts
    if key.startswith("- "):
        items.setdefault("enum", set()).add(key[2:].strip("'\""))
    elif key in {"type", "format", "$ref"} and key not in items:
        items[key] = value.removeprefix("#/components/schemas/")


def kind(facts: dict[str, Any]) -> str:
    """The type of a property in the words of `fields.txt`."""
    if facts.get("type") == "array":
        return f"[{kind(facts['items'])}]"
    if "$ref" in facts:
        link = set(schemas()[facts["$ref"]]) == {"id", "uri"}
        return "link" if link else facts["$ref"].removeprefix(PREFIX)
    if facts.get("type") == "string":
        return {"date-time": "datetime", "uuid": "guid", "byte": "bytes"}.get(facts.get("format", ""), "string")
    return {"object": "any"}.get(facts.get("type", ""), facts.get("type", "any"))


def test_the_models_are_those_of_the_export() -> None:
    assert len(schemas()) > 200
    for model, fields in models().items():
        exported = {name: kind(facts) for name, facts in schemas()[PREFIX + model].items()}
        assert fields == exported, model


SHAPES = {
    "guid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"),
    "datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?\Z"),
    "string": re.compile(r""),
    "bytes": re.compile(r"[A-Za-z0-9+/=]+\Z"),
}


def unlike(value: Any, kind: str, where: str) -> Iterator[str]:
    """Where a value is not of its type, or has a field that no model has."""
    if value is None:
        return
    if kind.startswith("["):
        for place, element in enumerate(value):
            yield from unlike(element, kind[1:-1], f"{where}[{place}]")
        return
    fields = fields_of(kind)
    if fields is not None:
        for name, inner in value.items():
            if name not in fields:
                yield f"{where}.{name}"
            else:
                yield from unlike(inner, fields[name], f"{where}.{name}")
    elif kind in SHAPES:
        if not isinstance(value, str) or not SHAPES[kind].match(value):
            yield f"{where}: {value!r} is not a {kind}"
    elif not isinstance(value, {"boolean": bool, "integer": int, "number": (int, float)}.get(kind, object)):
        yield f"{where}: {value!r} is not a {kind}"


def enums_unlike(value: Any, model: str, where: str) -> Iterator[str]:
    for name, facts in schemas()[PREFIX + model].items():
        inner = value.get(name)
        allowed = facts.get("enum") or facts.get("items", {}).get("enum")
        for one in inner if isinstance(inner, list) else [inner]:
            if allowed and isinstance(one, str) and one not in allowed:
                yield f"{where}.{name}: {one!r}"
            deeper = kind(facts).strip("[]")
            if isinstance(one, dict) and deeper in models():
                yield from enums_unlike(one, deeper, f"{where}.{name}")


async def answers(client: Client) -> list[tuple[str, str, Any]]:
    """(path, model, row) of everything that can be read."""
    found = []
    for path, model in PATHS.items():
        body = (await client.get(path)).json()
        found += [(path, model, row) for row in (body if isinstance(body, list) else [body])]
    for booking in client.simulator.world.postings.all():
        if booking.kind.value == "memoriaalboekingen":
            row = (await client.get(f"memoriaalboekingen/{booking.id}")).json()
            found.append(("memoriaalboekingen", "Bankboekingen.MemoriaalboekingModel", row))
        if booking.kind.value == "verkoopboekingen":
            row = (await client.get(f"verkoopboekingen/{booking.id}")).json()
            found.append(("verkoopboekingen", "VerkoopBoekingen.VerkoopBoekingModel", row))
            listed = (await client.get(f"documenten/Verkoopboekingen/{booking.id}")).json()
            model = "Bijlagen.VerkoopBoekingBijlageReferenceModel"
            found += [("documenten", model, row) for row in listed]
    found.append(
        ("documenten", "Documenten.DocumentContentModel", (await client.get(f"documenten/{listed[0]['id']}")).json())
    )
    for key in client.books.relations.customers:
        path = f"relaties/{key}/doorlopendeincassomachtigingen"
        model = "Relaties.DoorlopendeIncassoMachtigingModel"
        found += [(path, model, row) for row in (await client.get(path)).json()]
    return found


async def test_every_answer_has_only_fields_of_the_export_of_the_right_type() -> None:
    async with simulated(small_books(customers=40, invoices=120)) as client:
        client.books.cash.receive(next(iter(client.books.relations.customers.values())), Decimal("5.00"), journal="10")
        for name in ("credit_note", "write_off_by_journal", "pay_too_much", "opening_balance", "pay_in_cash"):
            client.act(name)
        seen: dict[str, set[str]] = {}
        for path, model, row in await answers(client):
            seen.setdefault(path, set()).update(name for name, value in row.items() if value is not None)
            assert [*unlike(row, model, path), *enums_unlike(row, model, path)] == []
        assert seen["relaties"] >= set(models()["Relaties.RelatieModel"]) - {
            "mobieleTelefoon", "fax", "memo", "oin", "websiteUrl",
        }  # fmt: skip
        for path in PATHS.keys() - {"relaties", "companyInfo", "verkooporders", "kostenplaatsen"}:
            missing = set(models()[PATHS[path]]) - seen[path]
            assert missing <= {"vatRateCode"}, path


def test_the_check_finds_what_is_wrong() -> None:
    model = "Verkoopfacturen.VerkoopfactuurModel"
    wrong = {"openstaand": 1, "factuurBedrag": "5", "relatie": {"id": "x"}, "vervalDatum": "2026-01-01"}
    assert len(list(unlike(wrong, model, ""))) == 4
    row = {"aanmaningsoort": "Vaak"}
    assert list(enums_unlike(row, "Relaties.RelatieModel", "")) == [".aanmaningsoort: 'Vaak'"]


async def test_rows_have_the_keys_of_the_official_examples() -> None:
    async with simulated(small_books(), drop_nulls=False, nothing="null") as client:
        for path in PATHS:
            name = path.partition("?")[0].replace("/", "_")
            file = FIXTURES / f"openapi-examples/GET_{name}.json"
            if not file.is_file():
                continue
            example, body = json.loads(file.read_text()), (await client.get(path)).json()
            rows = body if isinstance(body, list) else [body]
            wanted = example[0] if isinstance(example, list) else example
            assert all(set(row) == set(wanted) for row in rows), path


async def test_refusals_read_like_the_recorded_ones() -> None:
    async with simulated(subscription_expired=True) as client:
        recorded = json.loads((FIXTURES / "errors/401-apim-invalid-subscription-key.json").read_text())
        assert (await client.get("relaties")).json() == recorded
        client.settings.subscription_expired = False
        codes = json.loads((FIXTURES / "errors/error-codes.json").read_text())["codes"]
        example = json.loads((FIXTURES / "errors/400-business-error-array.json").read_text())
        for path in ("relaties/12", "relaties?$filter=Naam%20is%201", "documenten/Offertes/12"):
            answer = await client.get(path)
            (error,) = answer.json()
            assert (answer.status_code, error.keys()) == (400, example[0].keys())
            assert codes[error["errorCode"]] == error["message"]


async def test_the_token_and_the_webhook_have_the_documented_names() -> None:
    async with simulated() as client:
        token = json.loads((FIXTURES / "portal/token-response.json").read_text())
        body = await client.connect()
        assert body.keys() == token.keys()
        assert (body["expires_in"], body["token_type"]) == (token["expires_in"], token["token_type"])
