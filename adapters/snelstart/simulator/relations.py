"""Relations on the wire: customers, suppliers, the tenant itself, and their mandates (sheet 5.1)."""

from typing import Final

from adapters.simulation.relations import Address, AddressKind, Customer, Mandate, Role
from adapters.snelstart.simulator.encoding import Json, day
from adapters.snelstart.simulator.schema import models
from adapters.snelstart.simulator.world import World

RELATION: Final = "Relaties.RelatieModel"
MANDATE: Final = "Relaties.DoorlopendeIncassoMachtigingModel"
_KINDS: Final = {Role.CUSTOMER: "Klant", Role.PROSPECT: "Klant", Role.SUPPLIER: "Leverancier", Role.OWN: "Eigen"}
_LONGEST_NAME = 50


def inactive(world: World, customer: Customer) -> bool:
    """Deleted is the same as inactive here."""
    return customer.blocked or customer.id in world.retired


def relation(world: World, customer: Customer) -> Json:
    key, number, modified = customer.id, customer.number, max(customer.modified, customer.created)
    account = next((account for account in customer.bank_accounts if account.main), None)
    email = customer.email or None
    also = f"boekhouding@klant{number}.example"
    fields: Json = {
        "relatiesoort": [_KINDS[customer.role]],
        "modifiedOn": world.pen.stamp(modified, key),
        "relatiecode": number,
        "naam": customer.name[:_LONGEST_NAME],
        "vestigingsAdres": _address(world, customer, customer.address(AddressKind.VISIT)),
        "correspondentieAdres": _address(world, customer, customer.address(AddressKind.INVOICE)),
        "telefoon": customer.phone or None,
        "mobieleTelefoon": None,
        "fax": None,
        "email": f"{email};{also}" if email and number % 7 == 3 else email,
        "btwNummer": customer.vat_number,
        "factuurkorting": 0,
        "krediettermijn": customer.condition.days,
        "bankieren": customer.mandate is not None,
        "nonactief": inactive(world, customer),
        "kredietLimiet": customer.credit_limit,
        "memo": None,
        "kvkNummer": customer.coc_number,
        "oin": None,
        "websiteUrl": customer.website,
        "aanmaningsoort": _reminders(customer),
        "offerteEmailVersturen": _mail(None),
        "bevestigingsEmailVersturen": _mail(None),
        "factuurEmailVersturen": _mail(email, cc=also) if number % 3 == 0 else None,
        "aanmaningEmailVersturen": _mail(f"{email}; {also}" if email else None) if number % 4 == 0 else _mail(None),
        "offerteAanvraagEmailVersturen": _mail(None),
        "bestellingEmailVersturen": _mail(None),
        "ublBestandAlsBijlage": number % 9 == 0,
        "iban": account.iban if account else None,
        "bic": account.bic if account else None,
        "incassoSoort": _collection(customer),
        "factuurRelatie": None,
        "inkoopBoekingenUri": f"/relaties/{key}/inkoopboekingen",
        "verkoopBoekingenUri": f"/relaties/{key}/verkoopboekingen",
        "documents": [],
        "extraVeldenKlant": [],
    }
    fields |= world.retouched.get(key, {})
    return world.pen.row("relaties", key, fields, models()[RELATION])


def mandate(world: World, mandate: Mandate) -> Json:
    fields: Json = {
        "kenmerk": mandate.reference,
        "afsluitDatum": day(mandate.signed),
        "omschrijving": "Doorlopende machtiging",
        "klant": world.pen.link("relaties", mandate.customer.id),
        "intrekkingsDatum": day(mandate.cancelled) if mandate.cancelled else None,
    }
    return world.pen.row("doorlopendeincassomachtigingen", mandate.id, fields, models()[MANDATE])


def _reminders(customer: Customer) -> str:
    if customer.role is not Role.CUSTOMER or customer.number % 19 == 0:
        return "Nee"
    return "Consument" if customer.consumer else "Onderneming"


def _collection(customer: Customer) -> str:
    if customer.mandate is None:
        return "Geen"
    return "Core" if customer.consumer else "B2B"


def _mail(email: str | None, cc: str | None = None) -> Json:
    return {"shouldSend": email is not None, "email": email or "", "ccEmail": cc or ""}


def _address(world: World, customer: Customer, address: Address | None) -> Json | None:
    if address is None:
        return None
    contact = customer.main_contact
    return {
        "contactpersoon": f"{contact.first_name} {contact.last_name}" if contact else "",
        "straat": address.street,
        "postcode": address.postcode,
        "plaats": address.city,
        "land": world.pen.link("landen", world.countries.get(address.country)),
    }
