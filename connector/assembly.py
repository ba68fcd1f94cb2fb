"""From touched groups to record versions and events.

A page transaction stores rows and marks the groups they touch; this module turns marked groups into records, in
batches. Each batch is one fenced transaction: record versions, events and cleared marks commit together. Assembly
waits until the feeds of a stage are read, so that a receiver never sees a debit without the payment that the same
cycle also read; the marks are durable, so a crash in between loses nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from connector.adapter import REFERENCE_GROUP, UNREAD, Assembled, Assembler, BadRow, Fields
from connector.clock import Clock
from connector.domain import events
from connector.domain.money import ZERO, to_minor
from connector.domain.records import ENTITIES, Customer, Entity, Invoice, Payment, Record
from connector.errors import BadRecord
from connector.failpoints import failpoint
from connector.store import connections, groups, outbox, quarantine, records, rows
from connector.store.connections import Lease
from connector.store.engine import Store
from connector.store.records import Change, Stored
from connector.vault import Vault

BATCH = 200
"""Groups in one transaction."""


WHOLE_GROUP = "group"


class Made(NamedTuple):
    """A record as assembled: which group it belongs to and its canonical bytes."""

    record: Record
    group: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Destiny:
    """Where the records of one connection go, and under which names."""

    connection_id: int
    administration: str
    destination: str
    source: str
    currency: str
    linked_on: date
    origin: events.Origin
    run_id: str
    adapter_version: str
    mapping_version: str


@dataclass(kw_only=True)
class Tally:
    """What assembly did so far."""

    groups: int = 0
    created: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    by_entity: dict[str, int] = field(default_factory=dict)

    def count(self, changes: Sequence[Change], *, groups: int, records: int) -> None:
        self.groups += groups
        for change in changes:
            self.by_entity[change.entity] = self.by_entity.get(change.entity, 0) + 1
            if change.removed:
                self.removed += 1
            elif change.version == 1:
                self.created += 1
            else:
                self.changed += 1
        self.unchanged += records - sum(not change.removed for change in changes)


@dataclass(kw_only=True)
class Assembly:
    """Assembles what is touched of one connection; create one per stage of a cycle."""

    store: Store
    vault: Vault
    clock: Clock
    lease: Lease
    lease_ttl: timedelta
    assembler: Assembler
    destiny: Destiny
    tally: Tally

    def batch(self) -> int:
        """Assemble up to BATCH touched groups; returns how many there were. 0 means that nothing is left."""
        connection_id = self.destiny.connection_id
        keys = groups.touched(self.store, connection_id, BATCH)
        if not keys:
            return 0
        with self.store.read() as connection:
            stored_rows = rows.of_groups(connection, connection_id, keys)
        results = {key: self._assemble(key, stored_rows[key]) for key in keys}
        unread = {key for key in keys if UNREAD in stored_rows[key]}
        produced = self._produced(results)
        now = self.clock.now()
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=now, ttl=self.lease_ttl)
            changes: list[Change] = []
            new_events: list[outbox.NewEvent] = []
            for entity, made in produced.items():
                stored = records.of_groups(connection, connection_id, entity, keys)
                stored |= records.by_id(connection, connection_id, entity, [key for key in made if key not in stored])
                certain = {
                    key: row
                    for key, row in stored.items()
                    if key in made or not (row.group_key in unread or _doubtful(results, row))
                }
                planned = plan(entity, made, certain)
                changes += planned
                new_events += [self._event(change, stored.get(change.external_id), now) for change in planned]
                records.move(connection, connection_id, entity, moved(made, stored))
            records.write(connection, connection_id, changes, now)
            failpoint("records.in_tx")
            self._quarantine(connection, results, now)
            outbox.append(
                connection,
                connection_id=connection_id,
                destination=self.destiny.destination,
                source=self.destiny.source,
                events=new_events,
                now=now,
            )
            groups.assembled(connection, connection_id, {key: self._totals(result) for key, result in results.items()})
        failpoint("records.after_commit")
        self.tally.count(changes, groups=len(keys), records=sum(map(len, produced.values())))
        return len(keys)

    def run(self, progress: Callable[[int], None] = lambda _: None) -> int:
        """Assemble everything that is touched; returns the number of groups."""
        total = 0
        while done := self.batch():
            total += done
            progress(done)
        return total

    def _assemble(self, group: str, stored: dict[str, list[Fields]]) -> Assembled:
        if group == REFERENCE_GROUP:
            return Assembled()
        try:
            result = self.assembler.assemble(group, stored)
        except BadRecord as error:
            return Assembled(bad=[BadRow(kind=WHOLE_GROUP, key=group, reason=str(error), payload=None)])
        result.invoices = [self._historical(invoice) for invoice in result.invoices]
        return result

    def _produced(self, results: Mapping[str, Assembled]) -> dict[Entity, dict[str, Made]]:
        produced: dict[Entity, dict[str, Made]] = {entity: {} for entity in ENTITIES}
        for group, result in results.items():
            for entity, record in self._records(group, result):
                produced[entity][record.external_id] = Made(record, group, events.encode(record))
        return produced

    def _records(self, group: str, result: Assembled) -> Iterator[tuple[Entity, Record]]:
        if group == REFERENCE_GROUP:
            yield "administration", self.assembler.administration()
        for customer in result.customers:
            yield "customer", customer
        for invoice in result.invoices:
            yield "invoice", invoice
        for payment in result.payments:
            yield "payment", payment

    def _quarantine(self, connection: sa.Connection, results: Mapping[str, Assembled], now: datetime) -> None:
        quarantine.cured_groups(connection, self.destiny.connection_id, list(results))
        for group, result in results.items():
            self.tally.quarantined += len(result.bad)
            quarantine.put(
                connection,
                self.store,
                self.vault,
                self.destiny.connection_id,
                result.bad,
                group=group,
                version=self.destiny.adapter_version,
                now=now,
            )

    def _historical(self, invoice: Invoice) -> Invoice:
        """Mark what was settled before the client linked: statistics, never mail."""
        settled = invoice.settled_on
        if invoice.open or settled is None or settled >= self.destiny.linked_on:
            return invoice
        return msgspec.structs.replace(invoice, historical=True)

    def _totals(self, result: Assembled) -> tuple[int, int]:
        open_ = sum((invoice.base_open for invoice in result.invoices), ZERO)
        open_ -= sum((payment.base_unallocated for payment in result.payments), ZERO)
        currency = self.destiny.currency
        return to_minor(open_, currency), to_minor(result.left_out, currency)

    def _event(self, change: Change, before: Stored | None, now: datetime) -> outbox.NewEvent:
        old: dict[str, Any] | None = None
        if before is not None and not before.removed:
            old = msgspec.json.decode(before.record)
        meta = events.Meta(
            entity_version=change.version,
            content_hash=events.content_hash(change.body),
            op="removed" if change.removed else "upserted",
            run_id=self.destiny.run_id,
            origin=self.destiny.origin,
            observed_at=now,
            changed_fields=events.changed_fields(old, msgspec.json.decode(change.body)) if old is not None else [],
            mapping_version=self.destiny.mapping_version,
            transition=None if change.removed else events.transition(old, change.record),
        )
        return outbox.NewEvent(
            type=events.record_type(change.entity, "removed" if change.removed else "upserted"),
            entity=change.entity,
            external_id=change.external_id,
            entity_version=change.version,
            ordering_key=ordering_key(self.destiny.administration, change.record),
            barrier=False,
            data=events.encode(
                {"meta": meta, "record": msgspec.Raw(change.body), "raw_ref": f"group/{change.group_key}"}
            ),
        )


def ordering_key(administration: str, record: Record) -> str:
    """What concerns one customer travels in order; the administration is a key of its own."""
    match record:
        case Customer():
            return f"{administration}/{record.external_id}"
        case Invoice() | Payment():
            return f"{administration}/{record.customer}"
        case _:
            return administration


def plan(entity: Entity, made: Mapping[str, Made], stored: Mapping[str, Stored]) -> list[Change]:
    """The next versions: what is new or differs, then what its group no longer holds. Pure.

    Both are by external id; `stored` holds what is known of these ids and of the groups that were assembled.
    """
    changes = []
    for external_id, (record, group, body) in made.items():
        before = stored.get(external_id)
        if before is None or before.removed or before.record != body:
            version = 1 if before is None else before.version + 1
            changes.append(
                Change(
                    entity=entity, external_id=external_id, group_key=group, version=version, record=record, body=body
                )
            )
    for external_id, before in stored.items():
        if external_id not in made and not before.removed:
            changes.append(
                Change(
                    entity=entity,
                    external_id=external_id,
                    group_key=before.group_key,
                    version=before.version + 1,
                    record=msgspec.json.decode(before.record, type=ENTITIES[entity]),
                    body=before.record,
                    removed=True,
                )
            )
    return changes


def moved(made: Mapping[str, Made], stored: Mapping[str, Stored]) -> dict[str, str]:
    """Records that are the same as before but belong to another group now: external id -> group."""
    return {
        external_id: item.group
        for external_id, item in made.items()
        if (before := stored.get(external_id)) is not None
        and before.group_key != item.group
        and before.record == item.body
    }


def _doubtful(results: Mapping[str, Assembled], stored: Stored) -> bool:
    """Whether a stored record is missing from its group only because something there could not be read."""
    result = results.get(stored.group_key)
    return result is not None and any(bad.kind == WHOLE_GROUP or bad.key == stored.external_id for bad in result.bad)
