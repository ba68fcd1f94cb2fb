"""The end of a cycle: our count against the ledger, how fresh the bank is, and the barrier events that say so."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from connector import freshness
from connector.adapter import Adapter, Assembler, BankJournal, LedgerTotal, Package, References
from connector.clock import Clock
from connector.domain import events
from connector.domain.money import ZERO, from_minor
from connector.domain.signals import BankState, ControlTotal, Freshness, Receipts, Stream, SyncCompleted
from connector.store import connections, feeds, groups, outbox, quarantine, records, rows
from connector.store.connections import Lease, Linked
from connector.store.engine import Store
from connector.store.feeds import FeedState


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a cycle can vouch for."""

    freshness: Freshness

    @property
    def agrees(self) -> bool:
        return not self.freshness.control_total.difference

    @property
    def blocking(self) -> tuple[str, ...]:
        return self.freshness.blocking


@dataclass(frozen=True, kw_only=True)
class Closer:
    """Closes one cycle of one connection."""

    store: Store
    clock: Clock
    lease: Lease
    lease_ttl: timedelta
    adapter: Adapter
    assembler: Assembler
    package: Package
    connection: Linked
    run_id: str
    origin: events.Origin
    mapping_version: str

    async def close(self, references: References) -> Closing:
        """Ask the ledger for its total, then write the barrier events in one transaction."""
        ledger = await self.adapter.ledger_total(references)
        return await asyncio.to_thread(self._close, ledger)

    def _close(self, ledger: LedgerTotal | None) -> Closing:
        now = self.clock.now()
        closing = Closing(freshness=self._freshness(ledger, now))
        completed = SyncCompleted(
            outcome="partial" if closing.blocking else "ok",
            freshness=closing.freshness,
        )
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=now, ttl=self.lease_ttl)
            outbox.append(
                connection,
                self.connection.id,
                self.connection.destination,
                self.connection.source,
                [
                    self._barrier(events.FRESHNESS, closing.freshness, now),
                    self._barrier(events.SYNC_COMPLETED, completed, now),
                ],
                now,
            )
            if not self.connection.initial_done:
                connections.initial_load_done(connection, self.connection.id)
        return closing

    def _freshness(self, ledger: LedgerTotal | None, now: datetime) -> Freshness:
        connection_id = self.connection.id
        read_on = freshness.today(now, self.connection.time_zone)
        banks = self.assembler.banks()
        days = self._booked_until(banks)
        streams = tuple(_stream(state) for state in feeds.states(self.store, connection_id).values())
        control = self._control_total(ledger)
        quarantined = quarantine.count(self.store, connection_id)
        blocking = [f"feed {stream.name} is {stream.status}" for stream in streams if stream.status != "ok"]
        if control.difference:
            blocking.append(f"our open items and the ledger differ by {control.difference}")
        if quarantined:
            blocking.append(f"{quarantined} items are in quarantine")
        return Freshness(
            ledger_read_at=now,
            bank_booked_until=tuple(
                BankState(journal=bank.journal, name=bank.name, iban=bank.iban, booked_until=days.get(group))
                for group, bank in sorted(banks.items())
            ),
            bank_expected_until=freshness.previous_business_day(read_on),
            unprocessed_receipts=self._unprocessed(),
            unallocated_receipts=records.unallocated(self.store, connection_id, self.connection.currency),
            streams=streams,
            control_total=control,
            quarantined=quarantined,
            dunning_safe_as_of=freshness.safe_as_of(
                {group: days[group] for group, bank in banks.items() if bank.blocks and group in days},
                read_on=read_on,
                blocking=blocking,
            ),
            blocking=tuple(blocking),
        )

    def _control_total(self, ledger: LedgerTotal | None) -> ControlTotal:
        currency = self.connection.currency
        open_minor, left_out_minor = groups.totals(self.store, self.connection.id)
        ours, left_out = from_minor(open_minor, currency), from_minor(left_out_minor, currency)
        explained = {"left_out_by_mapping": left_out} if left_out else {}
        if ledger is None:
            return ControlTotal(currency=currency, ours=ours, explained=explained)
        explained |= ledger.explained
        return ControlTotal(
            currency=currency,
            ours=ours,
            ledger=ledger.balance,
            explained=explained,
            difference=ledger.balance - ours - sum(explained.values(), ZERO),
        )

    def _booked_until(self, banks: Mapping[str, BankJournal]) -> dict[str, date]:
        kind = self.package.bank_kind
        return {} if kind is None else rows.newest_days(self.store, self.connection.id, kind, sorted(banks))

    def _unprocessed(self) -> Receipts:
        kind = self.package.suspense_kind
        suspense = [] if kind is None else rows.of_kind(self.store, self.connection.id, kind)
        lines = self.assembler.unprocessed(suspense)
        return Receipts(
            count=len(lines),
            total=sum((line.amount for line in lines), ZERO),
            oldest=min((line.day for line in lines), default=None),
        )

    def _barrier(self, event_type: str, record: Freshness | SyncCompleted, now: datetime) -> outbox.NewEvent:
        body = events.encode(record)
        meta = events.Meta(
            entity_version=self.connection.cycle,
            content_hash=events.content_hash(body),
            op="signal",
            run_id=self.run_id,
            origin=self.origin,
            observed_at=now,
            mapping_version=self.mapping_version,
        )
        return outbox.NewEvent(
            type=event_type,
            entity="administration",
            external_id=self.connection.administration,
            entity_version=self.connection.cycle,
            ordering_key=self.connection.administration,
            barrier=True,
            data=events.encode({"meta": meta, "record": record}),
        )


def _stream(state: FeedState) -> Stream:
    if state.status == "failed":
        return Stream(name=state.name, status="failed", last_success_at=state.completed_at, reason=state.reason)
    return Stream(name=state.name, status="ok" if state.completed_at else "never", last_success_at=state.completed_at)
