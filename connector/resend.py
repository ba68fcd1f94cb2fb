"""Sending every record of a connection again, from what is stored, without asking the package.

For a destination that lost its data the same versions will do: it has none. After our own database was restored from a
backup the destination knows newer versions than we do, and would ignore what we say next; then all versions are raised
above anything it can have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from connector.assembly import ordering_key
from connector.clock import Clock
from connector.domain import events
from connector.domain.records import ENTITIES, Entity
from connector.store import connections, outbox, records
from connector.store.connections import Lease, Linked
from connector.store.engine import Store
from connector.store.records import Stored

AFTER_RESTORE = 1_000_000
"""More changes of one record than a backup can be behind."""
BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Resend:
    """Writes the events of all records of one connection, the connection's lease in hand."""

    store: Store
    clock: Clock
    lease: Lease
    lease_ttl: timedelta
    connection: Linked
    run_id: str

    def run(self, *, raise_by: int = 0) -> int:
        """Write them in emission order, a batch a transaction; returns how many. Repeating it after a crash is safe."""
        if raise_by:
            with self.store.write() as connection:
                connections.fence(connection, self.lease, now=self.clock.now(), ttl=self.lease_ttl)
                records.raise_versions(connection, self.connection.id, raise_by)
                connections.raise_counters(connection, self.connection.id, raise_by)
        count = 0
        for entity in ENTITIES:
            for batch in self._batches(entity):
                count += self._write(entity, batch)
        return count

    def _batches(self, entity: Entity) -> Iterator[list[Stored]]:
        after = ""
        while batch := records.after(self.store, self.connection.id, entity, after, BATCH):
            yield batch
            after = batch[-1].external_id

    def _write(self, entity: Entity, batch: list[Stored]) -> int:
        now = self.clock.now()
        new = [self._event(entity, stored) for stored in batch]
        with self.store.write() as connection:
            connections.fence(connection, self.lease, now=now, ttl=self.lease_ttl)
            return outbox.append(
                connection,
                connection_id=self.connection.id,
                destination=self.connection.destination,
                source=self.connection.source,
                events=new,
                now=now,
            )

    def _event(self, entity: Entity, stored: Stored) -> outbox.NewEvent:
        verb: events.Verb = "removed" if stored.removed else "upserted"
        record = msgspec.json.decode(stored.record, type=ENTITIES[entity])
        meta = events.Meta(
            entity_version=stored.version,
            content_hash=events.content_hash(stored.record),
            op=verb,
            run_id=self.run_id,
            origin="resync",
            observed_at=self.clock.now(),
        )
        return outbox.NewEvent(
            type=events.record_type(entity, verb),
            entity=entity,
            external_id=stored.external_id,
            entity_version=stored.version,
            ordering_key=ordering_key(self.connection.administration, record),
            data=events.encode(
                {"meta": meta, "record": msgspec.Raw(stored.record), "raw_ref": f"group/{stored.group_key}"}
            ),
        )
