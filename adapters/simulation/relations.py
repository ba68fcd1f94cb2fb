"""Customers and everything known about them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from adapters.simulation.changes import Action, ChangeLog, Identified, Ids, Subject
from adapters.simulation.ledger import LedgerAccount


class Role(StrEnum):
    CUSTOMER = "customer"
    SUPPLIER = "supplier"
    PROSPECT = "prospect"
    OWN = "own"


class AddressKind(StrEnum):
    VISIT = "visit"
    POSTAL = "postal"
    INVOICE = "invoice"
    DELIVERY = "delivery"


@dataclass(slots=True, eq=False)
class PaymentCondition:
    """Days after the invoice date, with an optional discount for paying sooner, or collection by us."""

    id: str
    code: str
    name: str
    days: int
    discount_days: int = 0
    discount_percentage: int = 0
    collected: bool = False

    def due(self, invoiced: date) -> date:
        return invoiced + timedelta(days=self.days)


@dataclass(slots=True, eq=False)
class Contact:
    id: str
    customer: "Customer"
    first_name: str
    last_name: str
    email: str
    phone: str
    modified: datetime
    main: bool = False


@dataclass(slots=True, eq=False)
class Address:
    id: str
    customer: "Customer"
    kind: AddressKind
    street: str
    postcode: str
    city: str
    country: str
    modified: datetime
    main: bool = True


@dataclass(slots=True, eq=False)
class BankAccount:
    id: str
    customer: "Customer"
    iban: str
    bic: str
    holder: str
    modified: datetime
    main: bool = True


@dataclass(slots=True, eq=False)
class Mandate:
    id: str
    customer: "Customer"
    bank_account: BankAccount
    reference: str
    signed: date
    modified: datetime
    cancelled: date | None = None


@dataclass(slots=True, eq=False)
class Customer:
    id: str
    number: int
    name: str
    role: Role
    consumer: bool
    email: str
    phone: str
    language: str
    condition: PaymentCondition
    receivable: LedgerAccount
    created: datetime
    modified: datetime
    coc_number: str | None = None
    vat_number: str | None = None
    website: str | None = None
    currency: str = "EUR"
    credit_limit: int = 0
    blocked: bool = False
    contacts: list[Contact] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    bank_accounts: list[BankAccount] = field(default_factory=list)
    mandates: list[Mandate] = field(default_factory=list)

    def address(self, kind: AddressKind) -> Address | None:
        return next((address for address in self.addresses if address.kind is kind), None)

    @property
    def main_contact(self) -> Contact | None:
        return next((contact for contact in self.contacts if contact.main), None)

    @property
    def mandate(self) -> Mandate | None:
        return next((mandate for mandate in self.mandates if mandate.cancelled is None), None)


class Relations:
    """Customers, contacts, addresses, bank accounts and mandates, each by id; conditions by code."""

    def __init__(self, ids: Ids, changes: ChangeLog) -> None:
        self._ids = ids
        self._changes = changes
        self._last_number = 10_000
        self.conditions: dict[str, PaymentCondition] = {}
        self.customers: dict[str, Customer] = {}
        self.contacts: dict[str, Contact] = {}
        self.addresses: dict[str, Address] = {}
        self.bank_accounts: dict[str, BankAccount] = {}
        self.mandates: dict[str, Mandate] = {}

    def add_condition(self, condition: PaymentCondition) -> None:
        self.conditions[condition.code] = replace(condition, id=self._ids.new())

    def add(
        self,
        name: str,
        *,
        condition: PaymentCondition,
        receivable: LedgerAccount,
        at: datetime,
        role: Role = Role.CUSTOMER,
        consumer: bool = False,
        email: str = "",
        phone: str = "",
        language: str = "NL",
        currency: str = "EUR",
        coc_number: str | None = None,
        vat_number: str | None = None,
    ) -> Customer:
        self._last_number += 1
        customer = Customer(
            self._ids.new(),
            self._last_number,
            name,
            role,
            consumer,
            email,
            phone,
            language,
            condition,
            receivable,
            at,
            at,
            coc_number,
            vat_number,
            currency=currency,
        )
        self.customers[customer.id] = customer
        self._changes.record(Subject.CUSTOMER, Action.ADDED, customer, at)
        return customer

    def add_contact(
        self, customer: Customer, *, first_name: str, last_name: str, email: str, phone: str, at: datetime
    ) -> Contact:
        main = not customer.contacts
        contact = Contact(self._ids.new(), customer, first_name, last_name, email, phone, at, main)
        customer.contacts.append(contact)
        self.contacts[contact.id] = contact
        self._changes.record(Subject.CONTACT, Action.ADDED, contact, at)
        return contact

    def add_address(
        self,
        customer: Customer,
        kind: AddressKind,
        *,
        street: str,
        postcode: str,
        city: str,
        country: str,
        at: datetime,
    ) -> Address:
        address = Address(self._ids.new(), customer, kind, street, postcode, city, country, at)
        customer.addresses.append(address)
        self.addresses[address.id] = address
        self._changes.record(Subject.ADDRESS, Action.ADDED, address, at)
        return address

    def add_bank_account(self, customer: Customer, iban: str, bic: str, at: datetime) -> BankAccount:
        main = not customer.bank_accounts
        account = BankAccount(self._ids.new(), customer, iban, bic, customer.name, at, main)
        customer.bank_accounts.append(account)
        self.bank_accounts[account.id] = account
        self._changes.record(Subject.BANK_ACCOUNT, Action.ADDED, account, at)
        return account

    def add_mandate(self, account: BankAccount, reference: str, signed: date, at: datetime) -> Mandate:
        mandate = Mandate(self._ids.new(), account.customer, account, reference, signed, at)
        account.customer.mandates.append(mandate)
        self.mandates[mandate.id] = mandate
        self._changes.record(Subject.MANDATE, Action.ADDED, mandate, at)
        return mandate

    def touch(self, customer: Customer, at: datetime) -> None:
        """Record that fields of the customer itself were changed."""
        customer.modified = at
        self._changes.record(Subject.CUSTOMER, Action.CHANGED, customer, at)

    def move_to(self, address: Address, street: str, postcode: str, city: str, at: datetime) -> None:
        address.street, address.postcode, address.city, address.modified = street, postcode, city, at
        self._changes.record(Subject.ADDRESS, Action.CHANGED, address, at)
        if address.kind is AddressKind.VISIT:
            self.touch(address.customer, at)

    def remove(self, customer: Customer, at: datetime) -> None:
        """Forget the customer and all that hangs on it."""
        parts: tuple[tuple[Subject, dict[str, Any], Iterable[Identified]], ...] = (
            (Subject.MANDATE, self.mandates, customer.mandates),
            (Subject.BANK_ACCOUNT, self.bank_accounts, customer.bank_accounts),
            (Subject.ADDRESS, self.addresses, customer.addresses),
            (Subject.CONTACT, self.contacts, customer.contacts),
            (Subject.CUSTOMER, self.customers, [customer]),
        )
        for subject, kept, parting in parts:
            for part in parting:
                del kept[part.id]
                self._changes.record(subject, Action.REMOVED, part, at)
