"""SnelStart: one administration over its B2B API (see NOTES.md for what is peculiar about it)."""

from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.snelstart import ledger, query, wire
from adapters.snelstart.access import Options, oauth, refusal
from adapters.snelstart.activation import ACTIVATION
from adapters.snelstart.api import Api
from adapters.snelstart.assemble import SnelAssembler
from adapters.snelstart.feeds import CHANGED, SWEPT, condition_of, feeds
from adapters.snelstart.find import Finder, printed
from adapters.snelstart.kinds import MONEY, SOURCES, collection
from adapters.snelstart.review import Review
from adapters.snelstart.rows import DOUBT, Chart, Decoded, booked, decode, doubt, last_days, reference
from adapters.snelstart.settle import CURRENCY
from adapters.snelstart.ubl import ubl
from connector.adapter import (
    AdapterContext,
    BadRow,
    CallLimits,
    Capability,
    Feed,
    Identity,
    LedgerTotal,
    Package,
    Page,
    References,
    Removal,
    Row,
    Stored,
)
from connector.decoding import essential, guid, text
from connector.errors import PermissionLost
from connector.http import BadRequest, RateHeaders

_SCOPES: Final = (
    ("customers", "relaties", "relaties:read"),
    ("invoices", "verkoopfacturen", "orders:read"),
    ("bank bookings", "bankboekingen", "bankieren:read"),
    ("cash bookings", "kasboekingen", "kas:read"),
    ("ledger", "grootboeken", "boekhouden:read"),
    ("countries", "landen", "settings:read"),
    ("documents", "documenten/Relaties/{nobody}", "documenten:read"),
)
"""What is read, where a right to it shows, and the scope it needs (sheet 13.12)."""
_NOBODY: Final = "00000000-0000-4000-8000-000000000000"


class SnelStart:
    """The adapter of one connection, for one cycle."""

    def __init__(self, context: AdapterContext) -> None:
        self._options: Options = context.options
        self._administration = context.administration
        prefix = urlsplit(self._options.base_url).path.rstrip("/")
        self._api = Api(context.http.within(f"{prefix}/"), self._options.base_url)
        self._company: dict[str, Any] | None = None
        self._newest: dict[str, str] = {}
        """Kind -> newest change that a complete read of this cycle held; its changes may be read from there."""
        self._find = Finder(self._api)
        self._review = Review()
        self._stored: Stored | None = None

    def remember(self, stored: Stored) -> None:
        self._stored = stored

    async def identify(self) -> Identity:
        """A koppelsleutel may be replaced by one for other books at any time: looked at in every cycle (sheet 1.2)."""
        self._company = await self._read_company()
        found = str(essential(self._company, "administratieIdentifier", guid))
        name = self._company.get("administratieNaam") or self._company.get("bedrijfsnaam") or found
        same = found == self._administration.strip().lower()
        return Identity(
            administration=self._administration if same else found,
            name=str(name),
            currency=CURRENCY,
            time_zone="Europe/Amsterdam",
            country="NL",
        )

    async def capabilities(self) -> Sequence[Capability]:
        report = [("period balance", "rapportages/periodebalans", "rapportage")]
        asked = [*_SCOPES, *(report if self._options.ledger_total == "period_balance" else [])]
        found = []
        for name, path, scope in asked:
            try:
                await self._api.call(path.format(nobody=_NOBODY), {"$top": "1"})
            except PermissionLost as error:
                fix = f"make a new koppelsleutel in SnelStart that includes {scope}"
                found.append(Capability(name=name, available=False, note=error.what, fix=fix))
                continue
            except BadRequest:
                pass  # let in, and told that this very question makes no sense
            found.append(Capability(name=name, available=True))
        return found

    def feeds(self, stage: str, references: References) -> Sequence[Feed]:
        return feeds(stage, Chart.of(references), open_first=_works(query.IS_OPEN, references))

    def read(self, feed: Feed, cursor: str | None, references: References) -> AsyncIterator[Page]:
        chart = Chart.of(references)
        if feed.name in CHANGED:
            return self._changes(CHANGED[feed.name], cursor, chart)
        if feed.name in SWEPT:
            return self._sweep(SWEPT[feed.name], chart)
        special: Mapping[str, Callable[[], AsyncIterator[Page]]] = {
            "abilities": self._abilities,
            "company": self._company_row,
            "countries": lambda: self._list("country", chart),
            "journals": lambda: self._list("journal", chart),
            "mandates": self._mandates,
            "open": lambda: self._open_invoices(chart),
            "review": lambda: self._reviewed(chart),
        }
        return special[feed.name]()

    async def look_up(self, kind: str, keys: Sequence[str], references: References) -> Sequence[Row | BadRow]:
        chart = Chart.of(references)
        match kind:
            case "relation":
                decoded = await self._find.relations(keys, chart)
                decoded.rows += await self._hidden(decoded.missing(keys))
            case "invoice":
                decoded = await self._invoices(keys, chart)
            case "mandates":
                return await self._find.mandates(keys)
            case "bankline" | "cashline":
                decoded = await self._find.by_id(kind, {key.partition("/")[0] for key in keys}, chart)
            case "journal" | "country":
                decoded = decode(kind, await self._api.whole(collection(kind)), chart)
            case "company":
                decoded = decode(kind, [self._company or await self._read_company()], chart)
            case "ability":
                return [await self._ability(key) for key in keys if key in query.PROBES]
            case _:
                decoded = await self._find.by_id(kind, keys, chart)
        return decoded.among(keys)

    async def ledger_total(self, references: References) -> LedgerTotal | None:
        """Of all receivables accounts, found by their function (sheet 5.7, 13.13)."""
        chart = Chart.of(references)
        if not chart.receivables:
            return None
        if self._options.ledger_total == "period_balance":
            balance = await ledger.period_balance(self._api, chart, self._company or await self._read_company())
        else:
            balance = await ledger.sum_of_mutations(self._api, chart)
        explained = {}
        if _works(query.WITHOUT_NUMBER, references):
            explained["booked_on_receivables_without_invoice"] = await ledger.without_invoice(self._api, chart)
        return LedgerTotal(balance=balance, explained={why: amount for why, amount in explained.items() if amount})

    async def document(self, handle: str) -> AsyncIterator[bytes]:
        """`handle` is the sale whose printed invoice is wanted, or the invoice whose UBL is."""
        kind, _, key = handle.partition("/")
        if kind == "verkoopfacturen":
            answer = await self._api.call(f"verkoopfacturen/{key}/ubl")
            yield ubl(answer.body, answer.where)
        else:
            found = await printed(self._api, key)
            yield b64decode(str(essential(found, "content", text)))

    async def _list(self, kind: str, chart: Chart) -> AsyncIterator[Page]:
        yield _page(decode(kind, await self._api.whole(collection(kind)), chart))

    async def _sweep(self, kind: str, chart: Chart) -> AsyncIterator[Page]:
        last = query.OLDEST
        days: dict[str, str] = {}
        condition = condition_of(kind, chart)
        if condition is not None:
            async for items in self._api.sweep(collection(kind), condition):
                last = query.newest(items, last)
                if kind in MONEY:
                    days = last_days(items, days)
                decoded = decode(kind, items, chart)
                if kind == "invoice":
                    await self._note_invoices(decoded)
                yield _page(decoded)
        yield Page(cursor=None, rows=booked(days))
        self._newest[kind] = last

    async def _open_invoices(self, chart: Chart) -> AsyncIterator[Page]:
        async for items in self._api.sweep("verkoopfacturen", query.IS_OPEN):
            decoded = decode("invoice", items, chart)
            await self._note_invoices(decoded)
            yield _page(decoded)

    async def _changes(self, kind: str, cursor: str | None, chart: Chart) -> AsyncIterator[Page]:
        """The position moves at the end only: pages come in no order. It is the newest change that a row has shown."""
        first = cursor is None and kind not in self._newest
        seen = cursor or self._newest.get(kind, query.OLDEST)
        latest = seen
        restriction = condition_of(kind, chart)
        if restriction is None:
            return
        condition = query.both(restriction, query.changed_since(seen))
        read = self._api.sweep if first else self._api.changes
        async for items in read(collection(kind), condition):
            latest = query.newest(items, latest)
            decoded = decode(kind, items, chart)
            removals: Sequence[Removal] = ()
            if kind in MONEY:
                removals = [] if first else await self._note_bookings(kind, items, decoded, chart)
                decoded.rows += booked(last_days(items, await self._days(items)))
            elif kind == "invoice":
                await self._note_invoices(decoded)
            elif kind == "memorial" and not first:
                await self._note_memorials(decoded.rows)
            yield Page(cursor=cursor, rows=decoded.rows, removals=removals, bad=decoded.bad)
        yield Page(cursor=latest)

    async def _note_invoices(self, decoded: Decoded) -> None:
        """What has changed is reviewed when everything else is read, if need be by a later process."""
        invoices = {row.key: row for row in decoded.rows if row.kind == "invoice"}
        before = await self._known.rows("invoice", invoices)
        decoded.rows += [doubt(row) for key, row in invoices.items() if key in before and before[key] != row.fields]

    async def _note_bookings(
        self, kind: str, items: Sequence[dict[str, Any]], decoded: Decoded, chart: Chart
    ) -> Sequence[Removal]:
        """Lines that a changed booking no longer has go; the invoices they settled are read again (sheet 13.3)."""
        bookings = {str(item["id"]).lower() for item in items}
        gone = await self._withdrawn(kind, bookings, decoded)
        left = {removal.key.partition("/")[2] for removal in gone}
        self._review.bookings_read(bookings, left | {row.fields["sale"] for row in decoded.rows})
        if left:
            sales = await self._known.rows("sale", left)
            decoded.add(await self._invoices({sale["invoice"] for sale in sales.values()}, chart))
        return gone

    async def _note_memorials(self, found: Sequence[Row]) -> None:
        before = await self._known.rows("memorial", [row.key for row in found])
        self._review.hinted([row.fields for row in found if row.key not in before])

    async def _days(self, items: Sequence[dict[str, Any]]) -> dict[str, str]:
        """How far the journals of these bookings were booked before."""
        journals = last_days(items, {})
        return {key: row["datum"] for key, row in (await self._known.rows("booked", journals)).items()}

    async def _reviewed(self, chart: Chart) -> AsyncIterator[Page]:
        """Whatever was touched and does not add up is read again: the invoice, then what settled it (sheet 13.2)."""
        doubts = await self._known.parts(DOUBT, ["invoice"])
        touched = await self._review.touched(self._known)
        found = await self._read_invoices(self._review.doubtful(touched), chart)
        again = {row.key: row.fields for row in found.rows if row.kind == "invoice"}
        removals = [Removal(kind=DOUBT, key=key) for key in doubts]
        for kind, bookings in self._review.suspects(touched, again).items():
            decoded = await self._find.by_id(kind, bookings, chart)
            removals += await self._withdrawn(kind, bookings, decoded)
            found.add(decoded)
        yield Page(cursor="read", rows=found.rows, removals=removals, bad=found.bad)

    async def _withdrawn(self, kind: str, bookings: Collection[str], decoded: Decoded) -> list[Removal]:
        """The stored lines of these bookings that they do not have any more."""
        unread = {bad.key for bad in decoded.bad}
        now = {row.key for row in decoded.rows}
        before = await self._known.parts(kind, set(bookings) - unread)
        return [Removal(kind=kind, key=key) for key in before if key not in now]

    async def _mandates(self) -> AsyncIterator[Page]:
        """One call for each relation, so only where money is collected and something is open (sheet 13.9)."""
        relations = await self._known.rows("relation", await self._known.open_groups("invoice"))
        collected = [key for key, one in sorted(relations.items()) if one.get("incassoSoort", "Geen") != "Geen"]
        found = await self._find.mandates(collected)
        rows = [one for one in found if isinstance(one, Row)]
        yield Page(cursor="read", rows=rows, bad=[one for one in found if isinstance(one, BadRow)])

    async def _abilities(self) -> AsyncIterator[Page]:
        yield Page(cursor=None, rows=[await self._ability(condition) for condition in query.PROBES])

    async def _ability(self, condition: str) -> Row:
        """Whether a filter does what it says: nothing may pass its contradictory form (sheet 3.3)."""
        path, impossible = query.PROBES[condition]
        try:
            works = not await self._api.page(path, impossible, top=1)
        except BadRequest:
            works = False
        return reference("ability", condition, {"name": condition, "works": works})

    async def _company_row(self) -> AsyncIterator[Page]:
        yield _page(decode("company", [self._company or await self._read_company()], Chart.of({})))

    async def _read_company(self) -> dict[str, Any]:
        answer = await self._api.call("companyInfo")
        return wire.item(answer.json(), answer.where)

    async def _invoices(self, keys: Collection[str], chart: Chart) -> Decoded:
        decoded = await self._read_invoices(keys, chart)
        await self._note_invoices(decoded)
        return decoded

    async def _read_invoices(self, keys: Collection[str], chart: Chart) -> Decoded:
        return await self._find.invoices(keys, chart, stored=await self._known.count("invoice"))

    async def _hidden(self, keys: Collection[str]) -> Sequence[Row]:
        """Relations that are neither listed nor shown, while we hold invoices to them: inactive ones (sheet 5.1)."""
        groups = await self._known.groups(keys) if keys else {}
        owing = {key: rows.get("relation", ()) for key, rows in groups.items() if rows.get("invoice")}
        return [
            Row(kind="relation", key=key, group=key, fields={**stored, "nonactief": True})
            for key, found in owing.items()
            for stored in found
        ]

    @property
    def _known(self) -> Stored:
        assert self._stored is not None, "the engine says what is stored before it reads"
        return self._stored


def _works(condition: str, references: References) -> bool:
    return any(one["name"] == condition and one["works"] for one in references.get("ability", ()))


def _page(decoded: Decoded) -> Page:
    return Page(cursor=None, rows=decoded.rows, bad=decoded.bad)


PACKAGE: Final = Package(
    name="snelstart",
    title="SnelStart",
    version="1",
    options=Options,
    stages=("reference", "open", "history"),
    anchor="relation",
    bank_kind="booked",
    suspense_kind="suspense",
    sources=SOURCES,
    limits=CallLimits(per_minute=500, per_day=120_000),
    rate_headers=RateHeaders(),
    origins=lambda options: (options.base_url,),
    oauth=oauth,
    adapter=SnelStart,
    assembler=SnelAssembler,
    app_header="Ocp-Apim-Subscription-Key",
    activation=ACTIVATION,
    refusal=refusal,
)
