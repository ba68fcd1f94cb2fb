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

SECRET = re.compile(
    r"canary-of-|Y2FuYXJ5|MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw|simulated-secret|our-app-secret"
    r"|\b(?:access|refresh)\.[0-9a-f]{16}|\b(?:access|refresh)-token-\d|stampNL001\.[0-9a-f]{8}"
    r"|\bconnector_[0-9a-f]{8}_[\w-]{40}"
)
_IN_FILES = re.compile(SECRET.pattern.encode())

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
        if SECRET.search(text):
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


def in_output(text: str) -> str | None:
    """The first secret in what a test printed."""
    match = SECRET.search(text)
    return match and text[max(match.start() - 80, 0) : match.end() + 20]


class Files:
    """The databases and put-aside tokens below a folder, each looked at whenever it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}

    def leaks(self) -> list[str]:
        """One line for each file that holds a secret in the clear."""
        found = []
        for path in self._changed():
            match = _IN_FILES.search(path.read_bytes())
            if match:
                found.append(f"{path}: {match[0][:24]!r}…")
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
