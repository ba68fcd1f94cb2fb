"""The demonstration as a newcomer starts it, and that it does not call different books equal."""

import asyncio
import io
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from connector import demo
from connector.cli.main import app
from connector.cycle import Progress
from connector.errors import ExitCode
from connector.receiver import Fault, Receiver
from connector.simulation import simulators
from tests.stories.world import SECRET

SMALL = ["--customers", "30", "--invoices", "90", "--seed", "1"]
FIGURES = re.compile(r"^(books|mirror) +(\d+) +(\d+) +(.+)$", re.MULTILINE)


class Forgetful(Receiver):
    """Says that it took an invoice, and does not keep it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.faults = [Fault(match="invoice/", verdict="accepted")]


@pytest.mark.parametrize("package", sorted(simulators()))
def test_the_demo_shows_equal_figures_and_ends_well(package: str) -> None:
    command = [str(Path(sys.executable).with_name("connector")), "demo", package, *SMALL]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shown.returncode == ExitCode.DONE, shown.stdout + shown.stderr
    figures = [(side, (int(customers), int(items), amount)) for side, customers, items, amount
               in FIGURES.findall(shown.stdout)]  # fmt: skip
    first, last = figures[:2], figures[-2:]
    assert [side for side, _ in figures] == ["books", "mirror"] * 2
    for (_, books), (_, mirrored) in (first, last):
        assert books == mirrored
    assert first != last, "the books went on"
    assert shown.stdout.count("booked: ") == len(demo.STORY)
    assert shown.stdout.count("the mirror equals the books,") == len(demo.STORY) + 1


def test_a_mirror_that_lost_an_invoice_is_not_called_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Receiver", Forgetful)
    said = io.StringIO()
    show = demo.Demo(
        "exactonline",
        customers=4,
        invoices=8,
        seed=3,
        secret=SECRET,
        say=Console(file=said, soft_wrap=True),
        watch=lambda _: nullcontext(Progress()),
    )

    async def first_sync_only() -> bool:
        stop = asyncio.Event()
        stop.set()
        return await show.run(stop, stay=False)

    assert asyncio.run(first_sync_only()) is False
    assert re.search(r"difference: invoice \S+: missing", said.getvalue())
    assert "to the cent" not in said.getvalue()


def test_a_difference_ends_the_command_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "Receiver", Forgetful)
    monkeypatch.setattr(demo, "STORY", ("no such act",))
    shown = CliRunner().invoke(app, ["demo", "--customers", "4", "--invoices", "8", "--seed", "3"])
    assert shown.exit_code == ExitCode.PARTLY_FAILED, shown.output
    assert "difference: invoice" in shown.output
    assert "not booked: no such act" in shown.output
