"""`secrets`: change the keys of what is stored, and prove that everything decrypts."""

from collections.abc import Sequence
from typing import Annotated

import typer

from connector import rotation
from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    common_code,
    errors_explained,
    explain,
    load,
    open_runtime,
    out,
    print_json,
)
from connector.errors import ConnectorError
from connector.master_keys import add_key
from connector.rotation import Report

SHOWN = 20
"""Problems printed; of more there is a number."""

app = typer.Typer(no_args_is_help=True, help="Change the keys of what is stored, and prove that it decrypts.")


@app.command()
def rotate(
    config_path: ConfigOption = DEFAULT_CONFIG,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="First put a new master key in front in the key file.")
    ] = False,
    data_keys: Annotated[
        bool,
        typer.Option("--data-keys", help="Also give every connection a new data key, and encrypt its values anew."),
    ] = False,
) -> None:
    """Put every data key under the first master key; may run beside the daemon."""
    with errors_explained():
        if new_key:
            open_runtime(config_path).store.close()  # the keys that are there must be right before one is added
            file = load(config_path).secrets.key_file
            out.print(f"wrote master key {add_key(file)} in front in {file}: back the file up")
        runtime = open_runtime(config_path)
        try:
            problems: list[ConnectorError] = []
            if data_keys:
                renewed = rotation.renew(runtime.store, runtime.vault)
                problems += renewed.problems
                out.print(f"{renewed.changed} values encrypted anew, each connection under a data key of its own")
            report = rotation.rewrap(runtime.store, runtime.vault)
            problems += report.problems
        finally:
            runtime.store.close()
        out.print(f"{report.changed} data keys put under master key {runtime.vault.masters[0]}")
        out.print("`connector secrets verify` says whether the former master key may be removed")
        _end(problems)


@app.command()
def verify(config_path: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Decrypt everything once, and say which master key protects how much."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            report = rotation.verify(runtime.store, runtime.vault)
        finally:
            runtime.store.close()
        if json:
            print_json(
                {
                    "master_keys": report.masters,
                    "values": report.values,
                    "unused": report.unused,
                    "problems": [{"what": one.what, "where": one.where, "fix": one.fix} for one in report.problems],
                }
            )
        else:
            _print(report, runtime.vault.masters[0])
        _end(report.problems, quiet=json)


def _print(report: Report, first: str) -> None:
    for kid, count in report.masters.items():
        note = ", wraps new ones" if kid == first else ""
        out.print(f"master key {kid}: {count} data keys{note}")
    for column, count in report.values.items():
        out.print(f"{column}: {count} decrypt")
    for kid in report.unused:
        out.print(f"nothing needs master key {kid} any more: it may be removed from the key file")
        out.print("  (keep it with the backups of the time before the rotation)")


def _end(problems: Sequence[ConnectorError], *, quiet: bool = False) -> None:
    if not problems:
        return
    if not quiet:
        for problem in problems[:SHOWN]:
            explain(problem)
        if len(problems) > SHOWN:
            out.print(f"and {len(problems) - SHOWN} more: `connector secrets verify --json` lists all")
    raise typer.Exit(common_code([problem.exit_code for problem in problems]))
