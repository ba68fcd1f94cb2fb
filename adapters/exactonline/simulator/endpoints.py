"""Every endpoint: which rows, which fields, what may be asked of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.exactonline.simulator import columns_master as master
from adapters.exactonline.simulator import columns_other as other
from adapters.exactonline.simulator import world as kinds
from adapters.exactonline.simulator.endpoints_ledger import cashflow_endpoints, ledger_endpoints
from adapters.exactonline.simulator.families import (
    ACCOUNT_FILTERS,
    ADDRESS_FILTERS,
    ATTACHMENT_FILTERS,
    CONTACT_FILTERS,
    DOCUMENT_FILTERS,
    MODELS,
    MODIFIED,
    family,
    one,
)
from adapters.exactonline.simulator.schema import schemas
from adapters.exactonline.simulator.tables import Endpoint, Source
from adapters.exactonline.simulator.world import World
from adapters.simulation.relations import Customer


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
    found = [*_registers(world), *ledger_endpoints(world), *cashflow_endpoints(world), *_documents(world, context)]
    found += _system(world, context)
    return {endpoint.path: endpoint for endpoint in found}


def _registers(world: World) -> list[Endpoint]:
    relations = world.books.relations

    def of_account(part: str) -> Callable[[Any], Iterable[Any]]:
        def find(key: Any) -> Iterable[Any]:
            customer: Customer | None = relations.customers.get(key)
            return getattr(customer, part) if customer else ()

        return find

    def table(rows: Mapping[str, Any], part: str | None = None) -> Source:
        indexes = {"ID": one(rows)}
        if part is not None:
            indexes["Account"] = of_account(part)
        return Source(rows.values, rows.get, indexes)

    def listed(rows: Mapping[str, Any]) -> Source:
        return Source(rows.values, lambda key: next((row for row in rows.values() if row.id == key), None))

    contacts = family(
        "Contact",
        master.contacts(world),
        table(relations.contacts, "contacts"),
        "crm/Contacts",
        bulk="bulk/CRM/Contacts",
        sync="sync/CRM/Contacts",
        kind=kinds.CONTACTS,
        world=world,
        filters=CONTACT_FILTERS,
        single_filters=MODIFIED,
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
        *family(
            "Account",
            master.accounts(world),
            table(relations.customers),
            "crm/Accounts",
            bulk="bulk/CRM/Accounts",
            sync="sync/CRM/Accounts",
            kind=kinds.ACCOUNTS,
            world=world,
            filters=ACCOUNT_FILTERS,
        ),
        *contacts,
        *family(
            "Address",
            master.addresses(world),
            table(relations.addresses, "addresses"),
            "crm/Addresses",
            bulk="bulk/CRM/Addresses",
            sync="sync/CRM/Addresses",
            kind=kinds.ADDRESSES,
            world=world,
            filters=ADDRESS_FILTERS,
            single_filters=MODIFIED,
        ),
        *(Endpoint(path, MODELS + model, columns(world), source) for path, model, columns, source in plain),
    ]


def _documents(world: World, context: Context) -> list[Endpoint]:
    documents = world.books.documents

    def of_document(key: Any) -> Iterable[Any]:
        document = documents.documents.get(key)
        return document.attachments if document else ()

    return [
        *family(
            "Document",
            other.documents(world),
            Source(documents.documents.values, documents.documents.get, {"ID": one(documents.documents)}),
            "documents/Documents",
            bulk="bulk/Documents/Documents",
            sync="sync/Documents/Documents",
            kind=kinds.DOCUMENTS,
            world=world,
            filters=DOCUMENT_FILTERS,
        ),
        *family(
            "DocumentAttachment",
            other.attachments(world, lambda _: context.origin),
            Source(
                documents.attachments.values,
                documents.attachments.get,
                {"ID": one(documents.attachments), "Document": of_document},
            ),
            "documents/DocumentAttachments",
            bulk="bulk/Documents/DocumentAttachments",
            sync="sync/Documents/DocumentAttachments",
            kind=kinds.ATTACHMENTS,
            world=world,
            filters=ATTACHMENT_FILTERS,
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
        return Endpoint(path, MODELS + model, other.plain(tuple(schema.fields)), source, volatile=True)

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
            MODELS + "Sync.Deleted",
            other.deletions(world),
            Source(lambda: world.deletions.after(0, world.books.clock.now()), lambda _: None),
            filterable=frozenset({"Timestamp", "EntityType"}),
        ),
    ]
