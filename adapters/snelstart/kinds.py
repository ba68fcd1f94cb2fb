"""What is read of each kind of item: from which collection, and which of its fields are kept.

The same fields are kept however an item was read, so that an unchanged item always gives an identical row. That is
why `modifiedOn` is not among them: whether it moves means nothing by itself (sheet 7).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from adapters.snelstart.wire import amount, day, flag, link, links, record, whole, words
from connector.decoding import Decode, guid, text

MONEY: Final = {"bankline": "bankboekingen", "cashline": "kasboekingen"}
"""The kind of a line that settles an invoice -> the collection of the bookings it stands in."""

RECEIVABLES: Final = "DagboekVerkoop"
UNKNOWN_PAYMENTS: Final = "OnbekendeBetalingen"
"""Functions of ledger accounts; their numbers differ by client (sheet 5.7)."""

_MAIL: Final = record({"email": text, "ccEmail": text})
_ADDRESS: Final = record({"contactpersoon": text, "straat": text, "postcode": text, "plaats": text, "land": link})


class Kind(NamedTuple):
    name: str
    collection: str
    fields: dict[str, Decode]
    required: tuple[str, ...] = ("id",)
    key: str = "id"


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "company",
            "companyInfo",
            {
                "administratieIdentifier": guid,
                "administratieNaam": text,
                "bedrijfsnaam": text,
                "kvKNummer": text,
                "btwNummer": text,
                "iban": text,
                "email": text,
                "huidigBoekjaar": whole,
                "beginmaandFiscaleBoekjaar": whole,
                "factuurAlsBijlageVerkoopboeking": flag,
            },
            ("administratieIdentifier",),
            "administratieIdentifier",
        ),
        Kind(
            "journal",
            "dagboeken",
            {"id": guid, "nummer": whole, "omschrijving": text, "soort": text, "nonactief": flag},
            ("id", "nummer", "soort"),
        ),
        Kind(
            "ledger",
            "grootboeken",
            {"id": guid, "nummer": whole, "omschrijving": text, "grootboekfunctie": text},
            ("id", "nummer"),
        ),
        Kind("country", "landen", {"id": guid, "landcode": text}),
        Kind(
            "relation",
            "relaties",
            {
                "id": guid,
                "relatiecode": whole,
                "relatiesoort": words,
                "naam": text,
                "vestigingsAdres": _ADDRESS,
                "correspondentieAdres": _ADDRESS,
                "telefoon": text,
                "mobieleTelefoon": text,
                "email": text,
                "factuurEmailVersturen": _MAIL,
                "aanmaningEmailVersturen": _MAIL,
                "websiteUrl": text,
                "btwNummer": text,
                "kvkNummer": text,
                "oin": text,
                "krediettermijn": whole,
                "kredietLimiet": amount,
                "nonactief": flag,
                "aanmaningsoort": text,
                "incassoSoort": text,
                "iban": text,
                "bic": text,
                "factuurRelatie": link,
            },
        ),
        Kind(
            "invoice",
            "verkoopfacturen",
            {
                "id": guid,
                "relatie": link,
                "verkoopBoeking": link,
                "verkoopOrders": links,
                "factuurnummer": text,
                "factuurDatum": day,
                "vervalDatum": day,
                "factuurBedrag": amount,
                "openstaandSaldo": amount,
            },
            ("id", "factuurBedrag", "openstaandSaldo"),
        ),
        Kind(
            "memorial",
            "grootboekmutaties",
            {
                "id": guid,
                "grootboek": link,
                "dagboek": link,
                "datum": day,
                "saldo": amount,
                "boekstuk": text,
                "factuurNummer": text,
                "omschrijving": text,
                "relatiePublicIdentifier": link,
            },
            ("id", "grootboek", "saldo"),
        ),
        Kind(
            "suspense",
            "grootboekmutaties",
            {"id": guid, "grootboek": link, "datum": day, "saldo": amount},
            ("id", "grootboek", "saldo"),
        ),
    )
}


def collection(kind: str) -> str:
    """Where items of this kind are found."""
    return MONEY.get(kind) or KINDS[kind].collection


BOOKING: Final[dict[str, Decode]] = {"id": guid, "datum": day, "dagboek": link, "boekstuk": text, "omschrijving": text}
"""What each line repeats of the bank or cash booking it stands in."""

MANDATE: Final[dict[str, Decode]] = {
    "id": guid,
    "kenmerk": text,
    "omschrijving": text,
    "afsluitDatum": day,
    "intrekkingsDatum": day,
}

_MAILS: Final = ("factuurEmailVersturen", "aanmaningEmailVersturen")
_PLACES: Final = ("vestigingsAdres", "correspondentieAdres")


def _paths(kind: str, fields: Mapping[str, Any]) -> frozenset[str]:
    """The plain fields; of those that are objects, what is in them."""
    names = [name for name in fields if name not in {*_MAILS, *_PLACES}]
    inner = [f"{name}.{part}" for name in _MAILS if name in fields for part in ("email", "ccEmail")]
    return frozenset(f"{kind}.{name}" for name in [*names, *inner])


_ADDRESSED: Final = dict.fromkeys(("role", "contactpersoon", "straat", "postcode", "plaats", "landcode"), text)
_COMPANY: Final = _paths("company", KINDS["company"].fields)
_OF_CUSTOMER: Final = _COMPANY | _paths("relation", KINDS["relation"].fields) | _paths("address", _ADDRESSED)
_LINE: Final = {**{name: text for name in BOOKING if name != "id"}, "bedrag": amount}

SOURCES: Final[Mapping[str, frozenset[str]]] = {
    "administration": _COMPANY,
    "customer": _OF_CUSTOMER,
    "contact": _OF_CUSTOMER | frozenset({"contact.roles", "contact.email", "contact.cc"}),
    "address": _OF_CUSTOMER,
    "bank_account": _OF_CUSTOMER,
    "mandate": _OF_CUSTOMER | _paths("mandate", MANDATE),
    "terms": _OF_CUSTOMER,
    "invoice": _OF_CUSTOMER | _paths("invoice", KINDS["invoice"].fields),
    "payment": _OF_CUSTOMER | _paths("line", _LINE) | _paths("journal", KINDS["journal"].fields),
}
"""Section of the mapping -> the paths that it may name."""
