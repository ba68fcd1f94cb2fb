"""How the endpoints of one entity hang together, and what each lets itself be filtered on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from adapters.exactonline.simulator.tables import Columns, Endpoint, Source
from adapters.exactonline.simulator.world import World

MODELS = "Exact.Web.Api.Models."


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


ACCOUNT_FILTERS = _fields(
    "ID Accountant AccountManager Blocked ChamberOfCommerce City Classification Code Country Created Email"
    " EndDate Fax InvoiceAccount IsSales IsSupplier MainContact Modified Name Parent Phone Postcode RSIN"
    " SearchCode StartDate Status Type VATNumber"
)
LINE_FILTERS = _fields(
    "ID Account AccountCode Date Description Document EntryID EntryNumber FinancialPeriod FinancialYear"
    " GLAccount GLAccountCode InvoiceNumber JournalCode Modified OffsetID OrderNumber Status Type VATCode"
    " YourRef"
)
RECEIVABLE_FILTERS = _fields(
    "Account Document EndDate EndToEndID EntryDate EntryID GLAccount ID InvoiceDate InvoiceNumber Source"
    " Status TransactionID TransactionType"
)
DOCUMENT_FILTERS = _fields(
    "Account Category Contact Created Creator Division DocumentDate DocumentFolder HID ID Modified"
    " FinancialTransactionEntryID Opportunity Project SalesInvoiceNumber Subject Type"
)
GL_FILTERS = _fields("Code Created Creator ID Modified Modifier SearchCode Type")
CONTACT_FILTERS = _fields("Account ID IdentificationDocument IdentificationUser Person")
ADDRESS_FILTERS = _fields("Account Contact ID Main Type Warehouse")
ATTACHMENT_FILTERS = _fields("Document ID")
MODIFIED = _fields("Modified")
TIMESTAMP = _fields("Timestamp")


def family(
    model: str,
    columns: Columns,
    source: Source,
    single: str,
    *,
    bulk: str | None = None,
    sync: str | None = None,
    kind: int = 0,
    world: World,
    filters: frozenset[str],
    single_filters: frozenset[str] = frozenset(),
) -> list[Endpoint]:
    """The single, bulk and sync endpoints of one entity; the first two need a filter.

    `single_filters` are fields that the bulk endpoint does not take.
    """
    endpoints = [Endpoint(single, MODELS + model, columns, source, mandatory=filters | single_filters)]
    if bulk is not None:
        bulky = replace(endpoints[0], path=bulk, mandatory=filters, filterable=filters, needs_select=True)
        endpoints.append(bulky)
    if sync is not None:
        feed = world.feeds[kind]
        endpoints.append(Endpoint(sync, MODELS + model, columns, source, feed=feed, filterable=TIMESTAMP))
    return endpoints


def one(rows: Mapping[str, Any]) -> Callable[[Any], Iterable[Any]]:
    """An index by key: that row, or none."""
    return lambda key: [rows[key]] if key in rows else []
