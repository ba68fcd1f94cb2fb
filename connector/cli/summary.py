"""What `sync` tells at its end: a table of what was read, what was delivered, and what went wrong."""

from collections.abc import Sequence
from typing import Any

from connector.cli.common import err, explain, explain_bug, out, plain, print_json, table
from connector.delivery import DeliveryReport
from connector.errors import ConnectorError
from connector.outcome import CycleReport
from connector.rehearsal import Rehearsal


def show(reports: Sequence[CycleReport], deliveries: Sequence[DeliveryReport], *, json: bool) -> None:
    if json:
        print_json(
            {
                "connections": [_as_json(report) for report in reports],
                "deliveries": [vars(delivery) for delivery in deliveries],
            }
        )
        return
    _show_cycles(reports)
    for delivery in deliveries:
        out.print(f"{delivery.destination}: {delivery.delivered} events delivered")
        _show_trouble(delivery)


def show_rehearsals(rehearsals: Sequence[Rehearsal], *, json: bool) -> None:
    if json:
        print_json(
            [
                {
                    **_as_json(one.report),
                    "events": one.events,
                    "largest_differences": [vars(each) for each in one.largest],
                }
                for one in rehearsals
            ]
        )
        return
    _show_cycles([one.report for one in rehearsals])
    for one in rehearsals:
        out.print(f"{one.report.connection}: nothing was stored or sent.")
        out.print("It would send:" if one.events else "There is nothing to send.")
        for kind, count in sorted(one.events.items()):
            out.print(f"  {count:>7}  {kind}")
        if one.largest:
            out.print("The largest changes of what is open:")
        for each in one.largest:
            name = plain(each.number or each.external_id)
            out.print(f"  invoice {name}: {each.before} -> {each.after} {each.currency}")


def _show_cycles(reports: Sequence[CycleReport]) -> None:
    numbers = ("pages", "rows", "new", "changed", "removed", "open here", "ledger")
    shown = table("connection", "outcome", *numbers, right=numbers)
    for report in reports:
        total = report.closing.freshness.control_total if report.closing else None
        shown.add_row(
            report.connection,
            report.outcome,
            str(sum(feed.pages for feed in report.feeds)),
            str(sum(feed.rows for feed in report.feeds)),
            str(report.tally.created),
            str(report.tally.changed),
            str(report.tally.removed),
            f"{total.ours} {total.currency}" if total else "-",
            f"{total.ledger} {total.currency}" if total and total.ledger is not None else "-",
        )
    out.print(shown)
    for report in reports:
        _show_failure(report)


def _show_failure(report: CycleReport) -> None:
    for reason in report.closing.blocking if report.closing else ():
        err.print(f"{report.connection}: {plain(reason)}")
    if report.outcome == "interrupted":
        err.print(f"{report.connection}: interrupted; what was read is stored, the next sync goes on there")
    if isinstance(report.error, ConnectorError):
        if report.closing is None:  # else it is among the reasons above
            explain(report.error, report.connection)
    elif report.error is not None:
        explain_bug(report.error)


def _show_trouble(delivery: DeliveryReport) -> None:
    if delivery.ended == "busy":
        out.print(f"{delivery.destination}: another process delivers the rest")
    elif delivery.ended != "drained":
        words = {"stopped": "interrupted", "waiting": "failing"}.get(delivery.ended, delivery.ended)
        reason = f": {plain(delivery.reason)}" if delivery.reason else ""
        err.print(f"{delivery.destination}: {words}{reason}")
        err.print("  what to do: nothing is lost; " + _next_step(delivery))
    if delivery.postponed or delivery.dead:
        err.print(
            f"{delivery.destination}: {delivery.postponed} events wait to be sent again, "
            f"{delivery.dead} were refused for good; `connector events dead` lists those"
        )


def _next_step(delivery: DeliveryReport) -> str:
    if delivery.ended == "paused":
        return f"correct the cause, then `connector replay --resume {delivery.destination}` and `connector sync`"
    return "`connector run` or the next `connector sync` sends the rest"


def _as_json(report: CycleReport) -> dict[str, Any]:
    return {
        "connection": report.connection,
        "outcome": report.outcome,
        "error": None if report.error is None else plain(report.error),
        "feeds": [vars(feed) for feed in report.feeds],
        "created": report.tally.created,
        "changed": report.tally.changed,
        "removed": report.tally.removed,
        "unchanged": report.tally.unchanged,
        "freshness": report.closing.freshness if report.closing else None,
    }
