"""From the rows of one account to its records. Pure; the same answer for the same rows."""

import hashlib
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.exactonline.balance import MINUS
from adapters.exactonline.customers import Customers
from adapters.exactonline.documents import Documents
from adapters.exactonline.items import CREDIT, OPENING, SALES, Books, Item, Unreadable, items
from adapters.exactonline.kinds import MONEY_JOURNALS, OPEN_BELOW
from adapters.exactonline.rows import UNASSIGNED, receivable_codes
from adapters.exactonline.settle import Settled, settle, settled_on, status
from connector.adapter import Assembled, BadRow, BankJournal, Fields, References, Unprocessed
from connector.domain.money import ZERO
from connector.domain.records import (
    Administration,
    Instalment,
    Invoice,
    InvoiceKind,
    Payment,
    PaymentKind,
    PaymentTerms,
)
from connector.mapping import Mapping

_CASH, _PSP = 10, 16
_SELECTED, _SENT = 30, 40


class ExactAssembler:
    """The assembler of one connection under one set of reference rows and one mapping."""

    def __init__(self, references: References, mapping: Mapping, administration: str) -> None:
        self._references = references
        self._mapping = mapping
        self._administration = administration
        self._division: Fields = next(iter(references.get("division", ())), {})
        calibration: Fields = next(iter(references.get("calibration", ())), {})
        self._journals = {one["Code"]: one for one in references.get("journal", ())}
        self._conditions = {one["Code"]: one for one in references.get("condition", ())}
        self._books = Books(
            sign=calibration.get("Sign", MINUS),
            currency=self._division.get("Currency", "EUR"),
            journals={code: one["Type"] for code, one in self._journals.items()},
        )
        self._customers = Customers(mapping, self._division, self._terms)
        self._terms_known: dict[str, PaymentTerms] = {}
        self._invoice = mapping.section("invoice")
        self._payment = mapping.section("payment")

    @property
    def digest(self) -> str:
        depends = (self._books, self._division, sorted(self._journals.items()), sorted(self._conditions.items()))
        return hashlib.sha256(msgspec.json.encode(depends, order="sorted")).hexdigest()[:16]

    def administration(self) -> Administration:
        ibans = [iban for one in self._journals.values() if (iban := one.get("BankAccountIBAN"))]
        values: dict[str, Any] = {"name": self._administration, "ibans": tuple(sorted(ibans))}
        values |= self._mapping.section("administration")({"division": self._division})
        return Administration(
            external_id=self._administration,
            package="exactonline",
            currency=self._books.currency,
            receivable_accounts=receivable_codes(self._references),
            **values,
        )

    def banks(self) -> MappingOf[str, BankJournal]:
        """A cash book is often written up late, so it does not hold back what the bank says."""
        return {
            f"bank/{code}": BankJournal(
                journal=code,
                name=one.get("Description", ""),
                iban=one.get("BankAccountIBAN"),
                blocks=one["Type"] != _CASH,
            )
            for code, one in self._journals.items()
            if one["Type"] in MONEY_JOURNALS
        }

    def unprocessed(self, suspense: Sequence[Fields]) -> Sequence[Unprocessed]:
        """Money on suspense accounts; a booking that takes the same amount off again cancels it."""
        waiting: dict[tuple[str, Decimal], list[Fields]] = {}
        for line in sorted(suspense, key=lambda line: str(line.get("Date"))):
            amount = Decimal(line["AmountDC"])
            opposite = waiting.get((line["GLAccount"], -amount))
            if opposite:
                opposite.pop(0)
            else:
                waiting.setdefault((line["GLAccount"], amount), []).append(line)
        return [
            Unprocessed(day=date.fromisoformat(line["Date"]), amount=-amount)
            for (_, amount), lines in waiting.items()
            for line in lines
            if "Date" in line
        ]

    def assemble(self, group: str, rows: MappingOf[str, Sequence[Fields]]) -> Assembled:
        result = Assembled()
        if group == UNASSIGNED:
            result.left_out = sum((Decimal(line["AmountDC"]) for line in rows.get("line", ())), ZERO)
            return result
        account = next(iter(rows.get("account", ())), None)
        source = self._customers.source(rows)
        found = list(items(rows.get("line", ()), rows.get("term", ()), self._books))
        good = [item for item in found if isinstance(item, Item)]
        for item in found:
            if isinstance(item, Unreadable):
                result.left_out += item.base_open
                result.bad.append(BadRow(kind="line", key=item.id, reason=item.reason, payload=item.payload))
        if account is not None and self._mapping.leaves_out(source):
            result.left_out += sum((item.base_open for item in good), ZERO)
            return result
        self._customers.add(result, source, rows, needed=bool(good))
        self._add_items(result, group, source, good, Documents(rows))
        return result

    def _add_items(
        self, result: Assembled, group: str, source: MappingOf[str, Any], good: Sequence[Item], documents: Documents
    ) -> None:
        settled = settle(good)
        for item in good:
            if item.id in settled.absorbed or not item.terms:
                continue
            if not self._mapping.journals.count(item.journal):
                result.left_out += item.base_open
                continue
            of_item = self._source(item, source)
            try:
                if item.money:
                    result.payments.append(self._payment_of(item, group, of_item))
                else:
                    result.invoices.append(self._invoice_of(settled, documents, item, group, of_item))
            except ValueError as error:
                result.left_out += item.base_open
                payload = {"line": item.line, "terms": item.terms}
                result.bad.append(BadRow(kind="line", key=item.id, reason=str(error), payload=payload))

    def _source(self, item: Item, of_account: MappingOf[str, Any]) -> MappingOf[str, Any]:
        return {
            "line": item.line,
            "term": item.head,
            "journal": self._journals.get(item.journal or ""),
            "account": of_account["account"],
            "division": self._division,
        }

    def _invoice_of(
        self, settled: Settled, documents: Documents, item: Item, group: str, source: MappingOf[str, Any]
    ) -> Invoice:
        settlements = settled.by_item[item.id]
        return Invoice(
            external_id=item.id,
            kind=_kind(item),
            customer=group,
            debtor=self._customers.debtor(source["account"]),
            currency=item.currency,
            total=item.total,
            open=item.open,
            base_currency=self._books.currency,
            base_total=item.base_total,
            base_open=item.base_open,
            payment_status=status(item, settlements),
            settled_on=settled_on(item, settlements),
            settlements=tuple(settlements),
            instalments=self._instalments(item),
            collection_state=_collection(item),
            terms=self._terms(item.head.get("PaymentCondition")),
            documents=documents.of(item),
            **self._invoice(source),
        )

    def _payment_of(self, item: Item, group: str, source: MappingOf[str, Any]) -> Payment:
        values = self._payment(source)
        if self._customers.erased(source["account"]):
            values = {name: value for name, value in values.items() if name not in _PAYER}
        return Payment(
            external_id=item.id,
            kind=self._payment_kind(item),
            customer=group,
            currency=item.currency,
            amount=-item.total or ZERO,
            unallocated=-item.open or ZERO,
            base_currency=self._books.currency,
            base_amount=-item.base_total or ZERO,
            base_unallocated=-item.base_open or ZERO,
            **values,
        )

    def _payment_kind(self, item: Item) -> PaymentKind:
        if item.total > 0:
            reversal = any(term.get("TransactionIsReversal") for term in item.terms)
            return "chargeback" if reversal else "refund"
        match self._books.journals.get(item.journal or ""):
            case 10:
                return "cash"
            case 16:
                return "psp_settlement"
            case _:
                return "receipt"

    def _instalments(self, item: Item) -> tuple[Instalment, ...]:
        """One per due date; slices of one due date are what partial payments leave behind."""
        if len(item.terms) < 2:
            return ()
        by_day: dict[str, list[Decimal]] = {}
        for term in item.terms:
            amount = self._books.sign * Decimal(
                term["AmountDC"] if item.currency == self._books.currency else term["AmountFC"]
            )
            sums = by_day.setdefault(term.get("DueDate", ""), [ZERO, ZERO])
            sums[0] += amount
            sums[1] += amount if term["Status"] < OPEN_BELOW else ZERO
        if len(by_day) < 2:
            return ()
        return tuple(
            Instalment(due_date=date.fromisoformat(day) if day else None, amount=amount, open=open_)
            for day, (amount, open_) in sorted(by_day.items())
        )

    def _terms(self, code: str | None) -> PaymentTerms | None:
        condition = self._conditions.get(code or "")
        if code is None or condition is None:
            return None
        if code not in self._terms_known:
            self._terms_known[code] = PaymentTerms(**self._mapping.section("terms")({"condition": condition}))
        return self._terms_known[code]


_PAYER: Final = frozenset({"payer_name", "payer_iban", "remittance"})


def _kind(item: Item) -> InvoiceKind:
    """By the sign in the ledger, not by the type: many book a credit note as a negative sales entry (sheet 6)."""
    if item.type in {SALES, CREDIT}:
        return "credit_note" if item.total < 0 else "invoice"
    return "opening_balance" if item.type == OPENING else "journal"


def _collection(item: Item) -> Any:
    states = {term["Status"] for term in item.terms}
    return "sent" if _SENT in states else "selected" if _SELECTED in states else None
