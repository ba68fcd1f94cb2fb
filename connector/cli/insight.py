"""`status`, `events` and `replay`: how things stand, what waits, and sending it again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from connector import standing
from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NamesArgument,
    errors_explained,
    moment,
    open_runtime,
    out,
    plain,
    print_json,
    table,
)
from connector.errors import ConfigurationError
from connector.runtime import Runtime
from connector.store import backlog, connections, destinations
from connector.store.backlog import Listed
from connector.store.destinations import Attempt
from connector.typed_toml import suggest


def status(names: NamesArgument = None, config_path: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show where each connection and destination stands."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            selected = runtime.settings.select(names or [])
            shown = {
                "connections": [standing.of_connection(runtime, one.name) for one in selected],
                "destinations": [standing.of_destination(runtime, name) for name in runtime.settings.destinations],
            }
        finally:
            runtime.store.close()
        if json:
            print_json(shown)
        else:
            _print_status(shown)


def _print_status(shown: dict[str, list[dict[str, Any]]]) -> None:
    numbers = ("customers", "open invoices", "open", "quarantine")
    made = table("connection", "administration", "linked", "outcome", "last success", "next", *numbers, right=numbers)
    for one in shown["connections"]:
        made.add_row(
            one["name"],
            plain(f"{one['administration']} {one['title']}"),
            "yes" if one["linked"] else "no",
            one["outcome"],
            moment(one["last_success_at"]),
            moment(one["next_due_at"]),
            str(one["customers"]),
            f"{one['open_invoices']} of {one['invoices']}",
            ", ".join(f"{amount} {currency}" for currency, amount in one["open"].items() if amount) or "-",
            str(one["quarantined"]),
        )
    out.print(made)
    for one in shown["connections"]:
        out.print(f"{one['name']}: {_sign_in(one)}")
        if one["reason"]:
            out.print(f"{one['name']}: {plain(one['reason'])}")
    for one in shown["destinations"]:
        counts = ", ".join(f"{count} {state}" for state, count in one["events"].items()) or "nothing waits"
        reason = f"; {plain(one['reason'])}" if one["reason"] else ""
        out.print(f"destination {one['name']}: {one['state']}; {counts}{reason}")


def _sign_in(one: dict[str, Any]) -> str:
    """Until when the sign-in lives and what happens next, in a sentence."""
    sign_in, step = one["sign_in"], one["next_step"]
    if step["what"] == "sign_in":
        again = f"sign in again, {plain(sign_in['reason'])}" if sign_in else "nobody has signed in yet"
        return f"{again}: run `{step['command']}`"
    ends_at = sign_in and sign_in["ends_at"]
    lives = f"the sign-in lives until {moment(ends_at)}" if ends_at else "the sign-in does not end by itself"
    return f"{lives}; next: {step['what'].replace('_', '-')} at {moment(step['at'])}"


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
    """List what waits for a destination, or how sending went."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            if destination is not None:
                _known(runtime, destination)
            names = {one.id: one.name for one in connections.everyone(runtime.store)}
            if kind is Kind.ATTEMPTS:
                attempts = _attempts(runtime, destination, limit)
            else:
                listing = backlog.dead if kind is Kind.DEAD else backlog.pending
                listed = listing(runtime.store, backlog.Selection(destination=destination), limit)
        finally:
            runtime.store.close()
        if kind is Kind.ATTEMPTS:
            _show_attempts(attempts, json=json)
        else:
            _show_events(listed, names, kind, json=json)


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
    """Send events again, with the same ids and in order."""
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


def _attempts(runtime: Runtime, destination: str | None, limit: int) -> list[Attempt]:
    names = [destination] if destination else list(runtime.settings.destinations)
    found = [attempt for name in names for attempt in destinations.attempts(runtime.store, name, limit)]
    return sorted(found, key=lambda attempt: attempt.started_at, reverse=True)[:limit]


def _show_attempts(attempts: Sequence[Attempt], *, json: bool) -> None:
    if json:
        print_json([msgspec.structs.asdict(attempt) for attempt in attempts])
        return
    if not attempts:
        out.print("nothing was attempted yet")
        return
    made = table("destination", "started", "ms", "events", "answer", "outcome", "reason", right=("ms", "events"))
    for one in attempts:
        status = "-" if one.status is None else str(one.status)
        row = (one.destination, moment(one.started_at), str(one.duration_ms), str(one.events), status, one.outcome)
        made.add_row(*row, plain(one.reason))
    out.print(made)


def _show_events(listed: Sequence[Listed], names: dict[int, str], kind: Kind, *, json: bool) -> None:
    if json:
        print_json([{**msgspec.structs.asdict(one), "connection": names[one.connection_id]} for one in listed])
        return
    if not listed:
        out.print(f"nothing is {kind.value}")
        return
    made = table("event", "connection", "type", "entity", "version", "written", "state", "tries", "reason")
    for one in listed:
        entity = plain(f"{one.entity}/{one.external_id}")
        row = (one.event_id, names[one.connection_id], one.type, entity, str(one.entity_version))
        made.add_row(*row, moment(one.created_at), one.state, str(one.refused + one.postponed), plain(one.reason))
    out.print(made)


def _id(runtime: Runtime, name: str | None) -> int | None:
    if name is None:
        return None
    runtime.settings.select([name])
    return connections.find(runtime.store, name).id


def _resume(runtime: Runtime, name: str) -> None:
    _known(runtime, name)
    destinations.resume(runtime.store, name)
    out.print(f"destination {name} is no longer paused")


def _known(runtime: Runtime, destination: str) -> None:
    known = runtime.settings.destinations
    if destination not in known:
        raise ConfigurationError(
            f'there is no destination "{destination}"',
            where=str(runtime.settings.file),
            fix=suggest(destination, known),
        )
