"""How each connection and destination stands: what `connector status` and the API show."""

from collections import Counter
from typing import Any

from connector.runtime import Runtime
from connector.store import backlog, connections, destinations, quarantine, records


def of_connection(runtime: Runtime, name: str) -> dict[str, Any]:
    linked = connections.find(runtime.store, name)
    token = runtime.token_store.get(linked.id)
    figures = records.figures(runtime.store, linked.id)
    return {
        "name": name,
        "package": linked.package,
        "administration": linked.administration,
        "title": linked.title,
        "linked": linked.linked_at is not None and token is not None and token.status == "linked",
        "outcome": linked.outcome or "not synced yet",
        "reason": linked.reason,
        "last_success_at": linked.last_success_at,
        "next_due_at": linked.next_due_at if linked.linked_at else None,
        "customers": figures.customers,
        "invoices": figures.invoices,
        "open_invoices": figures.open_invoices,
        "payments": figures.payments,
        "open": figures.open,
        "unallocated": figures.unallocated,
        "quarantined": quarantine.newest(runtime.store, linked.id, 0).count,
    }


def of_destination(runtime: Runtime, name: str) -> dict[str, Any]:
    with runtime.store.read() as connection:
        health = destinations.health(connection, name)
    waiting: Counter[str] = Counter()
    for count in backlog.counts(runtime.store):
        if count.destination == name:
            waiting[count.state] += count.events
    return {
        "name": name,
        "state": "paused" if health.paused else "failing" if health.failures else "ok",
        "reason": health.reason,
        "events": dict(waiting),
    }
