"""What the ledger says is receivable, and what of it no invoice can show (sheet 5.6, 5.7, 7, 13.7)."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from adapters.snelstart import query, wire
from adapters.snelstart.api import Api
from adapters.snelstart.rows import Chart
from connector.decoding import essential
from connector.domain.money import ZERO


async def sum_of_mutations(api: Api, chart: Chart) -> Decimal:
    """The sum of every line on the receivables accounts, added up by SnelStart."""
    params = {
        "$apply": "aggregate(Saldo with sum as Totaal)",
        "$filter": query.among("Grootboek/Id", chart.receivables),
        "$top": "1",
    }
    rows = await api.whole("grootboekmutaties", params)
    if not rows or all(value is None for value in rows[0].values()):
        return ZERO
    total = {name.lower(): value for name, value in rows[0].items()}
    return Decimal(essential(total, "totaal", wire.amount))


async def period_balance(api: Api, chart: Chart, company: Mapping[str, Any]) -> Decimal:
    """How the receivables accounts stand at the end of the present year."""
    year = int(essential(company, "huidigBoekjaar", wire.whole))
    month = int(company.get("beginmaandFiscaleBoekjaar") or 1)
    start, end = date(year, month, 1), date(year + 1, month, 1) - timedelta(days=1)
    rows = await api.whole("rapportages/periodebalans", {"start": str(start), "end": str(end)})
    ours = [row for row in rows if essential(row, "grootboekIdentifier", wire.link) in chart.receivables]
    return sum((Decimal(essential(row, "eindSaldoPeriode", wire.amount)) for row in ours), ZERO)


async def without_invoice(api: Api, chart: Chart) -> Decimal:
    """What was booked straight on a receivables account: no open item can show it (sheet 13.7)."""
    condition = query.both(query.among("Grootboek/Id", chart.receivables), query.WITHOUT_NUMBER)
    total = ZERO
    async for items in api.changes("grootboekmutaties", condition):
        for item in items:
            if not item.get("factuurNummer") and essential(item, "grootboek", wire.link) in chart.receivables:
                total += Decimal(essential(item, "saldo", wire.amount))
    return total
