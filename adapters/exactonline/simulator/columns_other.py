"""Fields of documents and deletions, and the rows that are made up for the asking."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapters.exactonline.simulator.columns_ledger import ENTRY_TYPES
from adapters.exactonline.simulator.columns_master import GL_TYPES
from adapters.exactonline.simulator.encoding import EMPTY_GUID, derived_id, padded
from adapters.exactonline.simulator.tables import Column, Columns
from adapters.exactonline.simulator.world import World
from adapters.simulation.documents import Attachment
from adapters.simulation.ledger import LedgerAccount

_SALES_INVOICE = 10
_BALANCE_SHEET = range(100)
"""Types of ledger accounts whose balance is carried over to the next year."""


def documents(world: World) -> Columns:
    """FinancialTransactionEntryID holds the id of the sales invoice, which is not that of its entry."""
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "HID": lambda row: row.number,
        "Account": lambda row: row.customer.id,
        "AccountCode": lambda row: padded(row.customer.number),
        "AccountName": lambda row: row.customer.name,
        "AmountFC": lambda row: row.entry.lines[0].amount,
        "Currency": lambda row: row.entry.currency,
        "Type": lambda _: _SALES_INVOICE,
        "TypeDescription": lambda _: "Sales invoice",
        "Subject": lambda row: row.subject,
        "DocumentDate": lambda row: row.entry.on,
        "FinancialTransactionEntryID": lambda row: derived_id(row.entry.id),
        "SalesInvoiceNumber": lambda row: row.entry.number,
        "HasEmptyBody": lambda _: True,
        "Created": lambda row: local(row.created),
        "Modified": lambda row: local(row.created),
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[6].version(row.id),
    }


def attachments(world: World, origin: Column) -> Columns:
    """`origin` tells where the files can be fetched."""

    def url(row: Attachment) -> str:
        return f"{origin(row)}/docs/SysAttachment.aspx?ID={row.id}&_Division_={world.division}&Stamp=NL001"

    return {
        "ID": lambda row: row.id,
        "Document": lambda row: row.document.id,
        "FileName": lambda row: row.name,
        "FileSize": lambda row: len(row.content()),
        "Url": url,
        "Timestamp": lambda row: world.feeds[4].version(row.id),
    }


def deletions(world: World) -> Columns:
    local = world.clock.local
    return {
        "Timestamp": lambda row: row.version,
        "ID": lambda row: row.id,
        "EntityKey": lambda row: row.key,
        "EntityType": lambda row: row.kind,
        "Division": lambda _: world.division,
        "DeletedBy": lambda _: world.user_id,
        "DeletedDate": lambda row: local(row.at),
    }


@dataclass(frozen=True, slots=True)
class Balance:
    """One sum of ReportingBalance."""

    id: int
    account: LedgerAccount
    year: int
    period: int
    kind: int
    amount: Decimal


def balances(world: World) -> Iterator[Balance]:
    """Sums per account, period and kind; with opening rows, earlier years come as period 0 of each year."""
    ledger = world.books.ledger
    number = 0
    years = sorted({year for _, year, _, _ in ledger.totals})
    carried: dict[tuple[str, int], Decimal] = {}
    for (code, year, month, kind), amount in ledger.totals.items():
        number += 1
        yield Balance(number, ledger.accounts[code], year, month, ENTRY_TYPES[kind], amount)
        if GL_TYPES[ledger.accounts[code].kind] in _BALANCE_SHEET:
            for later in years:
                if later > year:
                    carried[code, later] = carried.get((code, later), Decimal(0)) + amount
    if world.settings.opening_rows:
        for (code, year), amount in carried.items():
            number += 1
            yield Balance(number, ledger.accounts[code], year, 0, 10, amount)


def reporting_balance(world: World) -> Columns:
    zero = Decimal(0)
    return {
        "ID": lambda row: row.id,
        "Amount": lambda row: row.amount,
        "AmountDebit": lambda row: max(row.amount, zero),
        "AmountCredit": lambda row: max(-row.amount, zero),
        "BalanceType": lambda row: "B" if GL_TYPES[row.account.kind] in _BALANCE_SHEET else "W",
        "Count": lambda _: 1,
        "Division": lambda _: world.division,
        "GLAccount": lambda row: row.account.id,
        "GLAccountCode": lambda row: row.account.code,
        "GLAccountDescription": lambda row: row.account.name,
        "ReportingPeriod": lambda row: row.period,
        "ReportingYear": lambda row: row.year,
        "Status": lambda row: 20 if row.period and row.year == world.books.today.year else 50,
        "Type": lambda row: row.kind,
    }


def me(world: World, current_division: int) -> dict[str, Any]:
    now = world.books.clock.now()
    return {
        "UserID": world.user_id,
        "CurrentDivision": current_division,
        "AccountingDivision": current_division,
        "DivisionCustomer": world.customer_id,
        "DivisionCustomerCode": padded(1_000_042),
        "DivisionCustomerName": world.books.administration.name,
        "FullName": "Robin Voorbeeld",
        "FirstName": "Robin",
        "LastName": "Voorbeeld",
        "UserName": "robin@voorbeeld.example",
        "Email": "robin@voorbeeld.example",
        "Language": "NL",
        "LanguageCode": "nl-NL",
        "Legislation": "1",
        "PackageCode": "EOLAPPCENTER",
        "EmployeeID": EMPTY_GUID,
        "ServerTime": world.clock.local(now).replace(microsecond=0).isoformat(),
        "ServerUtcOffset": world.clock.offset(now),
    }


def division(world: World, code: int, current_division: int, hid: int) -> dict[str, Any]:
    administration = world.books.administration
    own = code == world.division
    return {
        "Code": code,
        "HID": hid,
        "Hid": hid,
        "Description": administration.name if own else f"Administratie {code}",
        "Customer": world.customer_id,
        "CustomerCode": padded(1_000_042),
        "CustomerName": administration.name,
        "Country": f"{administration.country:<3}",
        "Legislation": f"{administration.country:<3}",
        "Currency": administration.currency,
        "ChamberOfCommerceNumber": administration.coc_number if own else None,
        "VATNumber": administration.vat_number if own else None,
        "Status": 1,
        "BlockingStatus": world.settings.division_blocking_status if own else 0,
        "Current": code == current_division,
        "IsMainDivision": own,
        "DivisionMoveDate": world.clock.local(world.moved) if own and world.moved else None,
        "DivisionHRLinkUnlinkDate": None,
    }


def plain(names: tuple[str, ...]) -> Columns:
    """Columns of rows that are dictionaries already."""

    def read(name: str) -> Column:
        return lambda row: row.get(name)

    return {name: read(name) for name in names}
