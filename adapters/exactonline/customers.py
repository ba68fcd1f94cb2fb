"""The customer of an account, with contacts, addresses, bank accounts and mandates inside. Pure."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any, TypeVar

import msgspec

from connector.adapter import Assembled, BadRow, Fields
from connector.domain.records import Address, BankAccount, Contact, Customer, Mandate, PaymentTerms
from connector.expressions import Source
from connector.mapping import Mapping

R = TypeVar("R", bound=msgspec.Struct)

_VISIT = 1
_INVOICE = 3
_STREET = ("AddressLine1", "AddressLine2", "AddressLine3")
_PLACE = (*_STREET, "Postcode", "City", "State", "Country")
_CUSTOMER = "C"


class Customers:
    """Makes customers under one mapping."""

    def __init__(self, mapping: Mapping, division: Fields, terms: Callable[[str | None], PaymentTerms | None]) -> None:
        self._mapping = mapping
        self._division = division
        self._terms = terms

    def source(self, rows: MappingOf[str, Sequence[Fields]]) -> Source:
        """What the paths of the sections about the customer walk."""
        account = next(iter(rows.get("account", ())), None)
        main = account.get("MainContact") if account else None
        contacts = rows.get("contact", ())
        invoicing = [one for one in rows.get("address", ()) if one.get("Type") == _INVOICE]
        return {
            "account": account,
            "contact": next((one for one in contacts if one["ID"] == main), None),
            "address": next((one for one in invoicing if one.get("Main")), next(iter(invoicing), None)),
            "division": self._division,
        }

    def add(self, result: Assembled, source: Source, rows: MappingOf[str, Sequence[Fields]], *, needed: bool) -> None:
        """Add the customer: any account with receivable items, whatever its flags, and every declared customer."""
        account = source["account"]
        if account is None or not (needed or account.get("IsSales") or account.get("Status") == _CUSTOMER):
            return
        if self.erased(account):
            result.customers.append(Customer(external_id=account["ID"], number=account.get("Code"), name="(erased)"))
            return
        try:
            values = self._mapping.section("customer")(source)
            terms = self._terms(account.get("PaymentConditionSales"))
        except ValueError as error:
            result.bad.append(BadRow(kind="account", key=account["ID"], reason=str(error), payload=account))
            return
        accounts = {one["ID"]: one for one in rows.get("bankaccount", ())}
        result.customers.append(
            Customer(
                external_id=account["ID"],
                debtor=self.debtor(account),
                terms=terms,
                contacts=tuple(self._contacts(result, source, rows)),
                addresses=tuple(self._addresses(result, source, rows)),
                bank_accounts=tuple(
                    self._each(result, "bank_account", BankAccount, _usable(accounts.values()), source)
                ),
                mandates=tuple(self._mandates(result, source, rows, accounts)),
                **({"name": account.get("Code") or account["ID"]} | values),
            )
        )

    def debtor(self, account: Fields | None) -> str | None:
        """Whom to chase, when the invoices of this account go to another one (sheet 5)."""
        other = account.get("InvoiceAccount") if account else None
        return other if account and other != account["ID"] else None

    def erased(self, account: Fields | None) -> bool:
        return bool(account and account.get("IsAnonymised"))

    def _contacts(self, result: Assembled, source: Source, rows: MappingOf[str, Sequence[Fields]]) -> Iterator[Contact]:
        """Whoever has an end date has left or is about to, and gets no reminders."""
        present = (one for one in rows.get("contact", ()) if "EndDate" not in one and not one.get("IsAnonymised"))
        for one in present:
            yield from self._each(result, "contact", Contact, (one,), source, external_id=one["ID"])

    def _addresses(
        self, result: Assembled, source: Source, rows: MappingOf[str, Sequence[Fields]]
    ) -> Iterator[Address]:
        """The account itself carries a visiting address, which counts where no address row says better."""
        found = list(rows.get("address", ()))
        account = source["account"]
        if not any(one.get("Type") == _VISIT for one in found) and any(name in account for name in _PLACE):
            found.insert(0, {"ID": account["ID"], "Type": _VISIT} | {n: account[n] for n in _PLACE if n in account})
        for one in found:
            lines = tuple(one[name] for name in _STREET if name in one)
            yield from self._each(result, "address", Address, (one,), source, lines=lines)

    def _mandates(
        self,
        result: Assembled,
        source: Source,
        rows: MappingOf[str, Sequence[Fields]],
        accounts: MappingOf[str, Fields],
    ) -> Iterator[Mandate]:
        for one in rows.get("mandate", ()):
            with_account = {**source, "bankaccount": accounts.get(one.get("BankAccount", ""))}
            yield from self._each(result, "mandate", Mandate, (one,), with_account, external_id=one["ID"])

    def _each(
        self,
        result: Assembled,
        section: str,
        record: type[R],
        found: Any,
        source: Source,
        **values: Any,
    ) -> Iterator[R]:
        """One part per row; a row that cannot be used goes to `bad` and leaves its customer standing."""
        apply, kind = self._mapping.section(section), section.replace("_", "")
        for one in found:
            try:
                yield record(**(values | apply({**source, kind: one})))
            except (ValueError, TypeError) as error:
                result.bad.append(BadRow(kind=kind, key=one["ID"], reason=str(error), payload=one))


def _usable(accounts: Any) -> Iterator[Fields]:
    return (one for one in accounts if not one.get("Blocked"))
