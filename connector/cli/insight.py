"""`status`, `events` and `replay`: how things stand, what waits, and sending it again."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NamesArgument,
    errors_explained,
    open_runtime,
    out,
    print_json,
)
from connector.errors import ConfigurationError
from connector.runtime import Runtime
from connector.store import backlog, connections, destinations, quarantine, records


def status(names: NamesArgument = None, config_path: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show each connection: linked, last success, next sync, what is stored and what waits."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            shown = {
                "connections": [_connection(runtime, one.name) for one in runtime.settings.select(names or [])],
                "destinations": [_destination(runtime, name) for name in runtime.settings.destinations],
            }
        finally:
            runtime.store.close()
        if json:
            print_json(shown)
        else:
            _print_status(shown)


def _connection(runtime: Runtime, name: str) -> dict[str, Any]:
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


def _destination(runtime: Runtime, name: str) -> dict[str, Any]:
    with runtime.store.read() as connection:
        health = destinations.health(connection, name)
    counts = backlog.counts(runtime.store)
    return {
        "name": name,
        "state": "paused" if health.paused else "failing" if health.failures else "ok",
        "reason": health.reason,
        "events": {count.state: count.events for count in counts if count.destination == name},
    }


def _print_status(shown: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("connection", "administration", "linked", "last outcome", "last success", "next", "customers"):
        table.add_column(column)
    for column in ("invoices", "open", "quarantine"):
        table.add_column(column, justify="right")
    for one in shown["connections"]:
        table.add_row(
            one["name"],
            f"{one['administration']} {one['title']}".strip(),
            "yes" if one["linked"] else "no",
            one["outcome"],
            _time(one["last_success_at"]),
            _time(one["next_due_at"]),
            str(one["customers"]),
            f"{one['open_invoices']} of {one['invoices']} open",
            ", ".join(f"{amount} {currency}" for currency, amount in one["open"].items()) or "-",
            str(one["quarantined"]),
        )
    out.print(table)
    for one in shown["connections"]:
        if one["reason"]:
            out.print(f"{one['name']}: {one['reason']}")
    for one in shown["destinations"]:
        counts = ", ".join(f"{count} {state}" for state, count in one["events"].items()) or "nothing waits"
        out.print(
            f"destination {one['name']}: {one['state']}; {counts}" + (f"; {one['reason']}" if one["reason"] else "")
        )


def _time(instant: datetime | None) -> str:
    return "-" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


class Kind(StrEnum):
    """What `events` lists."""

    PENDING = "pending"
    DEAD = "dead"
    ATTEMPTS = "attempts"


def events(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.PENDING,
    config_path: ConfigOption = DEFAULT_CONFIG,
    destination: Annotated[str | None, typer.Option("--destination", help="Of one destination only.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many at most.", min=1)] = 50,
    json: JsonOption = False,
) -> None:
    """List events that wait or are dead, or the attempts to deliver."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            shown = _listed(runtime, kind, destination, limit)
        finally:
            runtime.store.close()
        if json:
            print_json(shown)
        elif not shown:
            out.print(f"nothing {'attempted yet' if kind is Kind.ATTEMPTS else f'is {kind.value}'}")
        else:
            _print_rows(shown)


def replay(
    event_ids: Annotated[list[str] | None, typer.Argument(metavar="[EVENT]...", help="Events by id.")] = None,
    config_path: ConfigOption = DEFAULT_CONFIG,
    connection: Annotated[str | None, typer.Option("--connection", help="Of one connection.")] = None,
    entity: Annotated[str | None, typer.Option("--entity", help="Of one entity, as invoice/<external id>.")] = None,
    since: Annotated[datetime | None, typer.Option("--since", help="Written at or after this time (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Written before this time (UTC).")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Dead events only.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Give dead events up instead of sending them again.")] = False,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Also lift the pause of this destination.", metavar="DESTINATION")
    ] = None,
) -> None:
    """Send events again: same ids and bytes, in order; a receiver ignores what it has."""
    with errors_explained():
        if not (event_ids or connection or entity or since or until or dead or resume):
            raise ConfigurationError(
                "nothing says which events are meant", where="connector replay", fix="name events, or use an option"
            )
        runtime = open_runtime(config_path)
        try:
            if resume is not None:
                _resume(runtime, resume)
            if event_ids or connection or entity or since or until or dead:
                kind, _, external_id = (entity or "").partition("/")
                chosen = backlog.Selection(
                    event_ids=event_ids or (),
                    connection_id=_id(runtime, connection),
                    entity=kind or None,
                    external_id=external_id or None,
                    since=since.replace(tzinfo=UTC) if since else None,
                    until=until.replace(tzinfo=UTC) if until else None,
                    dead_only=dead,
                )
                count = backlog.skip(runtime.store, chosen) if skip else backlog.replay(runtime.store, chosen)
                out.print(f"{count} events " + ("given up" if skip else "wait to be sent again"))
        finally:
            runtime.store.close()


def _listed(runtime: Runtime, kind: Kind, destination: str | None, limit: int) -> list[dict[str, Any]]:
    if kind is Kind.ATTEMPTS:
        names = [destination] if destination else list(runtime.settings.destinations)
        found = [attempt for name in names for attempt in destinations.attempts(runtime.store, name, limit)]
        return [msgspec.structs.asdict(attempt) for attempt in found]
    listing = backlog.dead if kind is Kind.DEAD else backlog.pending
    selection = backlog.Selection(destination=destination)
    return [msgspec.structs.asdict(event) for event in listing(runtime.store, selection, limit)]


def _id(runtime: Runtime, name: str | None) -> int | None:
    if name is None:
        return None
    runtime.settings.select([name])
    return connections.find(runtime.store, name).id


def _resume(runtime: Runtime, name: str) -> None:
    if name not in runtime.settings.destinations:
        raise ConfigurationError(
            f"there is no destination {name!r}",
            where=str(runtime.settings.file),
            fix=f"use one of: {', '.join(runtime.settings.destinations)}",
        )
    destinations.resume(runtime.store, name)
    out.print(f"destination {name} is no longer paused")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    columns = [column for column in rows[0] if any(row[column] not in {None, ""} for row in rows)]
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "))
    for row in rows:
        values = (row[column] for column in columns)
        table.add_row(*(_time(value) if isinstance(value, datetime) else str(value or "-") for value in values))
    out.print(table)
