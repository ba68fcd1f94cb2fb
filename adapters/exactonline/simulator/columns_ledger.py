"""Fields of the ledger: lines, sales entries, balances."""

from datetime import date
from decimal import Decimal

from adapters.exactonline.simulator.encoding import padded
from adapters.exactonline.simulator.tables import Columns
from adapters.exactonline.simulator.world import World
from adapters.simulation.ledger import AccountKind, Entry, EntryKind, Line

ENTRY_TYPES = {
    EntryKind.OPENING: 10,
    EntryKind.SALES: 20,
    EntryKind.CREDIT_NOTE: 21,
    EntryKind.PURCHASE: 30,
    EntryKind.CASH_FLOW: 40,
    EntryKind.EXCHANGE_DIFFERENCE: 82,
    EntryKind.PAYMENT_DIFFERENCE: 83,
    EntryKind.GENERAL: 90,
}
_INVOICED = {EntryKind.SALES, EntryKind.CREDIT_NOTE, EntryKind.PURCHASE}
_VAT_LINE = 9999


def line_number(line: Line) -> int:
    """0 is the header of an invoice and the bank's side of a receipt; elsewhere it means nothing."""
    kind = line.entry.kind
    if kind in _INVOICED:
        return _VAT_LINE if line.account.kind is AccountKind.VAT else line.position
    return line.position if kind is EntryKind.CASH_FLOW else line.position + 1


def offset(line: Line) -> str | None:
    """The other line of a bank or cash pair."""
    lines = line.entry.lines
    if line.entry.kind is not EntryKind.CASH_FLOW or len(lines) != 2:
        return None
    return lines[1 - line.position].id


def entry_status(world: World, on: date) -> int:
    """20 until the period is closed; says nothing about payment."""
    today = world.books.today
    return 20 if (today - on).days < 90 else 50


def transaction_lines(world: World) -> Columns:
    """Document stays null: an invoice's PDF is found by its number (sheet 11)."""
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "EntryID": lambda row: row.entry.id,
        "EntryNumber": lambda row: row.entry.number,
        "LineNumber": line_number,
        "LineType": lambda _: 0,
        "JournalCode": lambda row: row.entry.journal.code,
        "JournalDescription": lambda row: row.entry.journal.name,
        "Type": lambda row: ENTRY_TYPES[row.entry.kind],
        "Status": lambda row: entry_status(world, row.entry.on),
        "Date": lambda row: row.entry.on,
        "DueDate": lambda row: row.entry.due_date,
        "FinancialYear": lambda row: row.entry.on.year,
        "FinancialPeriod": lambda row: row.entry.on.month,
        "Account": lambda row: row.customer.id if row.customer else None,
        "AccountCode": lambda row: padded(row.customer.number) if row.customer else None,
        "AccountName": lambda row: row.customer.name if row.customer else None,
        "GLAccount": lambda row: row.account.id,
        "GLAccountCode": lambda row: row.account.code,
        "GLAccountDescription": lambda row: row.account.name,
        "AmountDC": lambda row: row.base,
        "AmountFC": lambda row: row.amount,
        "Currency": lambda row: row.entry.currency,
        "ExchangeRate": lambda row: row.entry.rate,
        "InvoiceNumber": lambda row: row.invoice_number,
        "YourRef": lambda row: row.entry.reference,
        "PaymentReference": lambda row: row.entry.payment_reference,
        "OrderNumber": lambda row: row.entry.order_number,
        "Description": lambda row: row.text,
        "OffsetID": offset,
        "PaymentDiscountAmount": lambda row: row.discount,
        "VATCode": lambda row: "VB " if row.account.kind is AccountKind.VAT else None,
        "Created": lambda row: local(row.entry.created),
        "Modified": lambda row: local(row.entry.modified),
        "Creator": lambda _: world.user_id,
        "CreatorFullName": lambda _: "Robin Voorbeeld",
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[1].version(row.id),
    }


def sales_entries(world: World) -> Columns:
    local = world.clock.local

    def tax(entry: Entry) -> Decimal:
        return -sum((line.amount for line in entry.lines if line.account.kind is AccountKind.VAT), Decimal(0))

    def base_tax(entry: Entry) -> Decimal:
        return -sum((line.base for line in entry.lines if line.account.kind is AccountKind.VAT), Decimal(0))

    conditions = world.books.relations.conditions
    return {
        "EntryID": lambda row: row.id,
        "EntryNumber": lambda row: row.number,
        "InvoiceNumber": lambda row: row.number,
        "EntryDate": lambda row: row.on,
        "DueDate": lambda row: row.due_date,
        "OrderNumber": lambda row: row.order_number,
        "Customer": lambda row: row.lines[0].customer.id,
        "CustomerName": lambda row: row.lines[0].customer.name,
        "Currency": lambda row: row.currency,
        "Rate": lambda row: row.rate,
        "AmountFC": lambda row: row.lines[0].amount,
        "AmountDC": lambda row: row.lines[0].base,
        "VATAmountFC": tax,
        "VATAmountDC": base_tax,
        "GAccountAmountFC": lambda row: row.blocked_amount,
        "Journal": lambda row: row.journal.code,
        "JournalDescription": lambda row: row.journal.name,
        "PaymentCondition": lambda row: row.condition,
        "PaymentConditionDescription": lambda row: conditions[row.condition].name,
        "PaymentConditionPaymentMethod": lambda row: "I" if conditions[row.condition].collected else "B",
        "PaymentReference": lambda row: row.payment_reference,
        "YourRef": lambda row: row.reference,
        "Description": lambda row: row.text,
        "Type": lambda row: ENTRY_TYPES[row.kind],
        "Status": lambda row: entry_status(world, row.on),
        "Reversal": lambda _: False,
        "ReportingYear": lambda row: row.on.year,
        "ReportingPeriod": lambda row: row.on.month,
        "Created": lambda row: local(row.created),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
    }
