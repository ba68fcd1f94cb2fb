"""What the commands share: options, output, and one place that turns an error into words and an exit code."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import structlog
import typer
from rich.console import Console

from connector import config, log
from connector.adapter import packages
from connector.clock import SystemClock
from connector.config import Settings
from connector.errors import ConfigurationError, ConnectorError, ExitCode
from connector.runtime import Runtime
from connector.secrets import redact

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine instead of a table.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Connections; all when left out.")]
DEFAULT_CONFIG = Path("config.toml")

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def load(path: Path) -> Settings:
    """The settings, or the end of the program with every mistake listed."""
    return config.load(path, {name: package.options for name, package in packages().items()}, os.environ)


def open_runtime(path: Path) -> Runtime:
    return Runtime.open(load(path), packages(), SystemClock())


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False) + "\n")


def fail(error: ConnectorError) -> NoReturn:
    """Say what happened, where, and what to do; then end with the exit code of its kind."""
    explain(error)
    raise typer.Exit(error.exit_code)


def explain(error: ConnectorError) -> None:
    err.print(f"[bold red]Error:[/] {_plain(error.what)}", markup=True)
    if isinstance(error, ConfigurationError) and error.problems:
        for problem in error.problems:
            err.print(f"  {problem.file}: [bold]{_plain(problem.key)}[/]: {_plain(problem.what)}", markup=True)
            err.print(f"      -> {_plain(problem.fix)}", markup=True)
        return
    if error.where:
        err.print(f"  where: {_plain(error.where)}", markup=True)
    if error.fix:
        err.print(f"  what to do: {_plain(error.fix)}", markup=True)


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
    """The edge of the program: known failures become words, a bug becomes a traceback without values."""
    try:
        yield
    except ConnectorError as error:
        fail(error)
    except KeyboardInterrupt:
        err.print("interrupted; what was read is stored, the next run goes on there")
        raise typer.Exit(ExitCode.UNAVAILABLE) from None
    except typer.Exit:
        raise
    except Exception as error:
        structlog.get_logger().exception("program.bug")
        err.print(
            f"[bold red]Bug:[/] {type(error).__name__}: {_plain(str(error))}\n"
            "  what to do: report it with the log lines above; stored data is not harmed",
            markup=True,
        )
        raise typer.Exit(ExitCode.BUG) from error


def set_up_logging(*, verbose: bool) -> None:
    log.configure(level="INFO" if verbose else "WARNING")


def _plain(text: str) -> str:
    return redact(text).replace("[", "\\[")
