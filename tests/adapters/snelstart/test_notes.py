"""The notes stay true: every test that they name exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_that_the_notes_name_exists() -> None:
    notes = (ROOT / "adapters/snelstart/NOTES.md").read_text(encoding="utf-8")
    suites = [*Path(__file__).parent.glob("test_*.py"), ROOT / "tests/conformance/adapters.py"]
    known = set(re.findall(r"def (test_\w+)", "".join(path.read_text(encoding="utf-8") for path in suites)))
    named = set(re.findall(r"`(test_\w+)`", notes))
    assert len(named) > 40
    assert named <= known, named - known
