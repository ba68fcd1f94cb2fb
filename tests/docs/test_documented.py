"""The documents say what the program does: every command, option, exit code, event, filter and module, both ways."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from connector.cli.main import app
from connector.domain.events import record_type
from connector.domain.records import Entity
from connector.domain.signals import SIGNALS
from connector.errors import ExitCode
from connector.filters import FILTERS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
CODE = [file for folder in ("connector", "adapters", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")]

EVERYWHERE = {"--config", "--help", "--install-completion", "--show-completion"}
"""Options that the README describes once, above the table."""

LONGEST_FILE = 400


def leaves(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
    """Each command that can be run, with its own long options."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, f"{path} {name}")
        return
    names = (name for option in command.params for name in [*option.opts, *option.secondary_opts])
    yield path, {name for name in names if name.startswith("--")} - EVERYWHERE


COMMANDS = dict(leaves(typer.main.get_command(app), "connector"))


def section(title: str) -> str:
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, flags=re.MULTILINE | re.DOTALL)
    assert match, f'the README has no section "{title}"'
    return match[1]


def documented_commands() -> dict[str, set[str]]:
    """The rows of the table: the command's words, without its arguments, and the options named beside it."""
    rows = re.findall(r"^\| `(connector [^`]+)` \|(.*)\|$", section("Commands"), flags=re.MULTILINE)
    return {re.split(r" [\[A-Z]", command)[0]: set(re.findall(r"`(--[a-z-]+)", rest)) for command, rest in rows}


def test_every_command_and_option_is_in_the_readme() -> None:
    assert documented_commands() == COMMANDS


def examples() -> list[str]:
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("connector ", "make "))]


@pytest.mark.parametrize("line", examples())
def test_the_readme_shows_commands_that_exist(line: str) -> None:
    if line.startswith("make "):
        assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
        return
    command = max((name for name in COMMANDS if f"{line} ".startswith(f"{name} ")), key=len, default=None)
    assert command, "there is no such command"
    assert set(re.findall(r"--[a-z-]+", line)) <= COMMANDS[command] | EVERYWHERE


def test_the_exit_codes_are_in_the_readme() -> None:
    shown = re.findall(r"^\| (\d+) \|", section("Exit codes"), flags=re.MULTILINE)
    assert sorted(map(int, shown)) == sorted(code for name, code in vars(ExitCode).items() if name.isupper())


def test_every_module_has_its_place_in_the_readme() -> None:
    shown = set(re.findall(r"`((?:connector|adapters)/[\w/.]+)`", section("Where things are")))
    there = {
        str(path.relative_to(ROOT)) + ("/" if path.is_dir() else "")
        for folder in ("connector", "adapters")
        for path in (ROOT / folder).iterdir()
        if path.name not in {"__init__.py", "__pycache__"} and (path.is_dir() or path.suffix == ".py")
    }
    assert shown == there


def test_every_event_is_documented() -> None:
    text = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    types = {record_type(entity, verb) for entity in get_args(Entity) for verb in ("upserted", "removed")} | set(
        SIGNALS
    )
    assert {name for name in types if f"`{name}`" not in text} <= {record_type("administration", "removed")}
    assert set(re.findall(r"`(ar\.\w+\.\w+\.v\d+)`", text)) <= types


def test_every_filter_is_documented() -> None:
    text = (ROOT / "docs/mapping.md").read_text(encoding="utf-8")
    assert [name for name in [*FILTERS, "table"] if not re.search(rf"`{name}\b[^`]*`", text)] == []


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_link_is_broken(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = document.parent / name if name else document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def test_no_file_is_too_long_to_read() -> None:
    lengths = {
        file: len(file.read_text(encoding="utf-8").splitlines())
        for file in CODE
        if "versions" not in file.parts and "tests" not in file.parts
    }
    assert {str(file): length for file, length in lengths.items() if length > LONGEST_FILE} == {}
