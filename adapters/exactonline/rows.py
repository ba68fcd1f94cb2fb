"""How the items of a page become rows: to which group they belong, and which are of no interest. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from adapters.exactonline import wire
from adapters.exactonline.kinds import CASH_FLOW, KINDS, MONEY_LINE, OPEN_BELOW, RECEIVABLE_LINE, Kind
from connector.adapter import REFERENCE_GROUP, BadRow, Fields, References, Removal, Row
from connector.decoding import NIL, decoder, essential, guid

UNASSIGNED: Final = "unassigned"
"""The group of receivable lines that name no customer."""

_RECEIVABLE_GL: Final = 20
_MONEY_GL: Final = frozenset({10, 12, 14, 16})
_SUSPENSE_GL: Final = frozenset({32, 90})

_CONTRADICTION: Final = "it came twice on one page, with different content and no newer version"

LINE_KINDS: Final = ("line", "bank", "suspense")
"""What a ledger line can be; when its ledger account changes it turns from one into another."""

_DECODERS: Final = {name: decoder(kind.fields, kind.required) for name, kind in KINDS.items()}
_MONEY_DECODER: Final = decoder(MONEY_LINE, ("ID", "AmountDC"))


@dataclass(frozen=True)
class Chart:
    """The ledger accounts that matter, by id, and the types of the journals."""

    receivable: frozenset[str]
    money: frozenset[str]
    suspense: dict[str, str]
    """Id -> code."""
    named_suspense: bool
    """Whether the configuration names the suspense accounts; else they are guessed by type."""
    journals: dict[str, int]

    @classmethod
    def of(cls, references: References, suspense_codes: Iterable[str]) -> "Chart":
        codes = frozenset(suspense_codes)
        accounts = references.get("glaccount", ())
        return cls(
            receivable=frozenset(one["ID"] for one in accounts if one["Type"] == _RECEIVABLE_GL),
            money=frozenset(one["ID"] for one in accounts if one["Type"] in _MONEY_GL),
            suspense={
                one["ID"]: one["Code"]
                for one in accounts
                if (one["Code"] in codes if codes else one["Type"] in _SUSPENSE_GL)
            },
            named_suspense=bool(codes),
            journals={one["Code"]: one["Type"] for one in references.get("journal", ())},
        )


class Decoded(NamedTuple):
    """The items of one page."""

    rows: list[Row]
    removals: list[Removal]
    bad: list[BadRow]
    newest: int
    """The highest version among all items, also those of no interest; 0 where none has one."""


class Decoder:
    """Turns the items of one feed into rows. With `removing`, items that have become of no interest are removed."""

    def __init__(self, kind: Kind, chart: Chart, *, removing: bool = False) -> None:
        self._kind = kind
        self._chart = chart
        self._removing = removing
        self._make = _MAKERS.get(kind.name, _owned)

    def page(self, items: Iterable[dict[str, Any]]) -> Decoded:
        """Of several items with one id the newest counts (sheet 4); where none is newer, the last one, with a question.

        Raises:
            SchemaDrift: an item has no readable id, so that it could never leave the quarantine again.
        """
        rows: dict[tuple[str, str], Row] = {}
        removals: list[Removal] = []
        bad: list[BadRow] = []
        newest = 0
        for item in items:
            try:
                version = None if (stamp := item.get("Timestamp")) is None else wire.whole(stamp)
                if version is not None and version > newest:
                    newest = version
                row = self._make(self._kind, item, version, self._chart)
            except ValueError as error:
                key = str(essential(item, self._kind.key, self._kind.fields[self._kind.key]))
                bad.append(BadRow(kind=self._kind.name, key=key, reason=str(error), payload=item, group=_owner(item)))
                continue
            if row is not None:
                before = rows.setdefault((row.kind, row.key), row)
                if before is not row:
                    if before.version == version and before != row:
                        bad.append(BadRow(kind=self._kind.name, key=row.key, reason=_CONTRADICTION, payload=item))
                    if (before.version or 0) <= (version or 0):
                        rows[row.kind, row.key] = row
            if self._removing:
                removals += self._others(item, row, version)
        return Decoded(list(rows.values()), removals, bad, newest)

    def _others(self, item: dict[str, Any], row: Row | None, version: int | None) -> Iterable[Removal]:
        kinds = LINE_KINDS if self._kind.name == "line" else (self._kind.name,)
        key = str(item.get(self._kind.key)).lower()
        return (Removal(kind=kind, key=key, version=version) for kind in kinds if row is None or kind != row.kind)


def _term(kind: Kind, item: dict[str, Any], version: int | None, _chart: Chart) -> Row | None:
    if item.get("LineType", RECEIVABLE_LINE) != RECEIVABLE_LINE or item.get("Account") in (None, NIL):
        return None
    fields = _DECODERS[kind.name](item)
    return Row(
        kind="term",
        key=fields["ID"],
        group=fields["Account"],
        fields=fields,
        version=version,
        open=fields["Status"] < OPEN_BELOW,
    )


def _line(_kind: Kind, item: dict[str, Any], version: int | None, chart: Chart) -> Row | None:
    account = str(item.get("GLAccount")).lower()
    if account in chart.receivable:
        fields = _DECODERS["line"](item)
        group = fields.get("Account", UNASSIGNED)
        return Row(kind="line", key=fields["ID"], group=group, fields=fields, version=version)
    if account in chart.money:
        fields = _MONEY_DECODER(item)
        counts = fields.get("Type") == CASH_FLOW
        return Row(
            kind="bank",
            key=fields["ID"],
            group=f"bank/{fields.get('JournalCode', '')}",
            fields=fields,
            day=wire.iso_day(fields.get("Date")) if counts else None,
        )
    if account in chart.suspense and (
        chart.named_suspense or (item.get("Type") == CASH_FLOW and item.get("Account") in (None, NIL))
    ):
        fields = _MONEY_DECODER(item)
        return Row(kind="suspense", key=fields["ID"], group=f"suspense/{chart.suspense[account]}", fields=fields)
    return None


def _owned(kind: Kind, item: dict[str, Any], version: int | None, _chart: Chart) -> Row | None:
    """Items of an account: contacts, addresses and so on; one without an account is not about a customer."""
    fields = _DECODERS[kind.name](item)
    group = fields["ID"] if kind.name == "account" else fields.get("Account")
    if group is None:
        return None
    return Row(kind=kind.name, key=fields["ID"], group=group, fields=fields, version=version)


def _attachment(kind: Kind, item: dict[str, Any], version: int | None, _chart: Chart) -> Row:
    fields = _DECODERS[kind.name](item)
    parent = ("document", fields["Document"])
    return Row(kind=kind.name, key=fields["ID"], group=None, fields=fields, version=version, parent=parent)


def _document(kind: Kind, item: dict[str, Any], version: int | None, chart: Chart) -> Row | None:
    """Invoices and what hangs on a booking; the rest of the archive is not ours to keep."""
    if item.get("Type") != 10 and item.get("FinancialTransactionEntryID") in (None, NIL):
        return None
    return _owned(kind, item, version, chart)


def _glaccount(kind: Kind, item: dict[str, Any], version: int | None, _chart: Chart) -> Row | None:
    fields = _DECODERS[kind.name](item)
    if fields["Type"] not in {_RECEIVABLE_GL, *_MONEY_GL, *_SUSPENSE_GL} or fields.get("BalanceType") == "W":
        return None
    return _reference(kind, fields, version)


def _plain_reference(kind: Kind, item: dict[str, Any], version: int | None, _chart: Chart) -> Row:
    return _reference(kind, _DECODERS[kind.name](item), version)


def _reference(kind: Kind, fields: Fields, version: int | None) -> Row:
    return Row(kind=kind.name, key=str(fields[kind.key]), group=REFERENCE_GROUP, fields=fields, version=version)


def _owner(item: dict[str, Any]) -> str | None:
    """The account that an item names, if that much of it can be read."""
    try:
        return guid(item.get("Account"))
    except ValueError:
        return None


_MAKERS: Final = {
    "term": _term,
    "line": _line,
    "attachment": _attachment,
    "document": _document,
    "glaccount": _glaccount,
    "journal": _plain_reference,
    "condition": _plain_reference,
    "division": _plain_reference,
}


def reference(kind: str, key: str, fields: Fields) -> Row:
    """A fact that the adapter itself found out, for assembly and for later reads."""
    return Row(kind=kind, key=key, group=REFERENCE_GROUP, fields=fields)


def receivable_codes(references: References) -> tuple[str, ...]:
    return tuple(sorted(one["Code"] for one in references.get("glaccount", ()) if one["Type"] == _RECEIVABLE_GL))
