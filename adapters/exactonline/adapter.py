"""Exact Online: one division over its REST API (see NOTES.md for what is peculiar about it)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.exactonline import division, wire
from adapters.exactonline.assemble import ExactAssembler
from adapters.exactonline.balance import control_balance, sign_by, sign_of, vote
from adapters.exactonline.cursors import OLDEST, Counted, Timed, dump, load, newest, newest_version
from adapters.exactonline.kinds import KINDS, SOURCES, Kind
from adapters.exactonline.rows import Chart, Decoder, reference
from connector.adapter import (
    AdapterContext,
    BadRow,
    CallLimits,
    Capability,
    Feed,
    Identity,
    LedgerTotal,
    OAuth,
    Package,
    Page,
    References,
    Removal,
    Row,
)
from connector.decoding import essential, guid
from connector.domain.money import ZERO
from connector.errors import PermissionLost, SourceDown
from connector.http import BadRequest, RateHeaders
from connector.paging import next_link

DAILY, HOURLY, WEEKLY = timedelta(days=1), timedelta(hours=1), timedelta(days=7)
_AGAIN: Final = "nothing to do: it is tried again in the next cycle"
KEYS_IN_URL: Final = 60
"""Ids in one filter, so that an address stays below 6000 characters (sheet 3.4)."""

_SYNCED: Final = {
    "glaccounts": "glaccount",
    "lines": "line",
    "terms": "term",
    "accounts": "account",
    "contacts": "contact",
    "addresses": "address",
    "documents": "document",
    "attachments": "attachment",
}
_BY_TIME: Final = {"bankaccounts": "bankaccount", "mandates": "mandate"}
_SWEPT: Final = {
    "journals": "journal",
    "conditions": "condition",
    "bankaccounts-all": "bankaccount",
    "mandates-all": "mandate",
}
_DELETED: Final = {
    1: ("line", "bank", "suspense"),
    2: ("account",),
    3: ("address",),
    4: ("attachment",),
    5: ("contact",),
    6: ("document",),
    7: ("glaccount",),
    10: ("term",),
}
_PROBES: Final = (
    ("open items", "bulk/Cashflow/Receivables", "Status lt 50", "the scope `financial receivables`"),
    ("payment terms", "sync/Cashflow/PaymentTerms", "Timestamp gt 1L", "the scope `financial cashflow`"),
    ("ledger", "sync/Financial/TransactionLines", "Timestamp gt 1L", "the scope `financial accounting`"),
    ("customers", "sync/CRM/Accounts", "Timestamp gt 1L", "the scope `crm accounts`"),
    ("bank accounts", "crm/BankAccounts", "Main eq true", "the scope `crm accounts`"),
    ("mandates", "cashflow/DirectDebitMandates", "Main eq 1", "the module for direct debits"),
    ("documents", "sync/Documents/Documents", "Timestamp gt 1L", "the scope `organization documents`"),
)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a connection to Exact Online."""

    base_url: str = "https://start.exactonline.nl"
    """The country site: .nl .be .de .fr .es .co.uk .com; an app is registered with one of them."""
    time_zone: str = "Europe/Amsterdam"
    """The clock of that site."""
    suspense_accounts: tuple[str, ...] = ()
    """Codes of the ledger accounts on which unknown receipts wait; empty: guessed from the accounts' types."""


class ExactOnline:
    """The adapter of one connection."""

    def __init__(self, context: AdapterContext) -> None:
        self._options: Options = context.options
        self._clock = context.clock
        self._division = context.administration
        self._site = self._options.base_url.rstrip("/")
        self._path = f"/api/v1/{self._division}/"
        self._http = context.http.within(self._path, "/api/v1/current/", "/docs/")
        self._item: dict[str, Any] | None = None
        """The division, as `identify` found it in this cycle."""
        self._swept: dict[str, str] = {}
        """Kind -> newest change that a complete read of this cycle held; a feed by time may begin there."""

    async def identify(self) -> Identity:
        self._item = await self._division_item()
        return division.identity(self._item, self._division, self._options.time_zone)

    async def capabilities(self) -> Sequence[Capability]:
        found = []
        for name, endpoint, condition, fix in _PROBES:
            try:
                await self._get(self._url(endpoint), {"$select": "ID", "$filter": condition, "$top": "1"})
            except (PermissionLost, BadRequest) as error:
                found.append(
                    Capability(name=name, available=False, note=error.what, fix=f"the app or user needs {fix}")
                )
            else:
                found.append(Capability(name=name, available=True))
        return found

    def feeds(self, stage: str, references: References) -> Sequence[Feed]:
        scope = division.scope(references)
        if stage == "reference":
            return (
                Feed(name="division", kind="changes", fills="division"),
                Feed(name="clock", kind="sweep", fills="clock", every=DAILY),
                Feed(name="journals", kind="sweep", fills="journal", every=DAILY),
                Feed(name="conditions", kind="sweep", fills="condition", every=DAILY),
                Feed(name="glaccounts", kind="changes", fills="glaccount", scope=scope, every=HOURLY),
            )
        if stage == "open":
            return (Feed(name="open", kind="sweep", fills="term", every=HOURLY, open_only=True),)
        chart = self._chart(references)
        accounts = " ".join(sorted(chart.receivable | chart.money))
        return (
            Feed(name="lines", kind="changes", fills="line", scope=f"{scope}|{accounts}"),
            Feed(name="terms", kind="changes", fills="term", scope=scope),
            Feed(name="accounts", kind="changes", fills="account", scope=scope),
            Feed(name="contacts", kind="changes", fills="contact", scope=scope),
            Feed(name="addresses", kind="changes", fills="address", scope=scope),
            Feed(name="bankaccounts-all", kind="sweep", fills="bankaccount", every=WEEKLY),
            Feed(name="bankaccounts", kind="changes", fills="bankaccount", every=HOURLY),
            Feed(name="mandates-all", kind="sweep", fills="mandate", every=WEEKLY),
            Feed(name="mandates", kind="changes", fills="mandate", every=HOURLY),
            Feed(name="documents", kind="changes", fills="document", scope=scope, every=HOURLY),
            Feed(name="attachments", kind="changes", fills="attachment", scope=scope, every=HOURLY),
            Feed(name="deleted", kind="deletions", fills="", scope=scope),
        )

    def read(self, feed: Feed, cursor: str | None, references: References) -> AsyncIterator[Page]:
        chart = self._chart(references)
        if feed.name in _SYNCED:
            pages = self._changes(KINDS[_SYNCED[feed.name]], load(cursor, Counted), chart)
            uncalibrated = feed.name == "terms" and not references.get("calibration")
            return self._calibrating(pages) if uncalibrated else pages
        if feed.name in _BY_TIME:
            kind = KINDS[_BY_TIME[feed.name]]
            begin = Timed.behind(self._swept[kind.name]) if cursor is None and kind.name in self._swept else None
            return self._changes_by_time(kind, begin or load(cursor, Timed), chart)
        if feed.name in _SWEPT:
            return self._sweep(KINDS[_SWEPT[feed.name]], chart)
        if feed.name == "open":
            return self._open_items(references, chart)
        if feed.name == "deleted":
            return self._deletions(load(cursor, Counted))
        return self._clock_page() if feed.name == "clock" else self._division_row(cursor, chart)

    async def look_up(self, kind: str, keys: Sequence[str], references: References) -> Sequence[Row | BadRow]:
        found = KINDS["line" if kind in {"bank", "suspense"} else kind]
        decoder = Decoder(found, self._chart(references))
        answer: list[Row | BadRow] = []
        for start in range(0, len(keys), KEYS_IN_URL):
            params = {"$filter": found.among(keys[start : start + KEYS_IN_URL]), "$select": found.select()}
            async for items, _ in self._pages(found.by_key, params):
                page = decoder.page(items)
                answer += [*page.rows, *page.bad]
        return answer

    async def ledger_total(self, references: References) -> LedgerTotal | None:
        chart = self._chart(references)
        return LedgerTotal(balance=await self._control_balance(chart)) if chart.receivable else None

    def document(self, handle: str) -> AsyncIterator[bytes]:
        """`handle` is the attachment's path on the site; without the flag a web page would come (sheet 11)."""
        return self._http.stream(f"{self._site}{handle}", {"Download": "1"})

    async def _changes(self, kind: Kind, at: Counted, chart: Chart) -> AsyncIterator[Page]:
        assert kind.sync is not None
        decoder = Decoder(kind, chart, removing=not at.whole)
        async for items, following in self._since(kind.sync, kind.select_sync(), at):
            division.check_rows(items, self._division, self._url(kind.sync))
            decoded = decoder.page(items)
            at = at.after(decoded.newest, following)
            yield Page(cursor=dump(at), rows=decoded.rows, removals=decoded.removals, bad=decoded.bad)

    async def _calibrating(self, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
        """Nothing was open when the open items were read, so the first terms that are open say with which sign."""
        votes = 0
        async for page in pages:
            votes += sum(vote(row.fields) for row in page.rows if row.open)
            yield msgspec.structs.replace(page, rows=[*page.rows, *_calibration(sign_by(votes))])

    async def _changes_by_time(self, kind: Kind, at: Timed, chart: Chart) -> AsyncIterator[Page]:
        decoder = Decoder(kind, chart)
        params = {"$select": kind.select(), "$filter": f"Modified ge datetime'{at.since}'"}
        async for items, following in self._pages(kind.by_key, params, at.next):
            at = at.after(items, following)
            decoded = decoder.page(items)
            yield Page(cursor=dump(at), rows=decoded.rows, bad=decoded.bad)

    async def _sweep(self, kind: Kind, chart: Chart) -> AsyncIterator[Page]:
        decoder = Decoder(kind, chart)
        last = OLDEST
        async for items, following in self._pages(kind.by_key, {"$select": kind.select()}):
            last = newest(items, last)
            decoded = decoder.page(items)
            yield Page(cursor=following, rows=decoded.rows, bad=decoded.bad)
        self._swept[kind.name] = last

    async def _open_items(self, references: References, chart: Chart) -> AsyncIterator[Page]:
        """Every open term; the last page also says with which sign its amounts are to be read."""
        kind = KINDS["term"]
        decoder = Decoder(kind, chart)
        total, votes = ZERO, 0
        params = {"$select": kind.select(), "$filter": "Status lt 50"}
        async for items, following in self._pages(kind.by_key, params):
            decoded = decoder.page(items)
            total += sum((Decimal(row.fields["AmountDC"]) for row in decoded.rows), ZERO)
            votes += sum(vote(row.fields) for row in decoded.rows)
            rows = decoded.rows
            if following is None:
                known = next(iter(references.get("calibration", ())), {})
                balance = await self._control_balance(chart) if chart.receivable else ZERO
                sign = sign_of(total, balance, votes=votes, previous=known.get("Sign"))
                rows = [*rows, *_calibration(sign)]
            yield Page(cursor=following, rows=rows, bad=decoded.bad)

    async def _deletions(self, at: Counted) -> AsyncIterator[Page]:
        """What was deleted; when the log no longer reaches back to the last read, everything is read anew."""
        began = self._clock.now()
        missed = at.may_have_missed(began)
        async for items, following in self._since("sync/Deleted", "Timestamp,EntityKey,EntityType", at):
            at = at.after(newest_version(items), following, began)
            removals = [
                Removal(
                    kind=kind,
                    key=essential(item, "EntityKey", guid),
                    version=essential(item, "Timestamp", wire.whole),
                )
                for item in items
                for kind in _DELETED.get(essential(item, "EntityType", wire.whole), ())
            ]
            epoch = reference("epoch", "epoch", {"Since": began.date().isoformat()})
            yield Page(cursor=dump(at), rows=[epoch] if missed else [], removals=removals)

    async def _clock_page(self) -> AsyncIterator[Page]:
        """No rows; the question counts in no limit (sheet 2.5), but it is a call like the others."""
        me = await self._get(f"{self._site}/api/v1/current/Me", {"$select": "ServerTime,ServerUtcOffset"})
        if me.items:
            division.check_clock(me.items[0], self._options.time_zone)
        yield Page(cursor=None)

    async def _division_row(self, cursor: str | None, chart: Chart) -> AsyncIterator[Page]:
        """What `identify` has found; the position in this feed is what was last said."""
        decoded = Decoder(KINDS["division"], chart).page([self._item or await self._division_item()])
        said = msgspec.json.encode([row.fields for row in decoded.rows]).decode()
        yield Page(cursor=said, rows=decoded.rows if said != cursor else [], bad=decoded.bad)

    async def _division_item(self) -> dict[str, Any]:
        """Never the division that `Me` calls current: that one follows the user's browser (sheet 2.5)."""
        kind = KINDS["division"]
        where = f"{self._site}{self._path}{kind.by_key}"
        try:
            answer = await self._get(where, {"$select": kind.select(), "$filter": f"Code eq {self._division}"})
        except PermissionLost as error:
            raise division.not_granted(self._division, where) from error
        return division.pick(answer.items, self._division, where)

    async def _control_balance(self, chart: Chart) -> Decimal:
        accounts = " or ".join(f"GLAccount eq guid'{key}'" for key in sorted(chart.receivable))
        params = {"$select": "Amount,ReportingYear,ReportingPeriod,Type", "$filter": accounts}
        return control_balance([item async for items, _ in self._pages("financial/ReportingBalance", params)
                                for item in items])  # fmt: skip

    def _since(self, endpoint: str, select: str, at: Counted) -> AsyncIterator[wire.Answer]:
        return self._pages(endpoint, {"$select": select, "$filter": f"Timestamp gt {at.since}L"}, at.next)

    async def _pages(
        self, endpoint: str, params: Mapping[str, str], resume: str | None = None
    ) -> AsyncIterator[wire.Answer]:
        """From a stored next link on, or from the beginning where there is none or the package refuses it by now."""
        if resume is None:
            answer = await self._get(self._url(endpoint), params)
        else:
            try:
                answer = await self._get(resume)
            except BadRequest:
                answer = await self._get(self._url(endpoint), params)
        yield answer
        met = {resume}
        while answer.following is not None:
            if answer.following in met:
                raise SourceDown("the next-page links go round in a circle", where=self._url(endpoint), fix=_AGAIN)
            met.add(answer.following)
            answer = await self._get(answer.following)
            yield answer

    async def _get(self, url: str, params: Mapping[str, str] | None = None) -> wire.Answer:
        answer = wire.answer((await self._http.get(url, params)).json())
        following = answer.following and next_link(url, answer.following, within=self._path)
        return answer._replace(following=following)

    def _url(self, endpoint: str) -> str:
        return f"{self._site}{self._path}{endpoint}"

    def _chart(self, references: References) -> Chart:
        return Chart.of(references, self._options.suspense_accounts)


def _calibration(sign: int | None) -> Sequence[Row]:
    return () if sign is None else (reference("calibration", "sign", {"Sign": sign}),)


def oauth(options: Options) -> OAuth:
    """Sheet 2.1 and 2.2; scopes are part of the app's registration."""
    site = options.base_url.rstrip("/")
    return OAuth(
        authorize_url=f"{site}/api/oauth2/auth",
        token_url=f"{site}/api/oauth2/token",
        pkce=False,
        refresh_not_before_s=570,
        refresh_margin_s=25,
        refresh_token_days=30,
        token_calls_per_day=200,
    )


PACKAGE: Final = Package(
    name="exactonline",
    title="Exact Online",
    version="1",
    options=Options,
    stages=("reference", "open", "history"),
    anchor="account",
    bank_kind="bank",
    suspense_kind="suspense",
    sources=SOURCES,
    limits=CallLimits(per_minute=60, per_day=5000),
    rate_headers=RateHeaders(
        minute_limit="X-RateLimit-Minutely-Limit",
        minute_remaining="X-RateLimit-Minutely-Remaining",
        minute_reset="X-RateLimit-Minutely-Reset",
        day_limit="X-RateLimit-Limit",
        day_remaining="X-RateLimit-Remaining",
        day_reset="X-RateLimit-Reset",
    ),
    origins=lambda options: (options.base_url,),
    oauth=oauth,
    adapter=ExactOnline,
    assembler=ExactAssembler,
)
