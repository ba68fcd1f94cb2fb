"""The end of a cycle: our count against the ledger, how fresh the bank is, and the events that say so."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec
import sqlalchemy as sa

from connector import alerts, freshness
from connector.adapter import Adapter, Assembler, BankJournal, Identity, LedgerTotal, Package, References
from connector.assembly import Tally
from connector.clock import Clock
from connector.domain import events, signals
from connector.domain.money import ZERO, from_minor
from connector.domain.signals import SIGNALS, ControlTotal, Freshness, Receipts
from connector.errors import AuthRevoked, ConnectorError, Held, NeedsReconnect
from connector.store import connections, groups, outbox, quarantine, records, rows, tokens
from connector.store.connections import Lease, Linked
from connector.store.engine import Store
from connector.store.feeds import FeedState

NAMED_IN_QUARANTINE = 20
LEFT_OUT = "left_out_by_mapping"
ASK_AGAIN = timedelta(hours=1)
"""A total that the ledger confirmed is compared anew after this time, and as soon as ours is another."""


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a cycle can vouch for."""

    freshness: Freshness

    @property
    def agrees(self) -> bool:
        """Whether the ledger confirms our count, as far as it can be asked."""
        total = self.freshness.control_total
        return total is None or not total.difference

    @property
    def blocking(self) -> Sequence[str]:
        return self.freshness.blocking


@dataclass(frozen=True, kw_only=True)
class Closer:
    """Closes one cycle of one connection, well or badly."""

    store: Store
    clock: Clock
    lease: Lease
    lease_ttl: timedelta
    package: Package
    connection: Linked
    run_id: str
    origin: events.Origin
    mapping_version: str
    started_at: datetime
    states: Mapping[str, FeedState]

    async def close(self, adapter: Adapter, assembler: Assembler, references: References, tally: Tally) -> Closing:
        """Ask the ledger for its total, unless it has just confirmed it; then write the barriers in one transaction."""
        ours, left_out = await asyncio.to_thread(self._ours)
        control = self._confirmed(ours, left_out)
        if control is None:
            control = self._compared(ours, left_out, await adapter.ledger_total(references))
        return await asyncio.to_thread(self._close, assembler, control, tally)

    def failed(self, error: ConnectorError) -> None:
        """Tell the destination what a person has to do before the mirror goes on; nothing for what passes by itself."""
        now = self.clock.now()
        if isinstance(error, Held):
            payload: msgspec.Struct = signals.SyncHeld(run_id=self.run_id, reason=error.what, fix=error.fix)
            self._append([self._signal(events.SYNC_HELD, payload, now, barrier=False)], now)
        elif isinstance(error, NeedsReconnect) and self.connection.linked_at is not None:
            self._needs_person(error, now)

    def _needs_person(self, error: NeedsReconnect, now: datetime) -> None:
        """No call is made any more once the package has refused a grant for good, or the newest token of it.

        Unless somebody signed in while this cycle ran: then it was the old sign-in that was refused.
        """
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=now, ttl=self.lease_ttl)
            sign_in = tokens.sign_in(connection, self.connection.id)
            if sign_in is not None and sign_in.signed_in_at > self.started_at:
                return
            if sign_in is not None and sign_in.status == tokens.LINKED and isinstance(error, AuthRevoked):
                tokens.refuse(connection, sign_in, error.what)
            linked = connections.get(connection, self.connection.id)
            if linked.alerted == alerts.NEEDS_PERSON:
                return
            alert = alerts.Alert(connection=linked, percent=alerts.NEEDS_PERSON, now=now, reason=error.what)
            alert.write(connection)
        alert.log()

    def _close(self, assembler: Assembler, control: ControlTotal, tally: Tally) -> Closing:
        now = self.clock.now()
        quarantined = quarantine.newest(self.store, self.connection.id, NAMED_IN_QUARANTINE)
        closing = Closing(freshness=self._freshness(assembler, control, quarantined.count, now))
        completed = signals.SyncCompleted(
            run_id=self.run_id,
            started_at=self.started_at,
            finished_at=now,
            outcome="partial" if closing.blocking else "ok",
            created=tally.created,
            changed=tally.changed,
            removed=tally.removed,
            quarantined=quarantined.count,
            freshness=closing.freshness,
        )
        barriers: list[tuple[str, msgspec.Struct]] = [(events.FRESHNESS, closing.freshness)]
        if quarantined.count:
            barriers.append((events.QUARANTINED, quarantined))
        asked = control.compared_at is None or control.compared_at >= self.started_at
        if asked:
            reconciled = signals.Reconciliation(matches=closing.agrees, control_total=control, ledger_read_at=now)
            barriers.append((events.RECONCILED, reconciled))
        barriers.append((events.SYNC_COMPLETED, completed))
        signalled = [self._signal(kind, payload, now, barrier=True) for kind, payload in barriers]
        self._append(signalled, now, compared=control if asked else None)
        return closing

    def _append(
        self, new_events: Sequence[outbox.NewEvent], now: datetime, *, compared: ControlTotal | None = None
    ) -> None:
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=now, ttl=self.lease_ttl)
            if compared is not None:
                confirmed = events.encode(compared) if compared.difference == ZERO else None
                connections.reconciled(connection, self.connection.id, confirmed)
            if new_events[-1].type == events.SYNC_COMPLETED:
                self._came_through(connection, now)
            outbox.append(
                connection,
                connection_id=self.connection.id,
                destination=self.connection.destination,
                source=self.connection.source,
                events=new_events,
                now=now,
            )

    def _came_through(self, connection: sa.Connection, now: datetime) -> None:
        """The first time, and the first time after a person seemed to be needed, are news; barriers come after it."""
        if not self.connection.initial_done:
            connections.initial_load_done(connection, self.connection.id)
        if self.connection.alerted == alerts.NEEDS_PERSON:
            alerts.restore(connection, self.connection, now)

    def _freshness(self, assembler: Assembler, control: ControlTotal, quarantined: int, now: datetime) -> Freshness:
        read_on = freshness.today(now, self.connection.time_zone)
        banks = assembler.banks()
        days = self._booked_until(banks)
        states = sorted(self.states.values(), key=lambda state: state.name)
        blocking = tuple(_blocking(states, control, quarantined))
        active = {group: day for group, day in days.items() if banks[group].blocks}
        return Freshness(
            dunning_safe_as_of=freshness.safe_as_of(active, read_on=read_on, blocking=blocking),
            blocking=blocking,
            bank_booked_until=tuple(
                signals.BankJournal(
                    journal=bank.journal,
                    name=bank.name or None,
                    booked_until=days.get(group),
                    dormant=group not in days or freshness.is_dormant(days[group], read_on),
                )
                for group, bank in sorted(banks.items())
            ),
            bank_expected_until=freshness.previous_business_day(read_on),
            unprocessed_receipts=self._unprocessed(assembler),
            unallocated_receipts=records.unallocated(self.store, self.connection.id, self.connection.currency),
            ledger_read_at=now,
            streams=tuple(_stream(state) for state in states),
            control_total=control,
        )

    def _booked_until(self, banks: Mapping[str, BankJournal]) -> dict[str, date]:
        kind = self.package.bank_kind
        return {} if kind is None else rows.newest_days(self.store, self.connection.id, kind, sorted(banks))

    def _confirmed(self, ours: Decimal, left_out: Decimal) -> ControlTotal | None:
        """What the ledger confirmed a short while ago, if our count is still the same."""
        if self.connection.control_total is None or self.origin != "incremental":
            return None
        known = msgspec.json.decode(self.connection.control_total, type=ControlTotal)
        same = ours == known.ours and left_out == known.explained.get(LEFT_OUT, ZERO)
        age = self.started_at - (known.compared_at or self.started_at)
        return known if same and timedelta(0) < age < ASK_AGAIN else None

    def _compared(self, ours: Decimal, left_out: Decimal, ledger: LedgerTotal | None) -> ControlTotal:
        currency = self.connection.currency
        explained = {LEFT_OUT: left_out} if left_out else {}
        if ledger is None:
            return ControlTotal(currency=currency, ours=ours, explained=explained)
        explained |= ledger.explained
        return ControlTotal(
            currency=currency,
            ours=ours,
            ledger=ledger.balance,
            explained=explained,
            difference=ledger.balance - ours - sum(explained.values(), ZERO),
            compared_at=self.clock.now(),
        )

    def _ours(self) -> tuple[Decimal, Decimal]:
        """What is open by our count, and what the mapping leaves out of it."""
        open_minor, left_out_minor = groups.totals(self.store, self.connection.id)
        return from_minor(open_minor, self.connection.currency), from_minor(left_out_minor, self.connection.currency)

    def _unprocessed(self, assembler: Assembler) -> Receipts | None:
        kind = self.package.suspense_kind
        if kind is None:
            return None
        lines = assembler.unprocessed(rows.of_kind(self.store, self.connection.id, kind))
        return Receipts(
            count=len(lines),
            amount=sum((line.amount for line in lines), ZERO),
            oldest=min((line.day for line in lines), default=None),
        )

    def _signal(self, event_type: str, record: msgspec.Struct, now: datetime, *, barrier: bool) -> outbox.NewEvent:
        meta = events.Meta(
            entity_version=self.connection.cycle,
            content_hash=events.content_hash(events.encode(record)),
            op="signalled",
            run_id=self.run_id,
            origin=self.origin,
            observed_at=now,
            mapping_version=self.mapping_version,
        )
        return outbox.NewEvent(
            type=event_type,
            entity=SIGNALS[event_type].entity,
            external_id=self.connection.administration,
            entity_version=self.connection.cycle,
            ordering_key=self.connection.administration,
            barrier=barrier,
            data=events.encode({"meta": meta, "record": record}),
        )


def linked_event(connection: Linked, identity: Identity, now: datetime) -> outbox.NewEvent:
    """A person has linked the administration; nothing of it has been read yet."""
    record = signals.Linked(
        package=connection.package,
        administration=connection.administration,
        title=identity.name,
        currency=identity.currency,
        time_zone=identity.time_zone,
        linked_at=now,
    )
    meta = events.Meta(
        entity_version=connection.cycle + 1,
        content_hash=events.content_hash(events.encode(record)),
        op="signalled",
        run_id=f"{connection.name}-link",
        origin="initial",
        observed_at=now,
    )
    return outbox.NewEvent(
        type=events.LINKED,
        entity=SIGNALS[events.LINKED].entity,
        external_id=connection.administration,
        entity_version=connection.cycle + 1,
        ordering_key=connection.administration,
        data=events.encode({"meta": meta, "record": record}),
    )


def _blocking(states: Sequence[FeedState], control: ControlTotal, quarantined: int) -> list[str]:
    reasons = [f"feed {state.name} failed: {state.reason}" for state in states if state.status == "failed"]
    if control.difference:
        reasons.append(f"our open items and the ledger differ by {control.difference} {control.currency}")
    if quarantined:
        reasons.append(f"{quarantined} items are in quarantine")
    return reasons


def _stream(state: FeedState) -> signals.FeedState:
    return signals.FeedState(
        name=state.name,
        status="failed" if state.status == "failed" else "ok" if state.completed_at else "partial",
        last_success_at=state.completed_at,
        last_attempt_at=state.attempted_at,
        rows=state.rows,
        reason=state.reason,
    )
