"""The events a destination receives: CloudEvents 1.0, whole records, versions per entity."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from connector.domain.records import Entity, Record

Verb = Literal["upserted", "removed"]
Op = Literal["upserted", "removed", "signalled"]
Origin = Literal["initial", "incremental", "resync", "replay"]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

SCHEMA_VERSION: Final = "v1"

FRESHNESS: Final = "ar.freshness.updated.v1"
SYNC_COMPLETED: Final = "ar.sync.completed.v1"
SYNC_HELD: Final = "ar.sync.held.v1"
QUARANTINED: Final = "ar.data.quarantined.v1"
RECONCILED: Final = "ar.reconciliation.completed.v1"
LINKED: Final = "ar.connection.linked.v1"
DEGRADED: Final = "ar.connection.degraded.v1"
REAUTH_REQUIRED: Final = "ar.connection.reauth_required.v1"
RESTORED: Final = "ar.connection.restored.v1"


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`data.meta` of every event: which version of its entity this is, and how it came about."""

    entity_version: int
    """Rises with each event of the entity; a receiver ignores what is not newer than what it holds."""
    content_hash: str
    """SHA-256 over the encoded record, in hexadecimal digits."""
    op: Op
    run_id: str
    origin: Origin
    observed_at: Instant
    changed_fields: Sequence[str] = ()
    """Top-level fields of the record that differ from the version before; none for a first version."""
    mapping_version: str = ""
    transition: str | None = None
    """How the payment status moved, as `open→paid`."""


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope. Its fields are in the order of their names, as canonical JSON wants them."""

    data: msgspec.Raw
    datacontenttype: str = "application/json"
    dataschema: str
    id: str
    partitionkey: str
    sequence: str
    source: str
    specversion: str = "1.0"
    subject: str
    time: str
    type: str


_ENCODER: Final = msgspec.json.Encoder(order="deterministic", decimal_format="string")


def encode(value: Any) -> bytes:
    """Canonical JSON: fields in their order, other keys sorted, decimals as strings; same value, same bytes."""
    return _ENCODER.encode(value)


def content_hash(encoded: bytes) -> str:
    return hashlib.sha256(encoded).hexdigest()


def record_type(entity: Entity, verb: Verb) -> str:
    return f"ar.{entity}.{verb}.{SCHEMA_VERSION}"


def source_urn(connection: str, package: str, administration: str) -> str:
    return f"urn:connector:{connection}:{package}:{administration}"


def event_id(source: str, sequence: int, data: bytes) -> str:
    """Repeatable, and never the same for two contents: a restored database may use a sequence number again."""
    return hashlib.blake2b(b"%b#%d#%b" % (source.encode(), sequence, data), digest_size=16).hexdigest()


def transition(before: Mapping[str, Any] | None, after: Record) -> str | None:
    """How the payment status moved, as `open→paid`; None when it did not move or there is none."""
    now = getattr(after, "payment_status", None)
    if now is None:
        return None
    was = before.get("payment_status", "open") if before is not None else None
    return None if was == now or was is None else f"{was}→{now}"


def changed_fields(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    """Top-level fields that differ, sorted; empty for the first version of an entity."""
    if before is None:
        return []
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def cloud_event(
    *,
    source: str,
    sequence: int,
    event_type: str,
    subject: str,
    partition: str,
    time: datetime,
    data: bytes,
) -> tuple[str, bytes]:
    """The id and the exact bytes of one event; `data` is already encoded and is embedded as it stands."""
    event = _Envelope(
        data=msgspec.Raw(data),
        dataschema=f"https://connector.invalid/schemas/{event_type}.json",
        id=event_id(source, sequence, data),
        partitionkey=partition,
        sequence=f"{sequence:020d}",
        source=source,
        subject=subject,
        time=time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        type=event_type,
    )
    return event.id, encode(event)
