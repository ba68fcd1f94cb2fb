"""How each connection and destination stands: what `connector status` and the API show."""

from collections import Counter
from typing import Any

from connector.runtime import Runtime
from connector.store import backlog, connections, destinations, quarantine, records, tokens
from connector.store.connections import Linked
from connector.store.tokens import SignIn


def of_connection(runtime: Runtime, name: str) -> dict[str, Any]:
    linked = connections.find(runtime.store, name)
    with runtime.store.read() as connection:
        sign_in = tokens.sign_in(connection, linked.id)
    figures = records.figures(runtime.store, linked.id)
    return {
        "name": name,
        "package": linked.package,
        "administration": linked.administration,
        "title": linked.title,
        "linked": linked.linked_at is not None and sign_in is not None and sign_in.status == tokens.LINKED,
        "sign_in": None if sign_in is None else _sign_in(sign_in),
        "next_step": _next_step(linked, sign_in),
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


def _sign_in(sign_in: SignIn) -> dict[str, Any]:
    return {
        "state": sign_in.status,
        "reason": sign_in.reason,
        "signed_in_at": sign_in.signed_in_at,
        "renewed_at": sign_in.refreshed_at,
        "ends_at": sign_in.refresh_expires_at if sign_in.status == tokens.LINKED else None,
        "keep_alive_at": sign_in.keep_alive_at,
    }


def _next_step(linked: Linked, sign_in: SignIn | None) -> dict[str, Any]:
    """What happens next, and when; where nothing happens by itself, the command for it."""
    if linked.linked_at is None or (sign_in is not None and sign_in.status != tokens.LINKED):
        return {"what": "sign_in", "at": None, "command": f"connector connect {linked.name}"}
    steps = {"sync": linked.next_due_at, "keep_alive": sign_in.keep_alive_at if sign_in else None}
    at, what = min((at, what) for what, at in steps.items() if at is not None)
    return {"what": what, "at": at}


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
