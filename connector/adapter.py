"""What an accounting package must be able to say, and the words the program uses for it.

An *adapter* speaks one package's protocol for one *connection* (one client's link to one *administration*). It lists
*feeds* (named sequences of *pages*), reads them from a *cursor*, looks items up by key, and says the ledger's own
total. A *row* is one raw item; it carries the key of the record *group* it belongs to, and the pure function
`assemble` turns the rows of one group into its *records*. Rows of the group "" are *references*: journals, ledger
accounts and the like, which every group may need to be understood.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from connector.clock import Clock
from connector.domain.money import ZERO
from connector.domain.records import Administration, Customer, Invoice, Payment
from connector.http import Client, RateHeaders, Refusal
from connector.mapping import Mapping
from connector.secrets import Secret

Fields = dict[str, Any]
"""The selected fields of one raw item as JSON values; amounts travel as decimal strings."""

References = MappingOf[str, Sequence[Fields]]
"""The stored reference rows by kind, each kind ordered by key."""

REFERENCE_GROUP = ""
UNREAD = "unread"
"""The kind of the row that holds the place of a quarantined one in its group."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One raw item. Rows are unique by (kind, key) within a connection, whichever feed brought them."""

    kind: str
    key: str
    group: str | None
    """None: the package does not tell; the row joins the group of the row that `parent` names."""
    fields: Fields
    version: int | None = None
    """The package's own change counter; an older version never replaces a newer one. None always applies."""
    open: bool = False
    """Whether the item counts as open, so that its leaving an open-items sweep must be looked into."""
    day: date | None = None
    """The bank booking day, for the kinds whose newest day says how fresh the bank is."""
    parent: tuple[str, str] | None = None
    """(kind, key) of the row whose group this one shares."""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """The package says that a row is gone; `version` guards against removing a newer incarnation."""

    kind: str
    key: str
    version: int | None = None


class BadRow(msgspec.Struct, frozen=True, kw_only=True):
    """An item that could not be decoded into a row; it is quarantined."""

    kind: str
    key: str
    reason: str
    payload: Any
    group: str | None = None
    """Where it belongs, if that can be read: until it is cured, no record of that group is taken for gone."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `cursor` is the position after it: stored with the rows, passed back to `read` later."""

    cursor: str | None
    rows: Sequence[Row] = ()
    removals: Sequence[Removal] = ()
    bad: Sequence[BadRow] = ()


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A named sequence of pages.

    `changes` goes on from its cursor for ever; `sweep` starts anew each time and is a complete set when it reaches
    its end; `deletions` carries removals. When `scope` differs from the stored one (another database, other control
    accounts) the stored cursor means nothing and the feed starts from the beginning, as a complete set.
    """

    name: str
    kind: Literal["changes", "sweep", "deletions"]
    fills: str
    """The kind of row whose completeness this feed vouches for."""
    scope: str = ""
    every: timedelta | None = None
    """Read no more often than this; None reads it in each cycle."""
    open_only: bool = False
    """A sweep of the open items only: absence concerns the rows marked open."""
    twice: bool = False
    """What is absent is looked up each time, but counts as gone only when the sweep before this one lacked it too."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose books these are, as the package itself says."""

    administration: str
    name: str
    currency: str
    time_zone: str
    edition: str = ""
    country: str = ""


@dataclass(frozen=True, kw_only=True)
class LedgerTotal:
    """What the ledger says is receivable, in base currency, and what of it no customer can explain."""

    balance: Decimal
    explained: MappingOf[str, Decimal] = field(default_factory=dict)
    """Known reasons why our count may differ (lines without a debtor, for one), each with its amount."""


@dataclass(frozen=True, kw_only=True)
class Capability:
    """One thing a client's edition can or cannot give, for `check`; `fix` says how to get it."""

    name: str
    available: bool
    note: str = ""
    fix: str = ""


@dataclass(kw_only=True)
class Assembled:
    """The records of one group, in emission order within each list."""

    customers: list[Customer] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    left_out: Decimal = ZERO
    """Open base amount of items that the mapping leaves out: an explained difference with the ledger."""
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class BankJournal:
    """Where money comes in; `blocks` says whether its last booking limits what is known about payments."""

    journal: str
    name: str = ""
    iban: str | None = None
    blocks: bool = True


@dataclass(frozen=True, kw_only=True)
class Unprocessed:
    """Money received that nobody has assigned to a customer yet, in base currency."""

    day: date
    amount: Decimal


class Assembler(Protocol):
    """Turns rows into records: pure, the same answer for the same rows, reference rows and mapping."""

    @property
    def digest(self) -> str:
        """Names what the answer depends on besides the rows of a group; when it changes, all is assembled anew."""
        ...

    def administration(self) -> Administration: ...

    def banks(self) -> MappingOf[str, BankJournal]:
        """The bank, cash and payment-service journals by the group of their quiet rows."""
        ...

    def unprocessed(self, suspense: Sequence[Fields]) -> Sequence[Unprocessed]:
        """Money that came in but is booked on no customer."""
        ...

    def assemble(self, group: str, rows: MappingOf[str, Sequence[Fields]]) -> Assembled:
        """`rows` by kind, each ordered by key. One bad item goes to `bad`, never raises."""
        ...


class Adapter(Protocol):
    """One package's protocol for one connection. Every method may raise the errors of `connector.errors`."""

    async def identify(self) -> Identity: ...

    async def capabilities(self) -> Sequence[Capability]: ...

    def feeds(self, stage: str, references: References) -> Sequence[Feed]: ...

    def read(self, feed: Feed, cursor: str | None, references: References) -> AsyncIterator[Page]:
        """Pages from `cursor` (None: from the beginning) to the end; the end of the iterator means complete."""
        ...

    async def look_up(self, kind: str, keys: Sequence[str], references: References) -> Sequence[Row | BadRow]:
        """The items that still exist among `keys`. A key that is absent from the answer does not exist any more."""
        ...

    async def ledger_total(self, references: References) -> LedgerTotal | None:
        """None where the package has no such figure."""
        ...

    def document(self, handle: str) -> AsyncIterator[bytes]: ...


class Stored(Protocol):
    """What is stored of the connection, as of the last page."""

    async def rows(self, kind: str, keys: Collection[str]) -> MappingOf[str, Fields]:
        """The rows with these keys, by key; those that are not stored are absent."""
        ...

    async def parts(self, kind: str, of: Collection[str]) -> MappingOf[str, Fields]:
        """The rows whose key begins with one of these and a slash, by key."""
        ...

    async def groups(self, groups: Collection[str]) -> MappingOf[str, MappingOf[str, Sequence[Fields]]]:
        """All rows of these groups: group -> kind -> rows."""
        ...

    async def open_groups(self, kind: str) -> Sequence[str]:
        """The groups in which a row of this kind is open."""
        ...

    async def count(self, kind: str) -> int: ...


@runtime_checkable
class Remembering(Protocol):
    """An adapter that compares what it reads with what is stored, as its package does not say all that changes."""

    def remember(self, stored: Stored) -> None:
        """Called once, before anything but `identify` and `capabilities`."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdapterContext:
    """What the program gives an adapter: the settings of its connection and the way out to the network."""

    administration: str
    options: Any
    """An instance of the package's `options` type."""
    http: Client
    clock: Clock


@dataclass(frozen=True, kw_only=True)
class KeyGrant:
    """A key that the client hands over opens the books: it takes the place of the refresh token and never changes."""

    label: str
    """What the package calls it."""
    where: str
    """Where the client finds it."""
    form: Callable[[str], MappingOf[str, str]]
    """key -> the token request."""


@dataclass(frozen=True, kw_only=True)
class KeyNews:
    """What a package tells of a client's key. Anybody may have sent it: nothing of it is believed unproved."""

    action: Literal["created", "replaced", "deleted"]
    reference: Secret
    """What the client's way to the package began with."""
    key: Secret


@dataclass(frozen=True, kw_only=True)
class Activation:
    """A package that sends us a client's key, by our app's webhook, once the client has agreed on its own page."""

    page: Callable[[Any, str, str, str], str]
    """(options, our app's id, reference, where the browser goes afterwards) -> the address of that page."""
    read: Callable[[bytes], KeyNews | None]
    """The body of what came to the webhook; None when it cannot be understood."""


@dataclass(frozen=True, kw_only=True)
class OAuth:
    """How a package lets us in, and the rules of its token endpoint."""

    token_url: str
    authorize_url: str = ""
    """Its sign-in page; none where a key is handed over."""
    key: KeyGrant | None = None
    authorize_params: MappingOf[str, str] = field(default_factory=dict)
    pkce: bool = True
    refresh_not_before_s: int = 0
    """A refresh earlier than this after the last grant is refused."""
    refresh_margin_s: int = 300
    """Refresh when less than this of the access token's life is left."""
    refresh_token_days: int | None = None
    """How long an unused refresh token lives."""
    token_calls_per_day: int | None = None
    """How many requests the token endpoint takes for one sign-in on a UTC day."""


@dataclass(frozen=True, kw_only=True)
class CallLimits:
    """The package's published limits per app and administration; its own headers override them."""

    per_minute: int | None = None
    per_day: int | None = None


@dataclass(frozen=True, kw_only=True)
class Package:
    """One accounting package, as its entry point in the group `connector.adapters` publishes it."""

    name: str
    title: str
    version: str
    """Raised when rows or assembly change meaning: stored rows are then assembled anew."""
    options: type[msgspec.Struct]
    """The settings of a connection that only this package has."""
    stages: Sequence[str]
    """Feeds are read stage by stage; records are assembled and forwarded after each."""
    anchor: str
    """The kind of row whose key is the group's key: the customer itself, looked up when it is missing."""
    bank_kind: str | None
    """The kind of row whose newest day says how far a bank journal is booked; no record is made of it."""
    suspense_kind: str | None
    """The kind of row for money booked on no customer; no record is made of it."""
    sources: MappingOf[str, Collection[str]]
    """Per section of the mapping, the paths that its expressions may name."""
    limits: CallLimits
    rate_headers: RateHeaders
    origins: Callable[[Any], Sequence[str]]
    """options -> the origins (scheme, host, port) that may see this connection's credentials."""
    oauth: Callable[[Any], OAuth]
    adapter: Callable[[AdapterContext], Adapter]
    assembler: Callable[[References, Mapping, str], Assembler]
    """(reference rows, compiled mapping, administration) -> the pure assembler."""
    app_header: str | None = None
    """The header that carries our app's own secret with every call, where the package wants one."""
    activation: Activation | None = None
    """Used where `[apps.NAME] activation` says that our app has a webhook registered."""
    refusal: Callable[[int, str], Refusal | None] | None = None
    """(status, beginning of the body) of a 401 or 403 -> what it means, where the status alone misleads."""

    @property
    def quiet(self) -> frozenset[str]:
        """Kinds of rows that touch no group, because no record is made of them."""
        return frozenset(kind for kind in (self.bank_kind, self.suspense_kind) if kind is not None)


def packages() -> dict[str, Package]:
    """The installed packages by name."""
    return {point.name: point.load() for point in entry_points(group="connector.adapters")}
