"""What a package answered, kept: one file per phase, and a table of contents."""

import gzip
from pathlib import Path

import msgspec

from benchmarks.wires import Wire


class Answer(msgspec.Struct, frozen=True):
    """One GET and what came. `items` is how many raw items its body holds."""

    target: str
    """Path and query, as they were asked for."""
    body: bytes
    headers: dict[str, str]
    items: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def is_greeting(self) -> bool:
        """`current/Me` counts in no limit."""
        return self.path.endswith("current/Me")


class Phase(msgspec.Struct, frozen=True):
    """All answers of one phase, in the order in which they were asked for."""

    origin: str
    """Where they came from; the next-page links in the bodies begin with it."""
    answers: list[Answer]


class Summary(msgspec.Struct, frozen=True):
    """What matters of a phase without its bodies."""

    starts: list[str]
    """The queries that begin a sequence of pages, each once, in order."""
    least_calls: int
    """The fewest calls that bring the same items: each item once, pages full, keys packed."""
    calls_until_open: int
    """How many calls it took until the open items and their customers were there; 0 where they were not asked for."""


class Contents(msgspec.Struct, frozen=True):
    """The table of contents of one folder."""

    administration: int | str
    balance: str
    """What the first load has to add up to."""
    phases: dict[str, Summary]
    pasted: str | None = None
    """The client's key, where the package has no sign-in."""


def summarise(phase: Phase, wire: Wire) -> Summary:
    counted = [answer for answer in phase.answers if not answer.is_greeting]
    starts = [answer.target for answer in counted if "skiptoken=" not in answer.target]
    return Summary(
        starts=list(dict.fromkeys(starts)),
        least_calls=wire.least_calls([(answer.target, answer.body) for answer in counted]),
        calls_until_open=wire.calls_until_open([answer.target for answer in counted]),
    )


def save(folder: Path, name: str, phase: Phase) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.msgpack.gz").write_bytes(gzip.compress(msgspec.msgpack.encode(phase), 1))


def load(folder: Path, name: str) -> Phase:
    return msgspec.msgpack.decode(gzip.decompress((folder / f"{name}.msgpack.gz").read_bytes()), type=Phase)


def contents(folder: Path) -> Contents | None:
    """None where nothing was recorded, or not to its end."""
    file = folder / "contents.json"
    return msgspec.json.decode(file.read_bytes(), type=Contents) if file.exists() else None


def finish(folder: Path, found: Contents) -> None:
    (folder / "contents.json").write_bytes(msgspec.json.encode(found))
