"""The division as the wire sees it: the books, followed change by change into versions and terms."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from adapters.exactonline.simulator.encoding import WallClock
from adapters.exactonline.simulator.settings import SimulatorSettings
from adapters.exactonline.simulator.terms import Outcome, Terms
from adapters.exactonline.simulator.versions import Counter, Deletions, Feed
from adapters.simulation.books import Books
from adapters.simulation.changes import Action, Change, Ids, Subject
from adapters.simulation.documents import Document
from adapters.simulation.ledger import AccountKind, Entry, EntryKind
from adapters.simulation.matching import Item
from adapters.simulation.memory import no_garbage_collection

LINES, ACCOUNTS, ADDRESSES, ATTACHMENTS, CONTACTS, DOCUMENTS, GL_ACCOUNTS, TERMS = 1, 2, 3, 4, 5, 6, 7, 10
"""Codes of the deletable kinds in `sync/Deleted`; each of them has a sync feed."""

_KINDS: Final = {
    Subject.CUSTOMER: ACCOUNTS,
    Subject.CONTACT: CONTACTS,
    Subject.ADDRESS: ADDRESSES,
    Subject.ACCOUNT: GL_ACCOUNTS,
    Subject.DOCUMENT: DOCUMENTS,
    Subject.ENTRY: LINES,
    Subject.ITEM: TERMS,
}
_OWN_RANGE: Final = 104_729
"""Keeps the ids that only the wire knows apart from the ids of the books."""


class World:
    """Follows the books. Call `catch_up` before reading; `revision` tells whether anything changed."""

    def __init__(self, books: Books, settings: SimulatorSettings) -> None:
        self.books = books
        self.settings = settings
        self.division = settings.division or books.administration.code
        self.clock = WallClock(settings.server_zone)
        self.zone = ZoneInfo(settings.server_zone)
        own = Ids(books.seed + _OWN_RANGE)
        self._ids = own
        self.user_id = own.new()
        self.customer_id = own.new()
        counter = Counter(books.seed)
        self._counter = counter
        self.feeds = {kind: Feed(counter) for kind in (*_KINDS.values(), ATTACHMENTS)}
        self.deletions = Deletions(counter)
        self.terms = Terms(books.seed + 2 * _OWN_RANGE, settings)
        self.moved: datetime | None = None
        self.revision = 0
        self.fresh: list[Change] = []
        """Changes seen since a webhook sender last took them away."""
        self._seen = 0

    def catch_up(self) -> None:
        """Take over what happened in the books since the last call, each thing in its latest state."""
        number = self.books.changes.number
        if number == self._seen:
            return
        with no_garbage_collection():
            self._follow_all()
        self._seen = number
        self.revision += 1

    def _follow_all(self) -> None:
        latest: dict[int, tuple[Change, bool]] = {}
        for change in self.books.changes.since(self._seen):
            _, edited = latest.pop(id(change.target), (change, False))
            latest[id(change.target)] = change, edited or change.action is Action.EDITED
            if self._seen:
                self.fresh.append(change)
        for change, edited in latest.values():
            self._follow(change, edited=edited)

    def move(self) -> None:
        """Move the division to another database: every row version starts anew, lower than before."""
        self.catch_up()
        self._counter.restart()
        for feed in self.feeds.values():
            feed.renumber()
        self.deletions.renumber()
        self.moved = self.books.clock.now()
        self.revision += 1

    def _follow(self, change: Change, *, edited: bool) -> None:
        removed = change.action is Action.REMOVED
        match change.target:
            case Entry() as entry:
                for line in entry.lines:
                    self._row(LINES, line.id, change.at, removed=removed)
                if entry.kind is EntryKind.PURCHASE:
                    self._purchase(entry, change.at, removed=removed)
            case Item() as item:
                terms = self.terms
                self._terms(terms.forget(item.line) if removed else terms.settle(item, edited=edited), change.at)
            case Document() as document:
                self._row(DOCUMENTS, document.id, change.at, removed=removed)
                for attachment in document.attachments:
                    self._row(ATTACHMENTS, attachment.id, change.at, removed=removed)
            case target:
                kind = _KINDS.get(change.subject)
                if kind is not None:
                    self._row(kind, target.id, change.at, removed=removed)

    def _purchase(self, entry: Entry, at: datetime, *, removed: bool) -> None:
        line = next(line for line in entry.lines if line.account.kind is AccountKind.PAYABLE)
        if removed:
            self._terms(self.terms.forget(line), at)
        elif line.id not in self.terms.of_line:
            self._terms(self.terms.owe(line), at)

    def _terms(self, outcome: Outcome, at: datetime) -> None:
        for term in outcome.removed:
            self._row(TERMS, term.id, at, removed=True)
        for term in outcome.changed:
            self._row(TERMS, term.id, at, removed=False)

    def _row(self, kind: int, key: str, at: datetime, *, removed: bool) -> None:
        if removed:
            self.feeds[kind].drop(key)
            self.deletions.add(self._ids.new(), kind, key, at)
        else:
            self.feeds[kind].bump(key)
