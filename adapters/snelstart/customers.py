"""The customer of a relation, with contacts, addresses, bank account and mandates inside. Pure."""

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any, Final, TypeVar

import msgspec

from connector.adapter import Assembled, BadRow, Fields
from connector.domain.records import Address, BankAccount, Contact, Customer, Mandate, PaymentTerms
from connector.expressions import Source
from connector.filters import FILTERS
from connector.mapping import Mapping

R = TypeVar("R", bound=msgspec.Struct)

UNKNOWN_CUSTOMER: Final = -2
"""The number of the relation on which sales to nobody known are booked (sheet 5.1)."""
UNKNOWN_TAG: Final = "unknown-customer"

_PLACES: Final = {"vestigingsAdres": "visiting", "correspondentieAdres": "postal"}
_MAILS: Final = (("reminder", "aanmaningEmailVersturen"), ("invoicing", "factuurEmailVersturen"))
_emails = FILTERS["emails"].make()


class Customers:
    """Makes customers under one mapping. `countries`: id of a land -> its two letters."""

    def __init__(self, mapping: Mapping, company: Fields, countries: MappingOf[str, str]) -> None:
        self._mapping = mapping
        self._company = company
        self._countries = countries

    def source(self, rows: MappingOf[str, Sequence[Fields]]) -> Source:
        """What the paths of the sections about the customer walk."""
        relation = next(iter(rows.get("relation", ())), None)
        addresses = self._places(relation) if relation else []
        return {"relation": relation, "company": self._company, "address": next(iter(addresses), None)}

    def add(self, result: Assembled, source: Source, rows: MappingOf[str, Sequence[Fields]], *, needed: bool) -> None:
        """Add the customer: any relation with invoices, and every customer that is active and no placeholder."""
        relation = source["relation"]
        if relation is None or not (needed or _is_customer(relation)):
            return
        try:
            values: dict[str, Any] = {"name": str(relation.get("relatiecode", relation["id"]))}
            values |= self._mapping.section("customer")(source)
            terms = self._mapping.section("terms")(source)
            if relation.get("relatiecode") == UNKNOWN_CUSTOMER:
                values |= {
                    "tags": (UNKNOWN_TAG,),
                    "dunning_block": True,
                    "dunning_block_reason": "nobody knows who it is",
                }
            customer = Customer(
                external_id=relation["id"],
                debtor=self.debtor(relation),
                terms=PaymentTerms(**terms) if terms else None,
                **values,
            )
        except ValueError as error:
            result.bad.append(BadRow(kind="relation", key=relation["id"], reason=str(error), payload=relation))
            return
        account: list[Fields] = [{}] if relation.get("iban") else []
        mandates = [one for row in rows.get("mandates", ()) for one in row["mandates"]]
        result.customers.append(
            msgspec.structs.replace(
                customer,
                contacts=tuple(self._each(result, "contact", Contact, _contacts(relation), source)),
                addresses=tuple(self._addresses(result, source)),
                bank_accounts=tuple(self._each(result, "bank_account", BankAccount, account, source)),
                mandates=tuple(self._mandates(result, source, mandates)),
            )
        )

    def debtor(self, relation: Fields | None) -> str | None:
        """Whom to chase, when the invoices of this relation go to another one (sheet 5.1)."""
        other: str | None = relation.get("factuurRelatie") if relation else None
        return other if relation and other != relation["id"] else None

    def _places(self, relation: Fields) -> list[Fields]:
        found = []
        for name, role in _PLACES.items():
            place = {**relation.get(name, {})}
            land = place.pop("land", None)
            if place.keys() & {"straat", "postcode", "plaats"}:
                if land in self._countries:
                    place["landcode"] = self._countries[land]
                found.append({"role": role, **place})
        return found

    def _addresses(self, result: Assembled, source: Source) -> Iterator[Address]:
        for place in self._places(source["relation"]):
            lines = (place["straat"],) if "straat" in place else ()
            yield from self._each(result, "address", Address, [place], source, lines=lines)

    def _mandates(self, result: Assembled, source: Source, mandates: Sequence[Fields]) -> Iterator[Mandate]:
        for one in mandates:
            yield from self._each(result, "mandate", Mandate, [one], source, external_id=one["id"])

    def _each(
        self,
        result: Assembled,
        section: str,
        record: type[R],
        found: Sequence[Fields],
        source: Source,
        **values: Any,
    ) -> Iterator[R]:
        """One part per item; one that cannot be used goes to `bad` and leaves its customer standing."""
        apply = self._mapping.section(section)
        for one in found:
            try:
                yield record(**(values | apply({**source, section: one})))
            except (ValueError, TypeError) as error:
                key = str(source["relation"]["id"])
                result.bad.append(BadRow(kind=section, key=f"{key}/{section}", reason=str(error), payload=one))


def _is_customer(relation: Fields) -> bool:
    """An inactive relation may be taken for deleted; numbers below zero are placeholders (sheet 5.1, 13.15)."""
    kinds, code = relation.get("relatiesoort", ()), relation.get("relatiecode", 0)
    return "Klant" in kinds and code >= 0 and not relation.get("nonactief", False)


def _contacts(relation: Fields) -> list[Fields]:
    """One for each different set of e-mail addresses; several addresses in one field are joined by `;` (sheet 5.1)."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    fields = [*((role, relation.get(name, {})) for role, name in _MAILS), ("general", relation)]
    for role, mail in fields:
        addresses = _emails(mail.get("email", "")) or ()
        if addresses:
            also = (*addresses[1:], *(_emails(mail.get("ccEmail", "")) or ()))
            found.setdefault((addresses[0], also), []).append(role)
    return [{"roles": ",".join(roles), "email": email, "cc": ";".join(also)} for (email, also), roles in found.items()]
