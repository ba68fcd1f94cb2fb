"""Every endpoint: which rows, which fields, what may be asked of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.exactonline.simulator import columns_cashflow as cashflow
from adapters.exactonline.simulator import columns_ledger as ledger
from adapters.exactonline.simulator import columns_master as master
from adapters.exactonline.simulator import columns_other as other
from adapters.exactonline.simulator import world as kinds
from adapters.exactonline.simulator.schema import schemas
from adapters.exactonline.simulator.tables import Columns, Endpoint, Source
from adapters.exactonline.simulator.terms import Term
from adapters.exactonline.simulator.world import World
from adapters.simulation.ledger import EntryKind
from adapters.simulation.relations import Customer

_MODELS = "Exact.Web.Api.Models."


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ACCOUNT_FILTERS = _fields(
    "ID Accountant AccountManager Blocked ChamberOfCommerce City Classification Code Country Created Email"
    " EndDate Fax InvoiceAccount IsSales IsSupplier MainContact Modified Name Parent Phone Postcode RSIN"
    " SearchCode StartDate Status Type VATNumber"
)
_LINE_FILTERS = _fields(
    "ID Account AccountCode Date Description Document EntryID EntryNumber FinancialPeriod FinancialYear"
    " GLAccount GLAccountCode InvoiceNumber JournalCode Modified OffsetID OrderNumber Status Type VATCode"
    " YourRef"
)
_RECEIVABLE_FILTERS = _fields(
    "Account Document EndDate EndToEndID EntryDate EntryID GLAccount ID InvoiceDate InvoiceNumber Source"
    " Status TransactionID TransactionType"
)
_DOCUMENT_FILTERS = _fields(
    "Account Category Contact Created Creator Division DocumentDate DocumentFolder HID ID Modified"
    " FinancialTransactionEntryID Opportunity Project SalesInvoiceNumber Subject Type"
)
_GL_FILTERS = _fields("Code Created Creator ID Modified Modifier SearchCode Type")
_CONTACT_FILTERS = _fields("Account ID IdentificationDocument IdentificationUser Person")
_ADDRESS_FILTERS = _fields("Account Contact ID Main Type Warehouse")
_ATTACHMENT_FILTERS = _fields("Document ID")
_TIMESTAMP = _fields("Timestamp")


@dataclass(slots=True)
class Context:
    """What changes outside the books and still shows in rows."""

    current_division: int
    """The division the user last opened in the browser."""
    origin: str = ""
    """Where this server was called."""
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    topics: tuple[str, ...] = ()


def endpoints(world: World, context: Context) -> dict[str, Endpoint]:
    """All served endpoints by their path."""
    found = [*_registers(world), *_ledger(world), *_cashflow(world), *_documents(world, context)]
    found += _system(world, context)
    return {endpoint.path: endpoint for endpoint in found}


def _family(
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
) -> list[Endpoint]:
    """The single, bulk and sync endpoints of one entity; the first two need a filter."""
    family = [Endpoint(single, _MODELS + model, columns, source, mandatory=filters)]
    if bulk is not None:
        family.append(replace(family[0], path=bulk, filterable=filters, needs_select=True))
    if sync is not None:
        family.append(Endpoint(sync, _MODELS + model, columns, source, feed=world.feeds[kind], filterable=_TIMESTAMP))
    return family


def _one(rows: Mapping[str, Any]) -> Callable[[Any], Iterable[Any]]:
    return lambda key: [rows[key]] if key in rows else []


def _registers(world: World) -> list[Endpoint]:
    relations = world.books.relations

    def of_account(part: str) -> Callable[[Any], Iterable[Any]]:
        def find(key: Any) -> Iterable[Any]:
            customer: Customer | None = relations.customers.get(key)
            return getattr(customer, part) if customer else ()

        return find

    def table(rows: Mapping[str, Any], part: str | None = None) -> Source:
        indexes = {"ID": _one(rows)}
        if part is not None:
            indexes["Account"] = of_account(part)
        return Source(rows.values, rows.get, indexes)

    def listed(rows: Mapping[str, Any]) -> Source:
        return Source(rows.values, lambda key: next((row for row in rows.values() if row.id == key), None))

    contacts = _family(
        "Contact",
        master.contacts(world),
        table(relations.contacts, "contacts"),
        "crm/Contacts",
        bulk="bulk/CRM/Contacts",
        sync="sync/CRM/Contacts",
        kind=kinds.CONTACTS,
        world=world,
        filters=_CONTACT_FILTERS | {"Modified"},
    )
    contacts[-1] = replace(contacts[-1], refuses_star=True)
    plain = [
        ("financial/Journals", "Journal", master.journals, listed(world.books.ledger.journals)),
        (
            "cashflow/PaymentConditions",
            "Cashflow.PaymentCondition",
            master.payment_conditions,
            listed(relations.conditions),
        ),
        (
            "crm/BankAccounts",
            "BankAccount",
            master.bank_accounts,
            table(relations.bank_accounts, "bank_accounts"),
        ),
        (
            "cashflow/DirectDebitMandates",
            "Cashflow.DirectDebitMandate",
            master.mandates,
            table(relations.mandates, "mandates"),
        ),
    ]
    return [
        *_family(
            "Account",
            master.accounts(world),
            table(relations.customers),
            "crm/Accounts",
            bulk="bulk/CRM/Accounts",
            sync="sync/CRM/Accounts",
            kind=kinds.ACCOUNTS,
            world=world,
            filters=_ACCOUNT_FILTERS,
        ),
        *contacts,
        *_family(
            "Address",
            master.addresses(world),
            table(relations.addresses, "addresses"),
            "crm/Addresses",
            bulk="bulk/CRM/Addresses",
            sync="sync/CRM/Addresses",
            kind=kinds.ADDRESSES,
            world=world,
            filters=_ADDRESS_FILTERS | {"Modified"},
        ),
        *(Endpoint(path, _MODELS + model, columns(world), source) for path, model, columns, source in plain),
    ]


def _ledger(world: World) -> list[Endpoint]:
    books = world.books
    by_id = {account.id: account for account in books.ledger.accounts.values()}

    def of_entry(key: Any) -> Iterable[Any]:
        entry = books.ledger.entries.get(key)
        return entry.lines if entry else ()

    lines = Source(
        books.ledger.lines.values,
        books.ledger.lines.get,
        {"ID": _one(books.ledger.lines), "EntryID": of_entry},
    )

    def sales() -> Iterable[Any]:
        wanted = {EntryKind.SALES, EntryKind.CREDIT_NOTE}
        return (entry for entry in books.ledger.entries.values() if entry.kind in wanted)

    def sales_entry(key: Any) -> Any | None:
        entry = books.ledger.entries.get(key)
        return entry if entry and entry.kind in {EntryKind.SALES, EntryKind.CREDIT_NOTE} else None

    return [
        *_family(
            "Financial.TransactionLine",
            ledger.transaction_lines(world),
            lines,
            "financialtransaction/TransactionLines",
            bulk="bulk/Financial/TransactionLines",
            sync="sync/Financial/TransactionLines",
            kind=kinds.LINES,
            world=world,
            filters=_LINE_FILTERS,
        ),
        *_family(
            "GLAccount",
            master.gl_accounts(world),
            Source(by_id.values, by_id.get, {"ID": _one(by_id)}),
            "financial/GLAccounts",
            bulk="bulk/Financial/GLAccounts",
            sync="sync/Financial/GLAccounts",
            kind=kinds.GL_ACCOUNTS,
            world=world,
            filters=_GL_FILTERS,
        ),
        Endpoint(
            "salesentry/SalesEntries",
            _MODELS + "SalesEntry",
            ledger.sales_entries(world),
            Source(sales, sales_entry, {"EntryID": lambda key: [row] if (row := sales_entry(key)) else []}),
        ),
        Endpoint(
            "financial/ReportingBalance",
            _MODELS + "Financial.ReportingBalance",
            other.reporting_balance(world),
            Source(
                lambda: other.balances(world),
                lambda key: next((row for row in other.balances(world) if row.id == key), None),
            ),
        ),
    ]


def _cashflow(world: World) -> list[Endpoint]:
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
    by_hid = Source(
        still_open,
        lambda key: next((term for term in still_open() if term.number == key), None),
        {"AccountId": of_account},
    )

    def passes_open(find: Callable[[Any], Iterable[Term]]) -> Callable[[Any], Iterable[Term]]:
        return lambda key: [term for term in find(key) if term.id in terms.open]

    by_hid = replace(by_hid, indexes={"AccountId": passes_open(of_account)})
    outstanding = Source(lambda: cashflow.outstanding(world), lambda _: None)
    return [
        *_family(
            "Cashflow.Receivable",
            columns,
            source,
            "cashflow/Receivables",
            bulk="bulk/Cashflow/Receivables",
            world=world,
            filters=_RECEIVABLE_FILTERS,
        ),
        Endpoint(
            "sync/Cashflow/PaymentTerms",
            _MODELS + "Sync.Cashflow.PaymentTerm",
            columns,
            Source(terms.all.values, terms.all.get),
            feed=world.feeds[kinds.TERMS],
            filterable=_TIMESTAMP,
        ),
        Endpoint(
            "read/financial/ReceivablesList",
            _MODELS + "Financial.ReceivablesList",
            cashflow.receivables_list(world),
            by_hid,
        ),
        Endpoint(
            "read/financial/OutstandingInvoicesOverview",
            _MODELS + "Financial.OutstandingInvoicesOverview",
            other.plain(tuple(schemas()["read/financial/OutstandingInvoicesOverview"].fields)),
            outstanding,
        ),
    ]


def _documents(world: World, context: Context) -> list[Endpoint]:
    documents = world.books.documents

    def of_document(key: Any) -> Iterable[Any]:
        document = documents.documents.get(key)
        return document.attachments if document else ()

    return [
        *_family(
            "Document",
            other.documents(world),
            Source(documents.documents.values, documents.documents.get, {"ID": _one(documents.documents)}),
            "documents/Documents",
            bulk="bulk/Documents/Documents",
            sync="sync/Documents/Documents",
            kind=kinds.DOCUMENTS,
            world=world,
            filters=_DOCUMENT_FILTERS,
        ),
        *_family(
            "DocumentAttachment",
            other.attachments(world, lambda _: context.origin),
            Source(
                documents.attachments.values,
                documents.attachments.get,
                {"ID": _one(documents.attachments), "Document": of_document},
            ),
            "documents/DocumentAttachments",
            bulk="bulk/Documents/DocumentAttachments",
            sync="sync/Documents/DocumentAttachments",
            kind=kinds.ATTACHMENTS,
            world=world,
            filters=_ATTACHMENT_FILTERS,
        ),
    ]


def _system(world: World, context: Context) -> list[Endpoint]:
    settings = world.settings

    def divisions() -> list[dict[str, Any]]:
        codes = (world.division, *settings.other_divisions)
        granted = settings.granted
        return [
            other.division(world, code, context.current_division, number)
            for number, code in enumerate(codes, 1)
            if granted is None or code in granted
        ]

    def made(path: str, model: str, rows: Callable[[], Iterable[dict[str, Any]]]) -> Endpoint:
        schema = schemas()[path]
        source = Source(rows, lambda key: next((row for row in rows() if row[schema.key] == key), None))
        return Endpoint(path, _MODELS + model, other.plain(tuple(schema.fields)), source, volatile=True)

    return [
        made("current/Me", "System.Me", lambda: [other.me(world, context.current_division)]),
        made("system/Divisions", "System.Division", divisions),
        made("hrm/Divisions", "HRM.Division", lambda: divisions()[:1]),
        made("webhooks/WebhookSubscriptions", "WebhookSubscription", context.subscriptions.values),
        made(
            "webhooks/WebhookTopics",
            "WebhookTopic",
            lambda: [{"Topic": topic, "Description": topic} for topic in context.topics],
        ),
        Endpoint(
            "sync/Deleted",
            _MODELS + "Sync.Deleted",
            other.deletions(world),
            Source(lambda: world.deletions.after(0, world.books.clock.now()), lambda _: None),
            filterable=frozenset({"Timestamp", "EntityType"}),
        ),
    ]
