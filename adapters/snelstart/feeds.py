"""Which feeds there are, when each is due, and what of a collection it asks for. Pure.

Nothing that settles an invoice reliably shows in a feed of changes, and nothing that is deleted does (sheet 3.1, 7). So
the changes are quick hints, and sweeps are the truth: of the open invoices in each cycle where SnelStart can filter
them, else of all invoices every hour, and of everything else once a day or a week.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from adapters.snelstart import query
from adapters.snelstart.rows import Chart
from connector.adapter import Feed

HOURLY, DAILY, WEEKLY = timedelta(hours=1), timedelta(days=1), timedelta(days=7)

SWEPT: Final = {
    "ledgers": "ledger",
    "invoices": "invoice",
    "relations-all": "relation",
    "bank-all": "bankline",
    "cash-all": "cashline",
    "memorials-all": "memorial",
    "suspense": "suspense",
}
CHANGED: Final = {
    "relations": "relation",
    "invoices-changed": "invoice",
    "bank": "bankline",
    "cash": "cashline",
    "memorials": "memorial",
}
"""Feeds by the kind of row they fill."""


def feeds(stage: str, chart: Chart, *, open_first: bool) -> Sequence[Feed]:
    """`open_first`: whether open invoices can be asked for."""
    if stage == "reference":
        return (
            Feed(name="company", kind="sweep", fills="company"),
            Feed(name="journals", kind="sweep", fills="journal", every=DAILY),
            Feed(name="ledgers", kind="sweep", fills="ledger", every=DAILY),
            Feed(name="countries", kind="sweep", fills="country", every=WEEKLY),
            Feed(name="abilities", kind="sweep", fills="ability", every=DAILY),
        )
    if stage == "open":
        relations = Feed(name="relations-all", kind="sweep", fills="relation", every=WEEKLY, twice=True)
        if open_first:
            return (Feed(name="open", kind="sweep", fills="invoice", open_only=True, twice=True), relations)
        return (Feed(name="invoices", kind="sweep", fills="invoice", every=HOURLY, twice=True), relations)
    memorials = "|".join((*sorted(chart.receivables), *sorted(chart.memorials)))
    unknown = " ".join(sorted(chart.unknown_payments))
    return (
        Feed(name="relations", kind="changes", fills="relation"),
        *([Feed(name="invoices", kind="sweep", fills="invoice", every=DAILY, twice=True)] if open_first else []),
        Feed(name="invoices-changed", kind="changes", fills="invoice"),
        Feed(name="bank-all", kind="sweep", fills="bankline", every=WEEKLY),
        Feed(name="bank", kind="changes", fills="bankline"),
        Feed(name="cash-all", kind="sweep", fills="cashline", every=WEEKLY),
        Feed(name="cash", kind="changes", fills="cashline"),
        Feed(name="memorials-all", kind="sweep", fills="memorial", scope=memorials, every=WEEKLY),
        Feed(name="memorials", kind="changes", fills="memorial", scope=memorials),
        Feed(name="mandates", kind="changes", fills="mandates", every=DAILY),
        Feed(name="suspense", kind="sweep", fills="suspense", scope=unknown, every=HOURLY),
        Feed(name="review", kind="deletions", fills=""),
    )


def condition_of(kind: str, chart: Chart) -> str | None:
    """What of a collection is read; None where there is nothing that could be asked for."""
    match kind:
        case "memorial" if not (chart.receivables and chart.memorials):
            return None
        case "memorial":
            accounts = query.among("Grootboek/Id", chart.receivables)
            return query.both(accounts, query.among("Dagboek/Id", chart.memorials))
        case "suspense" if not chart.unknown_payments:
            return None
        case "suspense":
            return query.among("Grootboek/Id", chart.unknown_payments)
        case _:
            return ""
