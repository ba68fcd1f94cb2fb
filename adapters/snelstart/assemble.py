"""From the rows of one relation to its records. Pure; the same answer for the same rows."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.snelstart.customers import Customers
from adapters.snelstart.kinds import MONEY, RECEIVABLES
from adapters.snelstart.rows import UNASSIGNED
from adapters.snelstart.settle import CURRENCY, Hints, Line, settle, settled_on, status
from connector.adapter import Assembled, BadRow, BankJournal, Fields, References, Unprocessed
from connector.domain.money import ZERO, exact
from connector.domain.records import Administration, Document, Invoice, InvoiceKind, Payment, PaymentKind
from connector.expressions import Source
from connector.mapping import Mapping

_MONEY_JOURNALS: Final = {"Bank": True, "Kas": False}
"""Sort of a journal -> whether it holds back what is known of payments: a cash book is often written up late."""


class SnelAssembler:
    """The assembler of one connection under one set of reference rows and one mapping."""

    def __init__(self, references: References, mapping: Mapping, administration: str) -> None:
        self._mapping = mapping
        self._administration = administration
        self._company: Fields = next(iter(references.get("company", ())), {})
        self._journals = {one["id"]: one for one in references.get("journal", ())}
        self._countries = {one["id"]: one["landcode"] for one in references.get("country", ()) if "landcode" in one}
        self._receivables = tuple(
            sorted(str(one["nummer"]) for one in references.get("ledger", ()) if one["grootboekfunctie"] == RECEIVABLES)
        )
        self._customers = Customers(mapping, self._company, self._countries)
        self._invoice = mapping.section("invoice")
        self._payment = mapping.section("payment")

    @property
    def digest(self) -> str:
        depends = (self._company, sorted(self._journals.items()), sorted(self._countries.items()))
        return hashlib.sha256(msgspec.json.encode(depends, order="sorted")).hexdigest()[:16]

    def administration(self) -> Administration:
        values: dict[str, Any] = {"name": self._administration}
        values |= self._mapping.section("administration")({"company": self._company})
        return Administration(
            external_id=self._administration,
            package="snelstart",
            currency=CURRENCY,
            receivable_accounts=self._receivables,
            **values,
        )

    def banks(self) -> MappingOf[str, BankJournal]:
        return {
            f"bank/{key}": BankJournal(
                journal=str(one["nummer"]), name=one.get("omschrijving", ""), blocks=_MONEY_JOURNALS[one["soort"]]
            )
            for key, one in self._journals.items()
            if one["soort"] in _MONEY_JOURNALS and not one.get("nonactief", False)
        }

    def unprocessed(self, suspense: Sequence[Fields]) -> Sequence[Unprocessed]:
        """Money on unknown payments; a line that takes the same amount off again cancels it."""
        waiting: dict[tuple[str, Decimal], list[Fields]] = {}
        for line in sorted(suspense, key=lambda line: (line.get("datum", ""), line["id"])):
            amount = Decimal(line["saldo"])
            opposite = waiting.get((line["grootboek"], -amount))
            if opposite:
                opposite.pop(0)
            elif amount:
                waiting.setdefault((line["grootboek"], amount), []).append(line)
        return [
            Unprocessed(day=date.fromisoformat(line["datum"]), amount=-amount)
            for (_, amount), lines in waiting.items()
            for line in lines
            if "datum" in line
        ]

    def assemble(self, group: str, rows: MappingOf[str, Sequence[Fields]]) -> Assembled:
        result = Assembled()
        source = self._customers.source(rows)
        found = rows.get("invoice", ())
        if group == UNASSIGNED or (source["relation"] is not None and self._mapping.leaves_out(source)):
            result.left_out = sum((Decimal(one["openstaandSaldo"]) for one in found), ZERO)
            return result
        lines = self._lines(group, rows)
        hints = Hints(rows.get("memorial", ()), found)
        self._customers.add(result, source, rows, needed=bool(found))
        for invoice in found:
            try:
                result.invoices.append(self._invoice_of(invoice, group, lines, hints, source))
            except ValueError as error:
                result.left_out += Decimal(invoice["openstaandSaldo"])
                result.bad.append(BadRow(kind="invoice", key=invoice["id"], reason=str(error), payload=invoice))
        self._add_payments(result, group, lines, {one.get("verkoopBoeking") for one in found}, source)
        return result

    def _lines(self, group: str, rows: MappingOf[str, Sequence[Fields]]) -> dict[str, list[Line]]:
        """By sale. A booking that settles sales of several relations is a payment of each."""
        found = [one for kind in MONEY for one in rows.get(kind, ())]
        held: defaultdict[str, int] = defaultdict(int)
        for one in found:
            held[one["booking"]] += 1
        by_sale: defaultdict[str, list[Line]] = defaultdict(list)
        for one in found:
            payment = one["booking"] if held[one["booking"]] == one["of"] else f"{one['booking']}/{group}"
            by_sale[one["sale"]].append(Line(one, exact(one["bedrag"], CURRENCY), payment))
        return by_sale

    def _invoice_of(
        self, invoice: Fields, group: str, lines: MappingOf[str, list[Line]], hints: Hints, source: Source
    ) -> Invoice:
        total, open_ = exact(invoice["factuurBedrag"], CURRENCY), exact(invoice["openstaandSaldo"], CURRENCY)
        number, sale = invoice.get("factuurnummer"), invoice.get("verkoopBoeking", "")
        settlements = settle(number, total, open_, lines.get(sale, ()), hints)
        return Invoice(
            external_id=invoice["id"],
            kind=_kind(invoice, total),
            customer=group,
            debtor=self._customers.debtor(source["relation"]),
            currency=CURRENCY,
            total=total,
            open=open_,
            base_currency=CURRENCY,
            base_total=total,
            base_open=open_,
            payment_status=status(total, open_, settlements),
            settled_on=settled_on(open_, settlements),
            settlements=tuple(settlements),
            documents=tuple(self._documents(invoice)),
            **self._invoice({**source, "invoice": invoice}),
        )

    def _documents(self, invoice: Fields) -> Iterator[Document]:
        """Where they would be; nobody asks before a document is wanted, as each answer costs a call (sheet 5.8)."""
        if "verkoopBoeking" in invoice and self._company.get("factuurAlsBijlageVerkoopboeking", False):
            yield Document(kind="invoice_pdf", handle=f"verkoopboekingen/{invoice['verkoopBoeking']}")
        if "verkoopOrders" in invoice:  # made in SnelStart itself (sheet 5.2)
            yield Document(kind="ubl", handle=f"verkoopfacturen/{invoice['id']}")

    def _add_payments(
        self,
        result: Assembled,
        group: str,
        lines: MappingOf[str, list[Line]],
        sales: set[str | None],
        source: Source,
    ) -> None:
        """What each booking put on the invoices of this relation; a line of a sale that is not known says nothing."""
        by_payment: defaultdict[str, list[Line]] = defaultdict(list)
        for sale, of_sale in lines.items():
            if sale in sales:
                for line in of_sale:
                    by_payment[line.payment].append(line)
        for key, of_payment in sorted(by_payment.items()):
            amount = -sum((line.amount for line in of_payment), ZERO)
            head = of_payment[0].fields
            journal = self._journals.get(head.get("dagboek", ""))
            try:
                values = self._payment({**source, "line": head, "journal": journal})
                result.payments.append(
                    Payment(
                        external_id=key,
                        kind=_payment_kind(amount, journal),
                        customer=group,
                        currency=CURRENCY,
                        amount=amount,
                        unallocated=ZERO,
                        base_currency=CURRENCY,
                        base_amount=amount,
                        base_unallocated=ZERO,
                        **values,
                    )
                )
            except ValueError as error:
                result.bad.append(BadRow(kind="bankline", key=key, reason=str(error), payload=head))


def _kind(invoice: Fields, total: Decimal) -> InvoiceKind:
    """A credit note is an invoice below zero; what has no booking was open before the books began (sheet 13.6)."""
    if total < 0:
        return "credit_note"
    return "invoice" if "verkoopBoeking" in invoice else "opening_balance"


def _payment_kind(amount: Decimal, journal: Fields | None) -> PaymentKind:
    if not amount:
        return "set_off"
    if journal is not None and journal["soort"] == "Kas":
        return "cash"
    return "receipt" if amount > 0 else "refund"
