"""Invented Dutch companies and people whose numbers pass the checks that real ones pass."""

from dataclasses import dataclass
from random import Random

_TRADES = (
    "Bouwbedrijf", "Installatietechniek", "Schildersbedrijf", "Hoveniersbedrijf", "Drukkerij", "Bakkerij",
    "Transport", "Garage", "Fysiotherapie", "Kapsalon", "Advies", "Architecten", "Slagerij", "Boekhandel",
    "Elektrotechniek", "Schoonmaakdiensten", "Metaalbewerking", "Tandartspraktijk", "Rijschool", "Makelaardij",
)  # fmt: skip
_SURNAMES = (
    "de Jong", "Jansen", "de Vries", "van den Berg", "Bakker", "van Dijk", "Visser", "Smit", "Meijer",
    "de Boer", "Mulder", "de Groot", "Bos", "Vos", "Peters", "Hendriks", "van Leeuwen", "Dekker", "Brouwer",
    "de Wit", "Dijkstra", "Smits", "de Graaf", "van der Meer", "Kok", "Jacobs", "Vermeulen", "van Vliet",
    "van der Linden", "Hoekstra", "Çelik", "Öztürk", "van 't Hof", "Müller",
)  # fmt: skip
_FIRST_NAMES = (
    "Emma", "Daan", "Sanne", "Bram", "Lotte", "Sem", "Fleur", "Thijs", "Noor", "Lars", "Eva", "Ruben",
    "Anouk", "Jasper", "Maud", "Koen", "Iris", "Pieter", "Yara", "Tim", "Zoë", "Joris", "Fatima", "Mehmet",
)  # fmt: skip
_STREETS = (
    "Dorpsstraat", "Kerkstraat", "Molenweg", "Schoolstraat", "Stationsweg", "Nieuwstraat", "Havenkade",
    "Industrieweg", "Wilhelminastraat", "Julianalaan", "Beukenlaan", "Hoofdstraat", "Parallelweg", "Marktplein",
)  # fmt: skip
_CITIES = (
    ("Amsterdam", 1011), ("Rotterdam", 3011), ("Den Haag", 2511), ("Utrecht", 3511), ("Eindhoven", 5611),
    ("Groningen", 9711), ("Tilburg", 5011), ("Breda", 4811), ("Nijmegen", 6511), ("Haarlem", 2011),
    ("Arnhem", 6811), ("Zwolle", 8011), ("Leiden", 2311), ("Maastricht", 6211), ("'s-Hertogenbosch", 5211),
)  # fmt: skip
_FORMS = ("B.V.", "B.V.", "V.O.F.", "& Zn.", "Holding B.V.", "")
_BANKS = (("INGB", "INGBNL2A"), ("RABO", "RABONL2U"), ("ABNA", "ABNANL2A"), ("TRIO", "TRIONL2U"))
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXZ"


@dataclass(frozen=True, slots=True)
class Identity:
    name: str
    first_name: str
    last_name: str
    consumer: bool
    email: str
    phone: str
    street: str
    postcode: str
    city: str
    iban: str
    bic: str
    coc_number: str | None
    vat_number: str | None


def invent(rng: Random, number: int, *, consumer: bool = False) -> Identity:
    """A company, or a person; `number` keeps the e-mail address unique."""
    first, last = rng.choice(_FIRST_NAMES), rng.choice(_SURNAMES)
    name = f"{first} {last}" if consumer else f"{rng.choice(_TRADES)} {last} {rng.choice(_FORMS)}".strip()
    host = f"klant{number}.example"
    bank, bic = rng.choice(_BANKS)
    city, area = rng.choice(_CITIES)
    return Identity(
        name=name,
        first_name=first,
        last_name=last,
        consumer=consumer,
        email=f"{first.lower().replace('ë', 'e')}@{host}" if consumer else f"administratie@{host}",
        phone=f"+31 6 {rng.randrange(10_000_000, 99_999_999)}",
        street=f"{rng.choice(_STREETS)} {rng.randrange(1, 250)}",
        postcode=f"{area + rng.randrange(80)} {rng.choice(_LETTERS)}{rng.choice(_LETTERS)}",
        city=city,
        iban=iban("NL", f"{bank}{rng.randrange(10**10):010d}"),
        bic=bic,
        coc_number=None if consumer else f"{rng.randrange(10_000_000, 99_999_999)}",
        vat_number=None if consumer else vat_number(rng),
    )


def iban(country: str, account: str) -> str:
    """The account with check digits in front that make the whole 1 modulo 97."""
    remainder = int("".join(str(int(sign, 36)) for sign in f"{account}{country}00")) % 97
    return f"{country}{98 - remainder:02d}{account}"


def vat_number(rng: Random) -> str:
    """A Dutch company's VAT number: nine digits that pass the eleven test."""
    while True:
        digits = [rng.randrange(1, 10), *(rng.randrange(10) for _ in range(7))]
        check = sum(weight * digit for weight, digit in zip(range(9, 1, -1), digits, strict=True)) % 11
        if check < 10:
            return f"NL{''.join(map(str, digits))}{check}B01"
