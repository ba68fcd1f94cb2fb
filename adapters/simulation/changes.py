"""What changed in the books, in the order it happened: the only thing a wire layer has to follow."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from itertools import islice
from random import Random
from typing import NamedTuple, Protocol


class Identified(Protocol):
    """Anything the books keep under an id."""

    @property
    def id(self) -> str: ...


class Subject(StrEnum):
    CUSTOMER = "customer"
    CONTACT = "contact"
    ADDRESS = "address"
    BANK_ACCOUNT = "bank_account"
    MANDATE = "mandate"
    ACCOUNT = "account"
    JOURNAL = "journal"
    ENTRY = "entry"
    ITEM = "item"
    DOCUMENT = "document"


class Action(StrEnum):
    """`EDITED` is a person rewriting what was booked; `CHANGED` is a consequence, such as a match."""

    ADDED = "added"
    CHANGED = "changed"
    EDITED = "edited"
    REMOVED = "removed"


class Change(NamedTuple):
    subject: Subject
    action: Action
    target: Identified
    at: datetime


class ChangeLog:
    """Append-only. A change's number is its place in the log, counted from 1."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    @property
    def number(self) -> int:
        """The number of the latest change; 0 for untouched books."""
        return len(self._changes)

    def record(self, subject: Subject, action: Action, target: Identified, at: datetime) -> None:
        self._changes.append(Change(subject, action, target, at))

    def since(self, number: int) -> Iterator[Change]:
        return islice(self._changes, number, None)


class Ids:
    """Random-looking ids that the same seed gives in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def new(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
