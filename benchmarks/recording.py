"""What a package answered, kept: one file per phase, and the arithmetic of the calls in it."""

import gzip
import math
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_plus

import msgspec

BIG_PAGE, SMALL_PAGE = 1000, 60
"""Items on a page of a bulk or sync endpoint, and of any other one (Exact Online sheet 3.1)."""
KEYS_IN_URL = 60
"""Keys that fit into one look-up by id (sheet 3.4)."""
OPEN_ITEMS = "/bulk/Cashflow/Receivables"

_KEY = re.compile(r"ID eq guid'([0-9a-f-]{36})'")
_ITEM = re.compile(rb'\{"__metadata":\{"uri":"([^"]*)"')


class Answer(msgspec.Struct, frozen=True):
    """One GET and what came. `items` is how many raw items its body holds."""

    target: str
    """Path and query, as they were asked for."""
    body: bytes
    headers: dict[str, str]
    items: int

    @classmethod
    def of(cls, target: str, body: bytes, headers: dict[str, str]) -> "Answer":
        return cls(target, body, headers, len(_ITEM.findall(body)))

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

    administration: int
    balance: str
    """What the first load has to add up to."""
    phases: dict[str, Summary]


def summarise(phase: Phase) -> Summary:
    counted = [answer for answer in phase.answers if not answer.is_greeting]
    starts = [answer.target for answer in counted if "skiptoken=" not in answer.target]
    items: dict[str, set[bytes]] = {}
    keys: dict[str, set[str]] = {}
    for answer in counted:
        if looked_up := keys_of(answer.target):
            keys.setdefault(answer.path, set()).update(looked_up)
        else:
            items.setdefault(answer.path, set()).update(_ITEM.findall(answer.body))
    least = sum(max(1, math.ceil(len(found) / _page_size(path))) for path, found in items.items())
    least += sum(math.ceil(len(found) / KEYS_IN_URL) for found in keys.values())
    return Summary(list(dict.fromkeys(starts)), least, _until_open(counted))


def _until_open(answers: Sequence[Answer]) -> int:
    begun = False
    for number, answer in enumerate(answers):
        begun = begun or answer.path.endswith(OPEN_ITEMS)
        if begun and "/sync/" in answer.path:
            return number
    return 0


def _page_size(path: str) -> int:
    return BIG_PAGE if "/bulk/" in path or "/sync/" in path else SMALL_PAGE


def keys_of(target: str) -> list[str]:
    """The ids that a look-up asks for; none when the query is not a look-up."""
    return _KEY.findall(unquote_plus(target))


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
