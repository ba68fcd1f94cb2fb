"""Nothing secret leaves (D15), in any test: what is logged at DEBUG, printed, or left in a file is searched for it.

The secrets of tests are canaries: they can be recognized wherever they turn up. The simulators' tokens and codes have
a form of their own, and so have API keys. Log lines go through the program's own chain, as in production.
"""

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import structlog

from connector import log

FORMS = {
    "canary-of-": "",
    "Y2FuYXJ5": "",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "",
    "simulated-secret": "",
    "our-app-secret": "",
    "access.": "[0-9a-f]{16}",
    "refresh.": "[0-9a-f]{16}",
    "access-token-": "[0-9]",
    "refresh-token-": "[0-9]",
    "stampNL001.": "[0-9a-f]{8}",
    "connector_": "[0-9a-f]{8}_[A-Za-z0-9_-]{40}",
}
"""How a secret begins, and what must follow; to look for the beginnings first is fifteen times as fast."""
_IN_TEXT = {begins: re.compile(re.escape(begins) + follows) for begins, follows in FORMS.items()}
_IN_FILES = {begins.encode(): re.compile((re.escape(begins) + follows).encode()) for begins, follows in FORMS.items()}

LOUD = ("uvicorn",)
"""The servers around the program under test print what they are asked for, queries included."""


class Watch(io.StringIO):
    """Where the log of a test run goes; it keeps only what should not be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.lines = 0

    def write(self, text: str) -> int:
        self.lines += 1
        if in_text(text):
            self.found.append(text)
        return len(text)

    def listen(self) -> None:
        """Log at DEBUG to here, through the chain that the program has."""
        log.configure(level="DEBUG", json=True, stream=self)
        for name in LOUD:
            logging.getLogger(name).setLevel(logging.WARNING)

    @contextlib.contextmanager
    def listening(self) -> Iterator["Watch"]:
        self.listen()
        try:
            yield self
        finally:
            logging.getLogger().handlers.clear()
            structlog.reset_defaults()

    def taken(self) -> list[str]:
        """What was found since the last time."""
        found, self.found = self.found, []
        return found


def in_text(text: str) -> re.Match[str] | None:
    """A secret in it, if there is one."""
    return next((match for begins, form in _IN_TEXT.items() if begins in text and (match := form.search(text))), None)


def in_output(text: str) -> str | None:
    """The first secret in what a test printed."""
    match = in_text(text)
    return match and text[max(match.start() - 80, 0) : match.end() + 20]


class Files:
    """The databases and put-aside tokens below a folder, each looked at whenever it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}

    def leaks(self) -> list[str]:
        """One line for each kind of secret that a file holds in the clear."""
        found = []
        for path in self._changed():
            data = path.read_bytes()
            matches = [form.search(data) for begins, form in _IN_FILES.items() if begins in data]
            found += [f"{path}: {match[0][:24]!r}…" for match in matches if match]
        return found

    def _changed(self) -> Iterator[Path]:
        for path in self._folder.rglob("*"):
            if ".db" not in path.name and path.parent.name != "spill":
                continue
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                mark = (state.st_mtime_ns, state.st_size)
                if path.is_file() and self._seen.get(path) != mark:
                    self._seen[path] = mark
                    yield path
