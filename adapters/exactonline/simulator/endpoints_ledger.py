"""Endpoints of the ledger and of what is open in it."""

from collections.abc import Iterable
from typing import Any

from adapters.exactonline.simulator import columns_cashflow as cashflow
from adapters.exactonline.simulator import columns_ledger as ledger
from adapters.exactonline.simulator import columns_master as master
from adapters.exactonline.simulator import columns_other as other
from adapters.exactonline.simulator import world as kinds
from adapters.exactonline.simulator.families import (
    GL_FILTERS,
    LINE_FILTERS,
    MODELS,
    RECEIVABLE_FILTERS,
    TIMESTAMP,
    family,
    one,
)
from adapters.exactonline.simulator.schema import schemas
from adapters.exactonline.simulator.tables import Endpoint, Source
from adapters.exactonline.simulator.terms import Term
from adapters.exactonline.simulator.world import World
from adapters.simulation.ledger import EntryKind


def ledger_endpoints(world: World) -> list[Endpoint]:
    books = world.books
    by_id = {account.id: account for account in books.ledger.accounts.values()}

    def of_entry(key: Any) -> Iterable[Any]:
        entry = books.ledger.entries.get(key)
        return entry.lines if entry else ()

    lines = Source(
        books.ledger.lines.values,
        books.ledger.lines.get,
        {"ID": one(books.ledger.lines), "EntryID": of_entry},
    )

    def sales() -> Iterable[Any]:
        wanted = {EntryKind.SALES, EntryKind.CREDIT_NOTE}
        return (entry for entry in books.ledger.entries.values() if entry.kind in wanted)

    def sales_entry(key: Any) -> Any | None:
        entry = books.ledger.entries.get(key)
        return entry if entry and entry.kind in {EntryKind.SALES, EntryKind.CREDIT_NOTE} else None

    return [
        *family(
            "Financial.TransactionLine",
            ledger.transaction_lines(world),
            lines,
            "financialtransaction/TransactionLines",
            bulk="bulk/Financial/TransactionLines",
            sync="sync/Financial/TransactionLines",
            kind=kinds.LINES,
            world=world,
            filters=LINE_FILTERS,
        ),
        *family(
            "GLAccount",
            master.gl_accounts(world),
            Source(by_id.values, by_id.get, {"ID": one(by_id)}),
            "financial/GLAccounts",
            bulk="bulk/Financial/GLAccounts",
            sync="sync/Financial/GLAccounts",
            kind=kinds.GL_ACCOUNTS,
            world=world,
            filters=GL_FILTERS,
        ),
        Endpoint(
            "salesentry/SalesEntries",
            MODELS + "SalesEntry",
            ledger.sales_entries(world),
            Source(sales, sales_entry, {"EntryID": lambda key: [row] if (row := sales_entry(key)) else []}),
        ),
        Endpoint(
            "financial/ReportingBalance",
            MODELS + "Financial.ReportingBalance",
            other.reporting_balance(world),
            Source(
                lambda: other.balances(world),
                lambda key: next((row for row in other.balances(world) if row.id == key), None),
            ),
        ),
    ]


def cashflow_endpoints(world: World) -> list[Endpoint]:
    terms, matching = world.terms, world.books.matching
    columns = cashflow.payment_terms(world)

    def receivables() -> Iterable[Term]:
        return (term for term in terms.all.values() if term.item is not None)

    def still_open() -> Iterable[Term]:
        return (term for term in terms.open.values() if term.item is not None)

    def receivable(key: Any) -> Term | None:
        term = terms.all.get(key)
        return term if term and term.item is not None else None

    def of_account(key: Any) -> Iterable[Term]:
        return terms.of_lines(matching.of_customer.get(key, ()))

    source = Source(
        receivables,
        receivable,
        {
            "ID": lambda key: [row] if (row := receivable(key)) else [],
            "TransactionID": lambda key: [row for row in terms.of_line.get(key, ()) if row.item is not None],
            "Account": of_account,
        },
        {
            ("Status", "lt", 50): still_open,
            ("Status", "ne", 50): still_open,
            ("Status", "le", 40): still_open,
            ("Status", "eq", 20): still_open,
            ("Status", "eq", 30): still_open,
            ("Status", "eq", 40): still_open,
        },
    )

    def open_of_account(key: Any) -> Iterable[Term]:
        return [term for term in of_account(key) if term.id in terms.open]

    by_hid = Source(
        still_open,
        lambda key: next((term for term in still_open() if term.number == key), None),
        {"AccountId": open_of_account},
    )
    outstanding = Source(lambda: cashflow.outstanding(world), lambda _: None)
    return [
        *family(
            "Cashflow.Receivable",
            columns,
            source,
            "cashflow/Receivables",
            bulk="bulk/Cashflow/Receivables",
            world=world,
            filters=RECEIVABLE_FILTERS,
        ),
        Endpoint(
            "sync/Cashflow/PaymentTerms",
            MODELS + "Sync.Cashflow.PaymentTerm",
            columns,
            Source(terms.all.values, terms.all.get),
            feed=world.feeds[kinds.TERMS],
            filterable=TIMESTAMP,
        ),
        Endpoint(
            "read/financial/ReceivablesList",
            MODELS + "Financial.ReceivablesList",
            cashflow.receivables_list(world),
            by_hid,
        ),
        Endpoint(
            "read/financial/OutstandingInvoicesOverview",
            MODELS + "Financial.OutstandingInvoicesOverview",
            other.plain(tuple(schemas()["read/financial/OutstandingInvoicesOverview"].fields)),
            outstanding,
        ),
    ]
