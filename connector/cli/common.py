"""What the commands share: options, output, and one place that turns an error into words and an exit code."""

import contextlib
import json
import os
import sys
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import msgspec
import structlog
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connector import config, log
from connector.adapter import packages
from connector.clock import SystemClock
from connector.config import Settings
from connector.errors import ConfigurationError, ConnectorError, ExitCode, NeedsReconnect
from connector.runtime import Runtime
from connector.secrets import redact

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine instead of a table.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Connections; all when left out.")]
DEFAULT_CONFIG = Path("config.toml")
UNFOLDED = 10_000
"""Columns when nobody watches: a line that goes into a file or another program is never cut or folded."""


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    """Text is shown as it is: brackets and colons in a customer's name are no instructions to us."""
    width = None if stream.isatty() else UNFOLDED
    return Console(stderr=stderr, width=width, soft_wrap=True, highlight=False, markup=False, emoji=False)


out = _console(sys.stdout)
err = _console(sys.stderr, stderr=True)


def load(path: Path) -> Settings:
    """The settings, or the end of the program with every mistake listed."""
    return config.load(path, {name: package.options for name, package in packages().items()}, os.environ)


def open_runtime(path: Path) -> Runtime:
    return Runtime.open(load(path), packages(), SystemClock())


def json_text(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)


def print_json(value: Any) -> None:
    sys.stdout.write(json_text(value) + "\n")


def table(*columns: str, right: Collection[str] = ()) -> Table:
    """A table whose cells fold where the terminal is narrow, so that an id can always be read whole."""
    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", justify="right" if column in right else "left")
    return made


def moment(instant: datetime | None) -> str:
    return "-" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def plain(text: object) -> str:
    """One line without secrets; a control character in foreign text is shown, not obeyed."""
    line = " ".join(redact(str(text)).split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def common_code(codes: Collection[int]) -> int:
    """The exit code of what went wrong; "partly failed" when that is of several kinds."""
    wrong = {code for code in codes if code != ExitCode.DONE}
    return ExitCode.DONE if not wrong else wrong.pop() if len(wrong) == 1 else ExitCode.PARTLY_FAILED


def fail(error: ConnectorError) -> NoReturn:
    """Say what happened, where, and what to do; then end with the exit code of its kind."""
    explain(error)
    raise typer.Exit(error.exit_code)


def explain(error: ConnectorError, connection: str = "") -> None:
    """`connection` is the one it is about, where that is not clear from the command."""
    subject = f"{connection}: " if connection else ""
    err.print(Text.assemble(("Error:", "bold red"), f" {subject}{plain(error.what)}"))
    for problem in error.problems if isinstance(error, ConfigurationError) else ():
        place = ": ".join(part for part in (problem.file, problem.key) if part)
        err.print(Text.assemble("  ", (plain(place), "bold"), f": {plain(problem.what)}"))
        err.print(f"      -> {plain(problem.fix)}")
    if isinstance(error, ConfigurationError) and error.problems:
        return
    if error.where and error.where != connection:
        err.print(f"  where: {plain(error.where)}")
    if fix := remedy(error, connection):
        err.print(f"  what to do: {plain(fix)}")


def remedy(error: ConnectorError, connection: str) -> str:
    """What to do, with the connection's name in the command."""
    return f"run `connector connect {connection}`" if connection and isinstance(error, NeedsReconnect) else error.fix


def explain_bug(error: Exception) -> None:
    err.print(Text.assemble(("Bug:", "bold red"), f" {type(error).__name__}: {plain(error)}"))
    err.print("  what to do: report it with the log lines above; stored data is not harmed")


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
    """The edge of the program: known failures become words, a bug becomes a traceback without values."""
    try:
        yield
    except ConnectorError as error:
        fail(error)
    except KeyboardInterrupt:
        err.print("interrupted")
        raise typer.Exit(ExitCode.UNAVAILABLE) from None
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        structlog.get_logger().exception("program.bug")
        explain_bug(error)
        raise typer.Exit(ExitCode.BUG) from error


def set_up_logging(*, verbose: bool) -> None:
    """A command explains what went wrong itself, so that its log holds bugs only, unless more is asked for."""
    log.configure(level="INFO" if verbose else "ERROR")
