"""`init` and `check`: from an empty folder to a configuration that works."""

import asyncio
from importlib import resources
from typing import Any

import httpx
import typer
from rich.table import Table

from connector import config
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
from connector.errors import ConfigurationError, ConnectorError, ExitCode, NeedsReconnect
from connector.runtime import Runtime
from connector.vault import generate_key_file


def init(config_path: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write a commented configuration and a key file that only you can read."""
    with errors_explained():
        if config_path.exists():
            raise ConfigurationError(
                "the configuration file exists already",
                where=str(config_path),
                fix="edit it, or choose another --config",
            )
        key_file = config_path.absolute().parent / config.Secrets().key_file
        if not key_file.exists():
            generate_key_file(key_file)
            out.print(f"wrote {key_file}: back it up apart from the database; without it every client signs in again")
        config_path.write_text(resources.files("connector").joinpath("config.example.toml").read_text())
        out.print(f"wrote {config_path}: fill in your app, destination and connections, then run `connector check`")


def check(names: NamesArgument = None, config_path: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Check the configuration, that everything can be reached, and what each client's package can give."""
    with errors_explained():
        runtime = open_runtime(config_path)
        findings = asyncio.run(_check(runtime, names or []))
        if json:
            print_json(findings)
        else:
            _print(findings)
        raise typer.Exit(max((finding["exit_code"] for finding in findings), default=ExitCode.DONE))


async def _check(runtime: Runtime, names: list[str]) -> list[dict[str, Any]]:
    try:
        findings = [_finding("configuration", "ok", f"{runtime.settings.file} has no mistakes")]
        connections = runtime.settings.select(names)
        names = sorted({connection.destination for connection in connections})
        findings += [await _check_destination(runtime, name) for name in names]
        for connection in connections:
            findings += await _check_connection(runtime, connection.name)
        return findings
    finally:
        await runtime.close()


async def _check_destination(runtime: Runtime, name: str) -> dict[str, Any]:
    subject = f"destination {name}"
    destination = runtime.settings.destinations[name]
    try:
        destination.secret.read()
    except ConnectorError as error:
        return _problem(subject, error)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            await client.get(destination.url)
    except httpx.TransportError as error:
        return {
            **_finding(subject, "problem", f"{destination.url} cannot be reached ({type(error).__name__})"),
            "fix": "start the backend, or correct `url`; events wait until it is there",
            "exit_code": ExitCode.UNAVAILABLE,
        }
    return _finding(subject, "ok", f"{destination.url} answers")


async def _check_connection(runtime: Runtime, name: str) -> list[dict[str, Any]]:
    subject = f"connection {name}"
    findings = []
    try:
        runtime.mapping(name)
        async with runtime.adapter(name, priority=True) as adapter:
            identity = await adapter.identify()
            findings.append(
                _finding(subject, "ok", f"{identity.name} ({identity.administration}), {identity.currency}")
            )
            for capability in await adapter.capabilities():
                state = "ok" if capability.available else "missing"
                text = f"{capability.name}: {capability.note}" if capability.note else capability.name
                findings.append({**_finding(subject, state, text), "fix": capability.fix})
    except NeedsReconnect as error:
        findings.append({**_problem(subject, error), "fix": f"run `connector connect {name}`"})
    except ConnectorError as error:
        findings.append(_problem(subject, error))
    return findings


def _finding(subject: str, state: str, text: str) -> dict[str, Any]:
    return {"subject": subject, "state": state, "text": text, "fix": "", "exit_code": ExitCode.DONE}


def _problem(subject: str, error: ConnectorError) -> dict[str, Any]:
    text = f"{error.what} ({error.where})" if error.where else error.what
    return {"subject": subject, "state": "problem", "text": text, "fix": error.fix, "exit_code": error.exit_code}


def _print(findings: list[dict[str, Any]]) -> None:
    marks = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "problem": "[red]problem[/]"}
    table = Table(box=None, pad_edge=False)
    for column in ("", "subject", "finding", "what to do"):
        table.add_column(column)
    for finding in findings:
        table.add_row(marks[finding["state"]], finding["subject"], finding["text"], finding["fix"])
    out.print(table)
