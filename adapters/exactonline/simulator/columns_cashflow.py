"""Fields of the payment terms, under their three names, and of the open-items report."""

from datetime import date, timedelta
from decimal import Decimal

from adapters.exactonline.simulator.columns_ledger import ENTRY_TYPES, entry_status
from adapters.exactonline.simulator.encoding import derived_id, padded
from adapters.exactonline.simulator.tables import Columns
from adapters.exactonline.simulator.terms import MATCHED, SENT, Term
from adapters.exactonline.simulator.world import World
from adapters.simulation.ledger import AccountKind
from adapters.simulation.matching import Item, ItemKind
from adapters.simulation.relations import PaymentCondition

_CHARGED = {ItemKind.INVOICE, ItemKind.CREDIT_NOTE, ItemKind.OPENING_BALANCE, ItemKind.JOURNAL}


def named_charge(term: Term) -> Item | None:
    """The invoice a receipt or write-off is for: known only when it was matched with exactly one."""
    if term.match is None:
        return None
    charges = [part.item for part in term.match.parts if part.item.kind in _CHARGED]
    return charges[0] if len(charges) == 1 else None


def invoice_number(term: Term) -> int | None:
    if term.item is None or term.item.kind in _CHARGED:
        return term.line.invoice_number
    charge = named_charge(term)
    return charge.line.invoice_number if charge else None


def reference(term: Term) -> str | None:
    if term.item is None or term.item.kind in _CHARGED:
        return term.line.entry.reference
    charge = named_charge(term)
    return charge.line.entry.reference if charge else None


def due_date(term: Term) -> date | None:
    return term.item.due_date if term.item else term.line.entry.due_date


def _ended(term: Term) -> date | None:
    """The latest invoice date among what was matched, which is not the day of matching."""
    return max(part.item.line.entry.on for part in term.match.parts) if term.match else None


def _last_paid(term: Term) -> date | None:
    if term.match is None:
        return None
    paid = (part.item.line for part in term.match.parts if part.item.kind is ItemKind.RECEIPT)
    return max((line.entry.on for line in paid), default=None)


def payment_terms(world: World) -> Columns:
    settings, local = world.settings, world.clock.local

    def signed(amount: Decimal) -> Decimal:
        return amount * settings.receivable_sign

    def condition(term: Term) -> PaymentCondition | None:
        return world.books.relations.conditions.get(term.line.entry.condition or "")

    def discount_date(term: Term) -> date | None:
        rule = condition(term)
        if rule is None or not rule.discount_days:
            return None
        return term.line.entry.on + timedelta(days=rule.discount_days)

    def discount(term: Term, of: Decimal) -> Decimal:
        rule = condition(term)
        share = rule.discount_percentage if rule else 0
        return (signed(of) * share / 100).quantize(Decimal("0.01"))

    def batch(term: Term) -> int | None:
        return term.item.batch if term.item and term.status >= SENT else None

    return {
        "ID": lambda row: row.id,
        "LineType": lambda row: row.line_type,
        "Status": lambda row: row.status,
        "IsFullyPaid": lambda row: row.status == MATCHED,
        "AmountDC": lambda row: signed(row.base),
        "AmountFC": lambda row: signed(row.amount),
        "AmountDiscountDC": lambda row: discount(row, row.base),
        "AmountDiscountFC": lambda row: discount(row, row.amount),
        "RateFC": lambda row: row.line.entry.rate,
        "Currency": lambda row: row.line.entry.currency,
        "TransactionAmountDC": lambda row: row.line.base * settings.transaction_sign,
        "TransactionAmountFC": lambda row: row.line.amount * settings.transaction_sign,
        "TransactionID": lambda row: row.line.id,
        "TransactionEntryID": lambda row: row.line.entry.id,
        "TransactionType": lambda row: ENTRY_TYPES[row.line.entry.kind],
        "TransactionStatus": lambda row: entry_status(world, row.line.entry.on),
        "TransactionIsReversal": lambda _: False,
        "TransactionDueDate": lambda row: row.line.entry.due_date,
        "TransactionReportingYear": lambda row: row.line.entry.on.year,
        "TransactionReportingPeriod": lambda row: row.line.entry.on.month,
        "EntryNumber": lambda row: row.line.entry.number,
        "EntryDate": lambda row: row.line.entry.on,
        "InvoiceNumber": invoice_number,
        "InvoiceDate": lambda row: row.line.entry.on,
        "Journal": lambda row: row.line.entry.journal.code,
        "JournalDescription": lambda row: row.line.entry.journal.name,
        "OrderNumber": lambda row: row.line.entry.order_number,
        "YourRef": reference,
        "Description": lambda row: row.line.text,
        "PaymentReference": lambda row: row.line.entry.payment_reference,
        "DueDate": due_date,
        "DiscountDueDate": discount_date,
        "PaymentDays": lambda row: rule.days if (rule := condition(row)) else 0,
        "PaymentDaysDiscount": lambda row: rule.discount_days if (rule := condition(row)) else 0,
        "PaymentDiscountPercentage": lambda row: rule.discount_percentage if (rule := condition(row)) else 0,
        "PaymentCondition": lambda row: row.line.entry.condition,
        "PaymentConditionDescription": lambda row: rule.name if (rule := condition(row)) else None,
        "PaymentMethod": lambda row: "I" if (rule := condition(row)) and rule.collected else "B",
        "EndDate": _ended,
        "EndYear": lambda row: ended.year if (ended := _ended(row)) else None,
        "EndPeriod": lambda row: ended.month if (ended := _ended(row)) else None,
        "LastPaymentDate": _last_paid,
        "EntryID": lambda row: derived_id(row.id),
        "Account": lambda row: row.line.customer.id if row.line.customer else None,
        "AccountCode": lambda row: padded(row.line.customer.number) if row.line.customer else None,
        "AccountName": lambda row: row.line.customer.name if row.line.customer else None,
        "GLAccount": lambda row: row.line.account.id,
        "GLAccountCode": lambda row: row.line.account.code,
        "GLAccountDescription": lambda row: row.line.account.name,
        "DirectDebitMandate": lambda row: (
            row.item.customer.mandate.id if batch(row) and row.item.customer.mandate else None
        ),
        "DirectDebitMandateReference": lambda row: (
            row.item.customer.mandate.reference if batch(row) and row.item.customer.mandate else None
        ),
        "ReceivableBatchNumber": batch,
        "CashflowTransactionBatchCode": lambda row: f"B{number:05d}" if (number := batch(row)) else None,
        "EndToEndID": lambda row: f"{number}-{row.line.entry.number}" if (number := batch(row)) else None,
        "Source": lambda _: 1,
        "Created": lambda row: local(row.created),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[10].version(row.id),
    }


def receivables_list(world: World) -> Columns:
    """One row per open term, as in the outstanding-items report (sheet 8.2)."""
    settings = world.settings

    def amount(term: Term) -> Decimal:
        return term.base * settings.receivables_list_sign

    return {
        "HID": lambda row: row.number,
        "Id": lambda row: row.id,
        "AccountId": lambda row: row.line.customer.id,
        "AccountCode": lambda row: padded(row.line.customer.number),
        "AccountName": lambda row: row.line.customer.name,
        "Amount": amount,
        "AmountInTransit": lambda row: amount(row) if row.status == SENT else 0,
        "CurrencyCode": lambda _: world.books.administration.currency,
        "Description": lambda row: row.line.text,
        "DueDate": due_date,
        "EntryNumber": lambda row: row.line.entry.number,
        "InvoiceDate": lambda row: row.line.entry.on,
        "InvoiceNumber": lambda row: row.line.invoice_number,
        "JournalCode": lambda row: row.line.entry.journal.code,
        "JournalDescription": lambda row: row.line.entry.journal.name,
        "YourRef": lambda row: row.line.entry.reference if row.item.kind in _CHARGED else None,
    }


def outstanding(world: World) -> list[dict[str, object]]:
    """The one row per currency of OutstandingInvoicesOverview, in the administration's currency."""
    terms = list(world.terms.open.values())
    invoices = [term for term in terms if term.item is not None and term.item.kind is ItemKind.INVOICE]
    overdue = [term for term in invoices if term.item and term.item.due_date < world.books.today]
    payables = [term for term in terms if term.line.account.kind is AccountKind.PAYABLE]

    def total(some: list[Term]) -> Decimal:
        return sum((term.base for term in some), Decimal(0))

    return [
        {
            "CurrencyCode": world.books.administration.currency,
            "OutstandingReceivableInvoiceAmount": total(invoices),
            "OutstandingReceivableInvoiceCount": len(invoices),
            "OverdueReceivableInvoiceAmount": total(overdue),
            "OverdueReceivableInvoiceCount": len(overdue),
            "OutstandingPayableInvoiceAmount": -total(payables),
            "OutstandingPayableInvoiceCount": len(payables),
            "OverduePayableInvoiceAmount": 0,
            "OverduePayableInvoiceCount": 0,
        }
    ]
