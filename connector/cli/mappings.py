"""`mapping check` and `mapping preview`: what a mapping says, before anything is sent."""

from typing import Annotated, Any

import typer
from rich.text import Text

from connector.adapter import packages
from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NamesArgument,
    errors_explained,
    json_text,
    load,
    open_runtime,
    out,
    plain,
    print_json,
)
from connector.errors import ConfigurationError, Problem
from connector.runtime import Runtime, compiled_mapping
from connector.store import connections, groups, rows

app = typer.Typer(help="Look at the mapping of rows to records.", no_args_is_help=True)


@app.command("check")
def check(names: NamesArgument = None, config_path: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check the mapping files; lists every mistake at once."""
    with errors_explained():
        settings = load(config_path)
        known = packages()
        problems: list[Problem] = []
        for connection in settings.select(names or []):
            try:
                mapping = compiled_mapping(known[connection.package], connection.mapping)
            except ConfigurationError as error:
                problems += error.problems
            else:
                own = f" with {connection.mapping.name}" if connection.mapping else ""
                out.print(f"{connection.name}: {connection.package}{own} is right (version {mapping.digest[:12]})")
        if problems:
            count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
            raise ConfigurationError(f"{count} in mappings", problems=tuple(problems))


@app.command("preview")
def preview(
    name: Annotated[str, typer.Argument(help="The connection whose stored rows to show.")],
    config_path: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option("--limit", help="How many groups (customers) to show.", min=1)] = 3,
    group: Annotated[str | None, typer.Option("--group", help="One group, by its key.")] = None,
    json: JsonOption = False,
) -> None:
    """Show stored rows and the records that are made of them."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            shown = _preview(runtime, name, limit, group)
        finally:
            runtime.store.close()
        if json:
            print_json(shown)
            return
        if not shown:
            out.print("no such rows are stored yet; `connector sync --no-deliver` reads them")
        for one in shown:
            for side in ("rows", "records"):
                out.print(Text(f"{side} of group {plain(one['group'])}", style="bold"))
                out.print(json_text(one[side]))


def _preview(runtime: Runtime, name: str, limit: int, group: str | None) -> list[dict[str, Any]]:
    runtime.settings.select([name])
    linked = connections.find(runtime.store, name)
    package = runtime.packages[linked.package]
    references = rows.references(runtime.store, linked.id)
    assembler = package.assembler(references, runtime.mapping(name), linked.administration)
    shown: list[dict[str, Any]] = []
    after = ""
    keys = [group] if group else groups.after(runtime.store, linked.id, after, limit)
    while keys and len(shown) < limit:
        with runtime.store.read() as connection:
            stored = rows.of_groups(connection, linked.id, keys)
        for key in keys:
            made = assembler.assemble(key, stored[key])
            records = {"customers": made.customers, "invoices": made.invoices, "payments": made.payments}
            if any(records.values()) or made.bad:
                shown.append({"group": key, "rows": stored[key], "records": {**records, "bad": made.bad}})
        keys = [] if group else groups.after(runtime.store, linked.id, keys[-1], limit)
    return shown[:limit]
