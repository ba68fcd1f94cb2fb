"""Items that could not be used: kept encrypted; rows are asked for again, records made again when something changes."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from connector.adapter import BadRow
from connector.domain.events import encode
from connector.domain.signals import Quarantined, QuarantinedItem
from connector.store import bulk
from connector.store.among import among
from connector.store.engine import Store
from connector.store.tables import QuarantineRow
from connector.vault import Place, Vault

TABLE: sa.Table = QuarantineRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
PAYLOAD_LIMIT = 64_000

_MINE = TABLE.c.connection_id == sa.bindparam("of")
_ANY = sa.select(TABLE.c.kind).where(_MINE).limit(1)
"""Nearly always there is nothing in quarantine, and each page asks."""
_CURED = (
    sa.delete(TABLE)
    .where(_MINE, TABLE.c.kind == sa.bindparam("of_kind"), among(TABLE.c.key, "wanted"))
    .returning(TABLE.c.key)
)
_CURED_GROUPS = sa.delete(TABLE).where(_MINE, TABLE.c.group_key != "", among(TABLE.c.group_key, "wanted"))


def put(
    connection: sa.Connection,
    store: Store,
    vault: Vault,
    connection_id: int,
    bad: Sequence[BadRow],
    *,
    group: str = "",
    version: str,
    now: datetime,
) -> None:
    """Add items, or renew what is known of them."""
    newest = {(item.kind, item.key): item for item in bad}
    values = [
        {
            "connection_id": connection_id,
            "kind": item.kind,
            "key": item.key,
            "group_key": group,
            "reason": item.reason,
            "adapter_version": version,
            "payload_ct": vault.encrypt(
                encode(item.payload)[:PAYLOAD_LIMIT].decode(errors="replace"),
                Place("quarantine", connection_id, f"{item.kind}/{item.key}"),
            ),
            "first_seen_at": now,
            "last_seen_at": now,
        }
        for item in newest.values()
    ]
    if values:
        insert = store.insert(TABLE)
        renewed = {name: insert.excluded[name] for name in ("reason", "adapter_version", "payload_ct", "last_seen_at")}
        connection.execute(
            insert.on_conflict_do_update(index_elements=["connection_id", "kind", "key"], set_=renewed), values
        )


_WAITING = (
    sa.select(TABLE.c.kind, TABLE.c.key)
    .where(
        TABLE.c.connection_id == sa.bindparam("of"),
        TABLE.c.group_key == "",
        sa.or_(
            TABLE.c.last_seen_at <= sa.bindparam("before", type_=TABLE.c.last_seen_at.type),
            TABLE.c.adapter_version != sa.bindparam("version"),
        ),
    )
    .order_by(TABLE.c.last_seen_at, TABLE.c.kind, TABLE.c.key)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def waiting(
    connection: sa.Connection, connection_id: int, *, before: datetime, version: str, limit: int
) -> dict[str, list[str]]:
    """Rows last seen to be bad before a moment or by another version of the adapter, oldest first: kind -> keys."""
    found: dict[str, list[str]] = {}
    for kind, key in connection.execute(
        _WAITING, {"of": connection_id, "before": before, "version": version, "most": limit}
    ):
        found.setdefault(kind, []).append(key)
    return found


def cured(connection: sa.Connection, connection_id: int, *, kind: str, keys: Sequence[str]) -> list[str]:
    """These items were read well or are gone: none is left in quarantine; returns those that were there."""
    if not keys or not bulk.select(connection, _ANY, of=connection_id):
        return []
    return list(connection.execute(_CURED, {"of": connection_id, "of_kind": kind, "wanted": keys}).scalars())


def cured_groups(connection: sa.Connection, connection_id: int, groups: Sequence[str]) -> None:
    """These groups are about to be assembled anew: what was wrong with their records is decided again."""
    if bulk.select(connection, _ANY, of=connection_id):
        connection.execute(_CURED_GROUPS, {"of": connection_id, "wanted": groups})


_COUNT = sa.select(sa.func.count()).select_from(TABLE).where(TABLE.c.connection_id == sa.bindparam("of"))
_NEWEST = (
    sa.select(TABLE.c.kind, TABLE.c.key, TABLE.c.reason)
    .where(TABLE.c.connection_id == sa.bindparam("of"))
    .order_by(TABLE.c.last_seen_at.desc(), TABLE.c.kind, TABLE.c.key)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def newest(store: Store, connection_id: int, limit: int) -> Quarantined:
    """How many items are in quarantine, and the newest of them."""
    with store.read() as connection:
        count = connection.execute(_COUNT, {"of": connection_id}).scalar_one()
        rows = connection.execute(_NEWEST, {"of": connection_id, "most": limit}).all() if count else ()
    return Quarantined(
        count=count, items=tuple(QuarantinedItem(kind=kind, key=key, reason=reason) for kind, key, reason in rows)
    )
