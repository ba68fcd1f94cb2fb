"""`init` and `check`: from an empty folder to a configuration that works."""

import asyncio
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.text import Text

from connector import config
from connector.cli.common import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    NamesArgument,
    common_code,
    errors_explained,
    load,
    open_runtime,
    out,
    plain,
    print_json,
    remedy,
)
from connector.destinations.targets import CheckedTransport, RefusedTarget
from connector.errors import ConfigurationError, ConnectorError, ExitCode
from connector.master_keys import generate_key_file
from connector.network import describe
from connector.runtime import Runtime
from connector.web.activation import WEBHOOK_PATH

REACH_S = 10.0

Finding = dict[str, Any]


def init(config_path: ConfigOption = DEFAULT_CONFIG) -> None:
    """Write a commented configuration and a key file."""
    with errors_explained():
        known = config_path.exists()
        key_file = load(config_path).secrets.key_file if known else _beside(config_path)
        if known and key_file.exists():
            raise ConfigurationError(
                "the configuration and its key file exist already",
                where=str(config_path),
                fix="edit the configuration, or choose another --config",
            )
        try:
            if not key_file.exists():
                generate_key_file(key_file)
                out.print(
                    f"wrote {key_file}: back it up apart from the database; without it every client signs in again"
                )
            if not known:
                example = resources.files("connector").joinpath("config.example.toml")
                config_path.write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
                out.print(f"wrote {config_path}: fill in your app, destination and connections")
                out.print("then run `connector check`")
        except OSError as error:
            raise ConfigurationError(
                f"a file cannot be written ({error.strerror})",
                where=str(error.filename),
                fix="create the folder, or choose another --config",
            ) from error


def _beside(config_path: Path) -> Path:
    return config_path.absolute().parent / config.Secrets().key_file


def check(names: NamesArgument = None, config_path: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Try everything that a sync needs; each problem with its fix."""
    with errors_explained():
        runtime = open_runtime(config_path)
        findings = asyncio.run(_check(runtime, names or []))
        if json:
            print_json(findings)
        else:
            _print(findings)
        raise typer.Exit(common_code([finding["exit_code"] for finding in findings]))


async def _check(runtime: Runtime, names: list[str]) -> list[Finding]:
    try:
        connections = runtime.settings.select(names)
        findings = [
            _finding("configuration", "ok", f"{runtime.settings.file} has no mistakes"),
            _finding("configuration", "ok", f"redirect address to register with your app: {runtime.redirect_uri}"),
        ]
        for package in filter(runtime.activation, runtime.settings.apps):
            text = f"webhook to register with your app: {runtime.settings.daemon.url}{WEBHOOK_PATH}/{package}"
            findings.append(_finding("configuration", "ok", text))
        for file in runtime.readable_by_others():
            text = f"other users of this machine can read {file}"
            findings.append({**_finding("configuration", "missing", text), "fix": f"chmod 600 {file}"})
        for name in sorted({connection.destination for connection in connections}):
            findings += await _check_destination(runtime, name)
        for connection in connections:
            findings += await _check_connection(runtime, connection.name)
        return findings
    finally:
        await runtime.close()


async def _check_destination(runtime: Runtime, name: str) -> list[Finding]:
    """Whether its secret and address may be used, and whether something answers there."""
    subject = f"destination {name}"
    destination = runtime.settings.destinations[name]
    try:
        await runtime.destination(name).close()
    except ConnectorError as error:
        return _problems(subject, error)
    transport = CheckedTransport(allow_private=destination.allow_private, tls=httpx.create_ssl_context(trust_env=False))
    try:
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=REACH_S) as client:
            await client.get(destination.url)
    except RefusedTarget as error:
        fix = "use a public address, or set allow_private = true for a backend of your own"
        return _problems(subject, ConfigurationError(str(error), where=destination.url, fix=fix))
    except httpx.TransportError as error:
        problem = _finding(subject, "problem", f"{destination.url} cannot be reached: {describe(error)}")
        fix = "start the backend, or correct `url`; events wait until it is there"
        return [{**problem, "fix": fix, "exit_code": ExitCode.UNAVAILABLE}]
    return [_finding(subject, "ok", f"{destination.url} answers")]


async def _check_connection(runtime: Runtime, name: str) -> list[Finding]:
    subject = f"connection {name}"
    try:
        mapping = await asyncio.to_thread(runtime.mapping, name)
        findings = [_finding(subject, "ok", f"mapping version {mapping.digest[:12]}")]
    except ConnectorError as error:
        findings = _problems(subject, error, name)
    try:
        async with runtime.adapter(name, priority=True) as adapter:
            identity = await runtime.verified(name, adapter)
            whose = f"{identity.name} ({identity.administration}), {identity.currency}"
            findings.append(_finding(subject, "ok", whose))
            for capability in await adapter.capabilities():
                state = "ok" if capability.available else "missing"
                text = f"{capability.name}: {capability.note}" if capability.note else capability.name
                findings.append({**_finding(subject, state, text), "fix": capability.fix})
    except ConnectorError as error:
        findings += _problems(subject, error, name)
    return findings


def _finding(subject: str, state: str, text: str) -> Finding:
    return {"subject": subject, "state": state, "text": text, "fix": "", "exit_code": ExitCode.DONE}


def _problems(subject: str, error: ConnectorError, connection: str = "") -> list[Finding]:
    """One finding, or one for each mistake in a file."""
    if isinstance(error, ConfigurationError) and error.problems:
        texts = [(f"{one.file}: {one.key}: {one.what}", one.fix) for one in error.problems]
    else:
        where = f" ({error.where})" if error.where and error.where != connection else ""
        texts = [(error.what + where, remedy(error, connection))]
    return [{**_finding(subject, "problem", text), "fix": fix, "exit_code": error.exit_code} for text, fix in texts]


def _print(findings: Sequence[Finding]) -> None:
    styles = {"ok": "green", "missing": "yellow", "problem": "bold red"}
    for finding in findings:
        state = finding["state"]
        out.print(Text.assemble((f"{state:<8}", styles[state]), f" {finding['subject']}: {plain(finding['text'])}"))
        if finding["fix"]:
            out.print(f"         -> {plain(finding['fix'])}")
