"""What hardly changes: the company, its accounts and journals, countries, VAT rates, and balances (sheet 5.7)."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from adapters.simulation.ledger import AccountKind, LedgerAccount
from adapters.snelstart.simulator.chart import PROFIT_AND_LOSS
from adapters.snelstart.simulator.encoding import Json, day
from adapters.snelstart.simulator.schema import models
from adapters.snelstart.simulator.world import COUNTRIES, World

COMPANY: Final = "CompanyInfo.CompanyInfoModel"
ACCOUNT: Final = "Grootboeken.GrootboekModel"
JOURNAL: Final = "Dagboeken.DagboekModel"
COUNTRY: Final = "Landen.LandModel"
COST_CENTRE: Final = "Kostenplaatsen.KostenplaatsModel"
VAT_RATE: Final = "BtwTarieven.BtwTariefModel"
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2400, 12, 31)
"""Stand for no limit (sheet 5.8)."""
_RUBRICS: Final = {
    AccountKind.BANK: "Liquide middelen",
    AccountKind.CASH: "Liquide middelen",
    AccountKind.RECEIVABLE: "Vorderingen",
    AccountKind.PAYABLE: "Kortlopende schulden",
}


def company(world: World, administration: str) -> Json:
    """The administration that a token opens: these books, or others of which only the name is known."""
    own = world.books.administration
    ours = administration == world.administration
    bank = next(journal for journal in world.books.ledger.journals.values() if journal.iban)
    name = own.name if ours else "Een andere administratie"
    return {
        **dict.fromkeys(models()[COMPANY]),
        "administratieIdentifier": administration,
        "administratieNaam": name,
        "bedrijfsnaam": name,
        "adres": "Handelskade 12",
        "postcode": "1019 BA",
        "plaats": "Amsterdam",
        "iban": bank.iban,
        "bic": bank.bic,
        "rechtsvorm": "Bv",
        "btwNummer": own.vat_number,
        "kvKNummer": own.coc_number,
        "email": "administratie@voorbeeld.example",
        "huidigBoekjaar": world.books.today.year,
        "beginmaandFiscaleBoekjaar": 1,
        "btwAangiftePeriodeSoort": "Kwartaal",
        "volgendFactuurnummer": max((item.number for item in world.books.matching.items.values()), default=0) + 1,
        "factuurAlsBijlageVerkoopboeking": world.settings.invoice_on_booking,
        "factureerBuitenlandsBtwRanges": [],
    }


def account(world: World, account: LedgerAccount) -> Json:
    fields: Json = {
        "modifiedOn": world.pen.stamp(account.created, account.id),
        "omschrijving": account.name,
        "kostenplaatsVerplicht": False,
        "rekeningCode": "WinstEnVerlies" if account.kind in PROFIT_AND_LOSS else "Balans",
        "nonactief": False,
        "nummer": int(account.code),
        "grootboekfunctie": world.chart.function(account),
        "grootboekRubriek": _RUBRICS.get(account.kind),
        "rgsCode": [],
        "btwSoort": ["Geen"],
        "vatRateCode": None,
    }
    return world.pen.row("grootboeken", account.id, fields, models()[ACCOUNT])


def journal(world: World, key: str) -> Json:
    account = world.chart.journals[key]
    fields: Json = {
        "omschrijving": account.name,
        "soort": world.chart.kinds[account.id],
        "nonactief": False,
        "nummer": int(account.code),
    }
    return world.pen.row("dagboeken", key, fields, models()[JOURNAL])


def country(world: World, code: str) -> Json:
    _, three, name = next(country for country in COUNTRIES if country[0] == code)
    fields: Json = {"naam": name, "landcodeISO": three, "landcode": code}
    return world.pen.row("landen", world.countries[code], fields, models()[COUNTRY])


def vat_rates() -> list[Json]:
    return [
        {
            "btwSoort": kind,
            "btwPercentage": Decimal(percentage),
            "datumVanaf": day(_FIRST_DAY),
            "datumTotEnMet": day(_LAST_DAY),
        }
        for kind, percentage in (("Geen", 0), ("Laag", 9), ("Hoog", 21))
    ]


def period_balance(world: World, start: date, end: date) -> list[Json]:
    """Per account what was debited and credited in a period, and where it stood before and after."""
    zero = Decimal(0)
    sums: defaultdict[str, dict[str, Decimal]] = defaultdict(
        lambda: dict.fromkeys(("year", "start", "in", "out"), zero)
    )
    for booking in world.postings.all():
        if booking.on > end:
            continue
        for posting in world.postings.postings(booking):
            of = sums[posting.account.id]
            if booking.on < date(start.year, 1, 1):
                of["year"] += posting.amount
            if booking.on < start:
                of["start"] += posting.amount
            elif posting.amount > 0:
                of["in"] += posting.amount
            else:
                of["out"] -= posting.amount
    return list(_balances(world, sums))


def _balances(world: World, sums: dict[str, dict[str, Decimal]]) -> Iterable[Json]:
    money: Any = world.pen.money
    for key, of in sums.items():
        account = world.chart.accounts[key]
        yield {
            "grootboekIdentifier": world.pen.link("grootboeken", key),
            "grootboekOmschrijving": account.name,
            "grootboekNummer": int(account.code),
            "debet": money(of["in"], key),
            "credit": money(of["out"], key),
            "startSaldoPeriode": money(of["start"], key),
            "eindSaldoPeriode": money(of["start"] + of["in"] - of["out"], key),
            "startSaldoBoekjaar": money(of["year"], key),
            "rgsCode": [],
        }
