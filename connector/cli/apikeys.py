"""`apikey`: who may use the daemon's API."""

import re
from datetime import timedelta
from typing import Annotated

import msgspec
import typer

from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    errors_explained,
    moment,
    open_runtime,
    out,
    print_json,
    table,
)
from connector.errors import ConfigurationError
from connector.store import api_keys
from connector.store.api_keys import Scope
from connector.typed_toml import suggest

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

app = typer.Typer(no_args_is_help=True, help="Keys for the daemon's API.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for the key: who or what uses it.")],
    config_path: ConfigOption = DEFAULT_CONFIG,
    scope: Annotated[Scope, typer.Option("--scope", help="What it may do.")] = Scope.READ,
    days: Annotated[int | None, typer.Option("--days", help="Valid for so long; for ever if left out.", min=1)] = None,
) -> None:
    """Make a key and print it, for the only time."""
    with errors_explained():
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                "this is no name for a key", where=name, fix="use small letters, digits, - and _; 64 at most"
            )
        runtime = open_runtime(config_path)
        try:
            now = runtime.clock.now()
            expires_at = now + timedelta(days=days) if days else None
            key = api_keys.create(runtime.store, name, scope, now=now, expires_at=expires_at)
        finally:
            runtime.store.close()
        out.print(key.reveal())
        out.print(f"This is the only time it is shown. Send it as `Authorization: Bearer …`; it may {scope.value}.")


@app.command("list")
def list_(config_path: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Show the keys without their secret part."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            keys, now = api_keys.everyone(runtime.store), runtime.clock.now()
        finally:
            runtime.store.close()
        if json:
            print_json([msgspec.structs.asdict(key) for key in keys])
            return
        if not keys:
            out.print("there are no API keys; `connector apikey create NAME` makes one")
            return
        made = table("name", "key", "scope", "created", "expires", "last used")
        for key in keys:
            expired = key.expires_at is not None and key.expires_at <= now
            expires = "expired" if expired else moment(key.expires_at)
            row = (key.name, f"{key.prefix}_…", key.scope.value, moment(key.created_at), expires)
            made.add_row(*row, moment(key.last_used_at))
        out.print(made)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")], config_path: ConfigOption = DEFAULT_CONFIG
) -> None:
    """Make a key worthless at once."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            if not api_keys.revoke(runtime.store, name):
                known = [key.name for key in api_keys.everyone(runtime.store)]
                fix = suggest(name, known) if known else "there are none"
                raise ConfigurationError(f'there is no API key "{name}"', where="connector apikey", fix=fix)
        finally:
            runtime.store.close()
        out.print(f"{name} is revoked")
