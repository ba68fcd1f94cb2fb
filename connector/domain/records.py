"""The records a dunning service receives, whatever package they came from.

Amounts are exact decimals in the currency named beside them; positive means the customer owes.
Dates are days in the administration's own time zone, instants are UTC. `external_id` is the package's immutable
key, `number` what is printed on paper. A field the package does not offer stays at its default and is left out on
the wire.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Id = Annotated[str, Meta(min_length=1, max_length=200)]

PartyType = Literal["business", "consumer", "public_body", "unknown"]
PartyTypeBasis = Literal["source_flag", "registration_no", "vat_no", "configured_rule", "manual"]
ContactRole = Literal["invoicing", "reminder", "general", "dispute"]
AddressRole = Literal["visiting", "postal", "invoicing", "delivery"]
InvoiceKind = Literal["invoice", "credit_note", "opening_balance", "journal", "fee", "interest"]
PaymentStatus = Literal["open", "partly_paid", "paid", "credited", "written_off", "settled"]
SettlementKind = Literal["payment", "credit", "write_off", "discount", "exchange_difference", "set_off", "unknown"]
PaymentKind = Literal["receipt", "refund", "chargeback", "psp_settlement", "cash", "set_off"]
PaymentMethod = Literal["bank_transfer", "direct_debit", "cash", "card", "psp"]
DocumentKind = Literal["invoice_pdf", "ubl", "attachment"]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every entity has; `external_id` never changes while the package keeps the item."""

    external_id: Id
    number: str | None = None
    source_url: str | None = None
    custom: dict[str, str] = {}
    tags: tuple[str, ...] = ()


class Address(Struct, frozen=True, kw_only=True, omit_defaults=True):
    role: AddressRole
    lines: tuple[str, ...] = ()
    postcode: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None


class Contact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A way to reach the customer; the reminder route may differ from the invoicing route."""

    external_id: str | None = None
    roles: tuple[ContactRole, ...] = ()
    name: str | None = None
    salutation: str | None = None
    language: str | None = None
    email: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    phone: str | None = None
    mobile: str | None = None
    opted_out: bool = False


class BankAccount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    iban: str | None = None
    number: str | None = None
    bic: str | None = None
    holder: str | None = None
    main: bool = False


class Mandate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A direct debit authorisation; a running one means a reminder should wait."""

    external_id: str | None = None
    reference: str
    scheme: Literal["core", "b2b"] | None = None
    iban: str | None = None
    signed_on: date | None = None
    ended_on: date | None = None
    recurring: bool = True


class PaymentTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    code: str | None = None
    description: str | None = None
    days: int | None = None
    end_of_months: int | None = None
    method: PaymentMethod | None = None


class Administration(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One set of books in a package."""

    name: str
    package: str
    edition: str | None = None
    currency: Currency
    country: str | None = None
    time_zone: str | None = None
    language: str | None = None
    registration_no: str | None = None
    registration_scheme: str | None = None
    vat_no: str | None = None
    vat_recoverable: bool | None = None
    ibans: tuple[str, ...] = ()
    fiscal_year_start: str | None = None
    closed_until: date | None = None
    receivable_accounts: tuple[str, ...] = ()


class Customer(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Who owes. Contacts, addresses, bank accounts and mandates are part of the customer."""

    name: str
    party_type: PartyType = "unknown"
    party_type_basis: PartyTypeBasis | None = None
    registration_no: str | None = None
    registration_scheme: str | None = None
    vat_no: str | None = None
    oin: str | None = None
    gln: str | None = None
    peppol_id: str | None = None
    language: str | None = None
    country: str | None = None
    email: str | None = None
    phone: str | None = None
    mobile: str | None = None
    website: str | None = None
    contacts: tuple[Contact, ...] = ()
    addresses: tuple[Address, ...] = ()
    bank_accounts: tuple[BankAccount, ...] = ()
    mandates: tuple[Mandate, ...] = ()
    terms: PaymentTerms | None = None
    credit_limit: Decimal | None = None
    credit_limit_currency: Currency | None = None
    on_hold: bool = False
    dunning_block: bool = False
    dunning_block_reason: str | None = None
    reminder_profile: str | None = None
    parent: str | None = None
    debtor: str | None = None
    """The customer that receives the invoices and is to be dunned, when it is another one."""
    merged_into: str | None = None
    active: bool = True
    account_manager: str | None = None


class Settlement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason why an invoice's open amount differs from its total.

    `amount` is in the invoice's currency and negative when it lowers what is owed. `source` is the external id of
    the payment or invoice that settled. `derived` marks a pairing the package does not state but that follows from
    what it does state; kind `unknown` is the remainder that nothing explains.
    """

    kind: SettlementKind
    amount: Decimal
    base_amount: Decimal
    settled_on: date | None = None
    source: str | None = None
    derived: bool = False


class Instalment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    due_date: date | None
    amount: Decimal
    open: Decimal


class Document(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reference; `handle` is what the adapter needs to fetch the content."""

    kind: DocumentKind
    handle: str
    file_name: str | None = None
    size: int | None = None


class Invoice(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One item on a customer's account that is not money: positive is owed by the customer.

    `total` + the settlements = `open`, in the document's currency and in the administration's (`base_*`); an
    invoice for which that does not hold cannot be built.
    """

    kind: InvoiceKind
    customer: Id
    debtor: str | None = None
    currency: Currency
    total: Decimal
    open: Decimal
    base_currency: Currency
    base_total: Decimal
    base_open: Decimal
    rate: Decimal | None = None
    net: Decimal | None = None
    vat: Decimal | None = None
    payment_status: PaymentStatus = "open"
    issue_date: date | None = None
    booking_date: date | None = None
    due_date: date | None = None
    due_date_basis: Literal["source", "derived_from_terms"] | None = None
    settled_on: date | None = None
    settlements: tuple[Settlement, ...] = ()
    instalments: tuple[Instalment, ...] = ()
    journal: str | None = None
    entry_ref: str | None = None
    payment_reference: str | None = None
    payment_method: PaymentMethod | None = None
    terms: PaymentTerms | None = None
    mandate: str | None = None
    collection_state: Literal["selected", "sent"] | None = None
    your_reference: str | None = None
    our_reference: str | None = None
    order_reference: str | None = None
    description: str | None = None
    sent_at: datetime | None = None
    disputed: bool = False
    dunning_block: bool = False
    documents: tuple[Document, ...] = ()
    historical: bool = False
    """Settled before the connection was linked: kept for statistics, never to be mailed."""

    def __post_init__(self) -> None:
        left, base_left = self.total, self.base_total
        for one in self.settlements:
            left += one.amount
            base_left += one.base_amount
        if left != self.open:
            raise ValueError(f"invoice {self.external_id}: total and settlements do not add up to open")
        if base_left != self.base_open:
            raise ValueError(f"invoice {self.external_id}: base total and settlements do not add up to base open")


class Payment(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Money that came in (positive `amount`) or went back (negative).

    `unallocated` is the part that no invoice has taken yet, with the sign of the amount.
    """

    kind: PaymentKind
    customer: Id
    currency: Currency
    amount: Decimal
    unallocated: Decimal
    base_currency: Currency
    base_amount: Decimal
    base_unallocated: Decimal
    booking_date: date | None = None
    value_date: date | None = None
    journal: str | None = None
    entry_ref: str | None = None
    method: PaymentMethod | None = None
    payer_name: str | None = None
    payer_iban: str | None = None
    remittance: str | None = None
    end_to_end_id: str | None = None
    reversal_of: str | None = None
    reason_code: str | None = None


Entity = Literal["administration", "customer", "invoice", "payment"]

ENTITIES: dict[Entity, type[Record]] = {
    "administration": Administration,
    "customer": Customer,
    "invoice": Invoice,
    "payment": Payment,
}
"""In emission order: a customer travels before its invoices, an invoice before the money that settles it."""
