"""What is read of each kind of item: where, and which of its fields are kept.

The same fields are kept whether an item came from a sync feed, a bulk read or a look-up by id, so that an unchanged
item always gives an identical row. `IsFullyPaid` is not among them: it does not say what its name says (sheet 16.12).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from adapters.exactonline.wire import amount, day, flag, local_time, number, whole
from connector.decoding import Decode, guid, text

OPEN_BELOW: Final = 50
"""Payment terms below this status are open: 20 open, 30 selected for collection, 40 sent, 50 matched (sheet 8.1)."""

TERM_STATUSES: Final = frozenset({20, 30, 40, OPEN_BELOW})

RECEIVABLE_LINE: Final = 20
CASH_FLOW: Final = 40
MONEY_JOURNALS: Final = {10: "cash", 12: "bank", 16: "payment service"}


class Kind(NamedTuple):
    """One kind of item: where it is read, and what is kept of it."""

    name: str
    by_key: str
    """The endpoint that finds items by their ids."""
    fields: dict[str, Decode]
    required: tuple[str, ...] = ("ID",)
    sync: str | None = None
    transient: tuple[str, ...] = ()
    """Fields that are asked for but not kept."""
    sync_only: tuple[str, ...] = ("Timestamp", "Division")
    """The same for the sync endpoint alone; bulk endpoints refuse these."""
    key: str = "ID"

    def select(self) -> str:
        return ",".join((*self.fields, *self.transient))

    def among(self, keys: Iterable[str]) -> str:
        """The filter for the items with these keys."""
        return " or ".join(f"ID eq guid'{key}'" if self.key == "ID" else f"{self.key} eq {key}" for key in keys)

    def select_sync(self) -> str:
        return ",".join((*self.fields, *self.sync_only))


def term_status(value: Any) -> int:
    """One that nobody has heard of does not say whether money is owed."""
    status = whole(value)
    if status not in TERM_STATUSES:
        raise ValueError(f"{status} is not a known status of a payment term")
    return status


_TERM: dict[str, Decode] = {
    "ID": guid,
    "Account": guid,
    "Status": term_status,
    "AmountDC": amount,
    "AmountFC": amount,
    "Currency": text,
    "RateFC": number,
    "TransactionID": guid,
    "TransactionEntryID": guid,
    "TransactionType": whole,
    "TransactionAmountDC": amount,
    "TransactionAmountFC": amount,
    "TransactionIsReversal": flag,
    "EntryNumber": whole,
    "InvoiceNumber": whole,
    "InvoiceDate": day,
    "DueDate": day,
    "EndDate": day,
    "LastPaymentDate": day,
    "Journal": text,
    "OrderNumber": whole,
    "YourRef": text,
    "Description": text,
    "PaymentReference": text,
    "PaymentCondition": text,
    "PaymentMethod": text,
    "DirectDebitMandate": guid,
    "AccountBankAccountNumber": text,
    "EndToEndID": text,
    "Document": guid,
}
_LINE: dict[str, Decode] = {
    "ID": guid,
    "Account": guid,
    "EntryID": guid,
    "EntryNumber": whole,
    "JournalCode": text,
    "Type": whole,
    "Date": day,
    "DueDate": day,
    "GLAccount": guid,
    "AmountDC": amount,
    "AmountFC": amount,
    "Currency": text,
    "ExchangeRate": number,
    "InvoiceNumber": whole,
    "OrderNumber": whole,
    "YourRef": text,
    "PaymentReference": text,
    "Description": text,
    "Document": guid,
}
MONEY_LINE: Final[dict[str, Decode]] = {
    name: _LINE[name] for name in ("ID", "Date", "JournalCode", "Type", "GLAccount", "AmountDC")
}
"""What is kept of a line on a bank, cash or suspense account."""

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "term",
            "bulk/Cashflow/Receivables",
            _TERM,
            ("ID", "Account", "Status", "AmountDC", "TransactionID"),
            "sync/Cashflow/PaymentTerms",
            sync_only=("Timestamp", "Division", "LineType"),
        ),
        Kind(
            "line",
            "bulk/Financial/TransactionLines",
            _LINE,
            ("ID", "AmountDC", "GLAccount"),
            "sync/Financial/TransactionLines",
        ),
        Kind(
            "account",
            "bulk/CRM/Accounts",
            {
                "ID": guid,
                "Code": text,
                "Name": text,
                "Status": text,
                "Type": text,
                "IsSales": flag,
                "IsSupplier": flag,
                "Blocked": flag,
                "StartDate": day,
                "EndDate": day,
                "Email": text,
                "Phone": text,
                "Website": text,
                "AddressLine1": text,
                "AddressLine2": text,
                "AddressLine3": text,
                "Postcode": text,
                "City": text,
                "State": text,
                "Country": text,
                "ChamberOfCommerce": text,
                "VATNumber": text,
                "OINNumber": text,
                "GlnNumber": text,
                "PeppolIdentifier": text,
                "Classification": text,
                "SearchCode": text,
                "Language": text,
                "MainContact": guid,
                "InvoiceAccount": guid,
                "Parent": guid,
                "PaymentConditionSales": text,
                "SalesCurrency": text,
                "CreditLineSales": amount,
                "InvoicingMethod": whole,
                "AccountManagerFullName": text,
                "IsAnonymised": flag,
            },
            sync="sync/CRM/Accounts",
        ),
        Kind(
            "contact",
            "bulk/CRM/Contacts",
            {
                "ID": guid,
                "Account": guid,
                "FullName": text,
                "Title": text,
                "JobTitleDescription": text,
                "Email": text,
                "BusinessEmail": text,
                "Phone": text,
                "BusinessPhone": text,
                "Mobile": text,
                "BusinessMobile": text,
                "Language": text,
                "IsMainContact": flag,
                "IsMailingExcluded": flag,
                "StartDate": day,
                "EndDate": day,
                "IsAnonymised": flag,
            },
            sync="sync/CRM/Contacts",
        ),
        Kind(
            "address",
            "bulk/CRM/Addresses",
            {
                "ID": guid,
                "Account": guid,
                "Type": whole,
                "Main": flag,
                "AddressLine1": text,
                "AddressLine2": text,
                "AddressLine3": text,
                "Postcode": text,
                "City": text,
                "State": text,
                "Country": text,
                "Contact": guid,
                "Phone": text,
            },
            sync="sync/CRM/Addresses",
        ),
        Kind(
            "bankaccount",
            "crm/BankAccounts",
            {
                "ID": guid,
                "Account": guid,
                "BankAccount": text,
                "IBAN": text,
                "BICCode": text,
                "BankAccountHolderName": text,
                "Main": flag,
                "Blocked": flag,
            },
            transient=("Modified",),
        ),
        Kind(
            "mandate",
            "cashflow/DirectDebitMandates",
            {
                "ID": guid,
                "Account": guid,
                "BankAccount": guid,
                "Reference": text,
                "Main": flag,
                "PaymentType": whole,
                "Type": whole,
                "SignatureDate": day,
                "CancellationDate": day,
            },
            transient=("Modified",),
        ),
        Kind(
            "document",
            "bulk/Documents/Documents",
            {
                "ID": guid,
                "Account": guid,
                "Type": whole,
                "Subject": text,
                "FinancialTransactionEntryID": guid,
                "SalesInvoiceNumber": whole,
            },
            sync="sync/Documents/Documents",
        ),
        Kind(
            "attachment",
            "bulk/Documents/DocumentAttachments",
            {"ID": guid, "Document": guid, "FileName": text, "FileSize": number, "Url": text},
            ("ID", "Document"),
            "sync/Documents/DocumentAttachments",
            sync_only=("Timestamp",),
        ),
        Kind(
            "glaccount",
            "bulk/Financial/GLAccounts",
            {"ID": guid, "Code": text, "Type": whole, "BalanceType": text},
            ("ID", "Code", "Type"),
            "sync/Financial/GLAccounts",
        ),
        Kind(
            "journal",
            "financial/Journals",
            {
                "ID": guid,
                "Code": text,
                "Description": text,
                "Type": whole,
                "Currency": text,
                "GLAccount": guid,
                "BankAccountIBAN": text,
            },
            ("ID", "Code", "Type"),
        ),
        Kind(
            "condition",
            "cashflow/PaymentConditions",
            {
                "ID": guid,
                "Code": text,
                "Description": text,
                "PaymentDays": whole,
                "PaymentEndOfMonths": whole,
                "PaymentMethod": text,
            },
            ("ID", "Code"),
        ),
        Kind(
            "division",
            "system/Divisions",
            {
                "Code": whole,
                "Description": text,
                "Country": text,
                "Currency": text,
                "ChamberOfCommerceNumber": text,
                "VATNumber": text,
                "Legislation": text,
                "DivisionMoveDate": local_time,
                "DivisionHRLinkUnlinkDate": local_time,
            },
            ("Code", "Currency"),
            transient=("Status", "BlockingStatus"),
            key="Code",
        ),
    )
}


def _paths(*kinds: str) -> frozenset[str]:
    return frozenset(f"{kind}.{name}" for kind in kinds for name in KINDS[kind].fields)


_OF_CUSTOMER = _paths("account", "contact", "address", "division")

SOURCES: Final[Mapping[str, frozenset[str]]] = {
    "administration": _paths("division"),
    "customer": _OF_CUSTOMER,
    "contact": _OF_CUSTOMER,
    "address": _OF_CUSTOMER,
    "bank_account": _OF_CUSTOMER | _paths("bankaccount"),
    "mandate": _OF_CUSTOMER | _paths("mandate", "bankaccount"),
    "terms": _paths("condition"),
    "invoice": _paths("line", "term", "journal", "account", "division"),
    "payment": _paths("line", "term", "journal", "account", "division"),
}
"""Section of the mapping -> the paths that it may name."""
