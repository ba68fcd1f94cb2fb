"""Rows of one account by hand, and what the assembly makes of them."""

from collections.abc import Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from adapters.exactonline.adapter import PACKAGE
from adapters.exactonline.assemble import ExactAssembler
from connector.adapter import Assembled, Fields
from connector.domain.records import Invoice, Payment
from connector.mapping import Mapping, compile_mapping

ACCOUNT = "aaaaaaaa-0000-4000-8000-000000000001"
MAPPING = compile_mapping(resources.files("mappings") / "exactonline.toml", sources=PACKAGE.sources)
REFERENCES: dict[str, list[Fields]] = {
    "division": [{"Code": 100, "Description": "Books", "Currency": "EUR", "Country": "NL"}],
    "calibration": [{"Sign": -1}],
    "journal": [
        {"ID": f"j-{code}", "Code": code, "Type": kind, "Description": code}
        for code, kind in (("10", 10), ("20", 12), ("25", 16), ("70", 20), ("90", 90), ("93", 90))
    ],
    "condition": [{"ID": "c-30", "Code": "30", "Description": "30 days", "PaymentDays": 30, "PaymentMethod": "B"}],
    "glaccount": [{"ID": "gl-ar", "Code": "1300", "Type": 20}],
}


def line(key: str, amount: str, *, type_: int = 20, journal: str = "70", **more: Any) -> Fields:
    return {
        "ID": key,
        "Account": ACCOUNT,
        "EntryID": f"e-{key}",
        "EntryNumber": 1,
        "JournalCode": journal,
        "Type": type_,
        "Date": "2026-10-01",
        "GLAccount": "gl-ar",
        "AmountDC": amount,
        "AmountFC": amount,
        "Currency": "EUR",
    } | more


def term(transaction: str, amount: str, *, status: int = 20, key: str = "", **more: Any) -> Fields:
    """`amount` in ledger sign; the wire has the opposite one."""
    wire = str(-Decimal(amount))
    return {
        "ID": key or f"t-{transaction}-{status}-{amount}",
        "Account": ACCOUNT,
        "Status": status,
        "AmountDC": wire,
        "AmountFC": wire,
        "Currency": "EUR",
        "TransactionID": transaction,
        "DueDate": "2026-10-31",
    } | more


def assemble(
    lines: Sequence[Fields] = (),
    terms: Sequence[Fields] = (),
    *,
    account: dict[str, Any] | None = None,
    mapping: Mapping = MAPPING,
    references: dict[str, list[Fields]] = REFERENCES,
    **rows: Sequence[Fields],
) -> Assembled:
    whole = {"ID": ACCOUNT, "Code": "11", "Name": "Jansen BV", "Status": "C"} | (account or {})
    stored = {"account": [whole], "line": lines, "term": terms, **rows}
    return ExactAssembler(references, mapping, "100").assemble(ACCOUNT, stored)


def invoice(found: Assembled, key: str) -> Invoice:
    return next(one for one in found.invoices if one.external_id == key)


def payment(found: Assembled, key: str) -> Payment:
    return next(one for one in found.payments if one.external_id == key)


def settlements(found: Assembled, key: str) -> list[tuple[str, Decimal, str | None, bool]]:
    return [(one.kind, one.amount, one.source, one.derived) for one in invoice(found, key).settlements]


def overriding(folder: Path, text: str) -> Mapping:
    own = folder / "own.toml"
    own.write_text(text, encoding="utf-8")
    return compile_mapping(resources.files("mappings") / "exactonline.toml", own, sources=PACKAGE.sources)
