"""Raw rows: what a page changes, which groups it touches, and which rows a complete read did not hold."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

import msgspec
import sqlalchemy as sa

from connector.adapter import REFERENCE_GROUP, Fields, Removal, Row
from connector.store import bulk
from connector.store.engine import Store
from connector.store.tables import RowRow

TABLE: sa.Table = RowRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
CHUNK = 900
"""Keys in one IN list; inside every database's limit of bound values."""

PREFIXES = 100
"""Beginnings of keys in one statement: each is a range of its own. A slash and the 0 after it bound what begins so."""

# Built once, because each page and each batch of groups uses them; building one costs more than a small answer.
_MINE = TABLE.c.connection_id == sa.bindparam("of")
_NAMED = sa.and_(
    _MINE, TABLE.c.kind == sa.bindparam("of_kind"), TABLE.c.key.in_(sa.bindparam("wanted", expanding=True))
)
_STORED = sa.select(TABLE.c.key, TABLE.c.group_key, TABLE.c.version, TABLE.c.open, TABLE.c.data).where(_NAMED)
_SEEN = sa.update(TABLE).where(_NAMED).values(seen=sa.bindparam("now"))
_OF_GROUPS = sa.select(TABLE.c.group_key, TABLE.c.kind, TABLE.c.key, TABLE.c.data).where(
    _MINE, TABLE.c.group_key.in_(sa.bindparam("wanted", expanding=True))
)
_CHILDREN = sa.select(sa.exists().where(_MINE, TABLE.c.parent.is_not(None)))

_decode = msgspec.json.decode
_encode = msgspec.json.Encoder(decimal_format="string").encode
"""Fields come in the adapter's own order, which is the same each time."""


def upsert(
    connection: sa.Connection,
    connection_id: int,
    rows: Sequence[Row],
    *,
    cycle: int,
    seen: bool = False,
    quiet: Collection[str] = (),
) -> set[str]:
    """Store what changed and return the groups it touches, those a row left included.

    A row that is already there with the same content costs nothing; with `seen` it is marked as present in this
    cycle, which a read from the beginning needs. Of several rows with one key the newest version counts. Rows whose
    parent is unknown wait without a group until the parent comes.
    """
    touched: set[str] = set()
    changed: list[dict[str, Any]] = []
    for kind, by_key in _newest(rows).items():
        stored = _stored(connection, connection_id, kind, list(by_key))
        parents = _parent_groups(connection, connection_id, by_key.values())
        unchanged = []
        for key, row in by_key.items():
            before = stored.get(key)
            group = row.group if row.parent is None else parents.get("/".join(row.parent))
            data = _encode(row.fields)
            if before is not None:
                if row.version is not None and row.version < before.version:
                    continue
                if (data, group, row.open) == (before.data, before.group_key, before.open):
                    if row.version is not None and row.version > before.version:
                        changed.append(_values(connection_id, row, group, row.version, cycle, data))
                    elif seen:
                        unchanged.append(key)
                    continue
            version = before.version if before is not None and row.version is None else row.version or 0
            changed.append(_values(connection_id, row, group, version, cycle, data))
            if kind not in quiet:
                touched.update(name for name in (group, before and before.group_key) if name is not None)
        _mark_seen(connection, connection_id, kind, unchanged, cycle)
    if changed:
        bulk.upsert(connection, TABLE, changed)
        touched |= _adopt(connection, connection_id, [f"{values['kind']}/{values['key']}" for values in changed])
    return touched


def remove(
    connection: sa.Connection, connection_id: int, removals: Sequence[Removal], *, quiet: Collection[str] = ()
) -> set[str]:
    """Delete rows that the package says are gone, unless a newer incarnation is stored; returns their groups."""
    touched: set[str] = set()
    by_kind: dict[str, dict[str, int | None]] = {}
    for removal in removals:
        by_kind.setdefault(removal.kind, {})[removal.key] = removal.version
    for kind, versions in by_kind.items():
        stored = _stored(connection, connection_id, kind, list(versions))
        gone = []
        for key, row in stored.items():
            version = versions[key]
            if version is None or version >= row.version:
                gone.append(key)
                if row.group_key is not None and kind not in quiet:
                    touched.add(row.group_key)
        for chunk in _chunks(gone):
            connection.execute(
                sa.delete(TABLE).where(
                    TABLE.c.connection_id == connection_id, TABLE.c.kind == kind, TABLE.c.key.in_(chunk)
                )
            )
    return touched


def forget_versions(connection: sa.Connection, connection_id: int, kind: str) -> None:
    """The package renumbered its versions: from now on each row it sends counts as newer."""
    connection.execute(
        sa.update(TABLE).where(TABLE.c.connection_id == connection_id, TABLE.c.kind == kind).values(version=0)
    )


def unseen(store: Store, connection_id: int, kind: str, *, since: int, open_only: bool) -> list[str]:
    """Keys of the rows that a complete read did not hold; where `open_only`, of the open ones."""
    statement = sa.select(TABLE.c.key).where(
        TABLE.c.connection_id == connection_id, TABLE.c.kind == kind, TABLE.c.seen < since
    )
    if open_only:
        statement = statement.where(TABLE.c.open)
    with store.read() as connection:
        return list(connection.execute(statement.order_by(TABLE.c.key)).scalars())


def count(store: Store, connection_id: int, kind: str, *, open_only: bool) -> int:
    statement = sa.select(sa.func.count()).where(TABLE.c.connection_id == connection_id, TABLE.c.kind == kind)
    if open_only:
        statement = statement.where(TABLE.c.open)
    with store.read() as connection:
        return connection.execute(statement).scalar_one()


def without_anchor(store: Store, connection_id: int, anchor: str, kinds: Sequence[str]) -> list[str]:
    """Groups that hold an open row of some kind but not their anchor: customers that must be looked up.

    Sorted here, as in `of_groups`: SQLite would read all rows in the order of their groups.
    """
    other = TABLE.alias()
    statement = sa.select(TABLE.c.group_key).where(
        TABLE.c.connection_id == connection_id,
        TABLE.c.kind.in_(kinds),
        TABLE.c.open,
        ~sa.exists().where(
            other.c.connection_id == connection_id, other.c.kind == anchor, other.c.key == TABLE.c.group_key
        ),
    )
    with store.read() as connection:
        return sorted({key for key in connection.execute(statement).scalars() if key})


def of_groups(
    connection: sa.Connection, connection_id: int, groups: Sequence[str]
) -> dict[str, dict[str, list[Fields]]]:
    """The rows of some groups: group -> kind -> fields, each list ordered by key.

    Sorted here: asked to sort, SQLite prefers a scan of all rows in key order to the index on groups.
    """
    found: dict[str, list[tuple[str, str, bytes]]] = {group: [] for group in groups}
    for chunk in _chunks(groups):
        for group, kind, key, data in connection.execute(_OF_GROUPS, {"of": connection_id, "wanted": chunk}).all():
            found[group].append((kind, key, data))
    return {group: _by_kind(raw) for group, raw in found.items()}


def references(store: Store, connection_id: int) -> dict[str, list[Fields]]:
    with store.read() as connection:
        return of_groups(connection, connection_id, [REFERENCE_GROUP])[REFERENCE_GROUP]


_OF_KIND = sa.select(TABLE.c.data).where(_MINE, TABLE.c.kind == sa.bindparam("of_kind")).order_by(TABLE.c.key)


def of_kind(store: Store, connection_id: int, kind: str) -> list[Fields]:
    with store.read() as connection:
        found = connection.execute(_OF_KIND, {"of": connection_id, "of_kind": kind}).scalars()
        return [_decode(data) for data in found]


def of_keys(store: Store, connection_id: int, kind: str, keys: Sequence[str]) -> dict[str, Fields]:
    """Those of the rows that are stored, by key."""
    with store.read() as connection:
        return {key: _decode(row.data) for key, row in _stored(connection, connection_id, kind, keys).items()}


def parts(store: Store, connection_id: int, kind: str, of: Sequence[str]) -> dict[str, Fields]:
    """The rows whose key begins with one of `of` and a slash, by key."""
    found: dict[str, Fields] = {}
    ordered = TABLE.c.key if store.is_sqlite else TABLE.c.key.collate("C")
    with store.read() as connection:
        for start in range(0, len(of), PREFIXES):
            begins = [sa.and_(ordered > f"{key}/", ordered < f"{key}0") for key in of[start : start + PREFIXES]]
            asked = sa.select(TABLE.c.key, TABLE.c.data).where(
                TABLE.c.connection_id == connection_id, TABLE.c.kind == kind, sa.or_(*begins)
            )
            found |= {row.key: _decode(row.data) for row in connection.execute(asked)}
    return found


def open_groups(store: Store, connection_id: int, kind: str) -> list[str]:
    """The groups in which a row of this kind is open."""
    statement = sa.select(TABLE.c.group_key).where(
        TABLE.c.connection_id == connection_id, TABLE.c.kind == kind, TABLE.c.open
    )
    with store.read() as connection:
        return sorted({group for group in connection.execute(statement).scalars() if group})


_NEWEST_DAY = sa.select(sa.func.max(TABLE.c.day)).where(
    _MINE,
    TABLE.c.kind == sa.bindparam("of_kind"),
    TABLE.c.group_key == sa.bindparam("group"),
    TABLE.c.day.is_not(None),
)


def newest_days(store: Store, connection_id: int, kind: str, among: Sequence[str]) -> dict[str, date]:
    """The newest day of each of some groups, such as the last booking of each bank journal."""
    asked = {"of": connection_id, "of_kind": kind}
    with store.read() as connection:
        days = {group: connection.execute(_NEWEST_DAY, {**asked, "group": group}).scalar() for group in among}
    return {group: day for group, day in days.items() if day is not None}


def _by_kind(raw: list[tuple[str, str, bytes]]) -> dict[str, list[Fields]]:
    by_kind: dict[str, list[Fields]] = {}
    for kind, _, data in sorted(raw):
        by_kind.setdefault(kind, []).append(_decode(data))
    return by_kind


def _newest(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    newest: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_key = newest.setdefault(row.kind, {})
        other = by_key.get(row.key)
        if other is None or (row.version or 0) >= (other.version or 0):
            by_key[row.key] = row
    return newest


def _stored(connection: sa.Connection, connection_id: int, kind: str, keys: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for chunk in _chunks(keys):
        for row in connection.execute(_STORED, {"of": connection_id, "of_kind": kind, "wanted": chunk}).all():
            found[row.key] = row
    return found


def _parent_groups(connection: sa.Connection, connection_id: int, rows: Iterable[Row]) -> dict[str, str | None]:
    wanted: dict[str, set[str]] = {}
    for row in rows:
        if row.parent is not None:
            wanted.setdefault(row.parent[0], set()).add(row.parent[1])
    return {
        f"{kind}/{key}": row.group_key
        for kind, keys in wanted.items()
        for key, row in _stored(connection, connection_id, kind, sorted(keys)).items()
    }


def _adopt(connection: sa.Connection, connection_id: int, arrived: Iterable[str]) -> set[str]:
    """Give the children of rows that just came or moved their parent's group, and theirs in turn.

    Returns the groups they joined and left.
    """
    touched: set[str] = set()
    names = sorted(arrived) if _has_children(connection, connection_id) else []
    while names:
        moves = [move for chunk in _chunks(names) for move in _moves(connection, connection_id, chunk)]
        if moves:
            connection.execute(
                sa.update(TABLE)
                .where(
                    TABLE.c.connection_id == connection_id,
                    TABLE.c.kind == sa.bindparam("of_kind"),
                    TABLE.c.key == sa.bindparam("of_key"),
                )
                .values(group_key=sa.bindparam("group")),
                [{"of_kind": child.kind, "of_key": child.key, "group": group} for child, group in moves],
            )
        touched |= {name for child, group in moves for name in (group, child.group_key) if name is not None}
        names = [f"{child.kind}/{child.key}" for child, _ in moves]
    return touched


def _has_children(connection: sa.Connection, connection_id: int) -> bool:
    return bool(connection.execute(_CHILDREN, {"of": connection_id}).scalar())


def _moves(connection: sa.Connection, connection_id: int, parents: Sequence[str]) -> list[tuple[Any, str | None]]:
    """Children that are not in the group of their parent, each with that group."""
    children = connection.execute(
        sa.select(TABLE.c.kind, TABLE.c.key, TABLE.c.parent, TABLE.c.group_key).where(
            TABLE.c.connection_id == connection_id, TABLE.c.parent.in_(parents)
        )
    ).all()
    if not children:
        return []
    named = {tuple(child.parent.split("/", 1)) for child in children}
    found = connection.execute(
        sa.select(TABLE.c.kind, TABLE.c.key, TABLE.c.group_key).where(
            TABLE.c.connection_id == connection_id, sa.tuple_(TABLE.c.kind, TABLE.c.key).in_(named)
        )
    )
    groups = {f"{kind}/{key}": group for kind, key, group in found}
    return [(child, group) for child in children if (group := groups.get(child.parent)) != child.group_key]


def _mark_seen(connection: sa.Connection, connection_id: int, kind: str, keys: Sequence[str], cycle: int) -> None:
    for chunk in _chunks(keys):
        connection.execute(_SEEN, {"of": connection_id, "of_kind": kind, "wanted": chunk, "now": cycle})


def _values(  # noqa: PLR0917 - one call for each row of a page
    connection_id: int, row: Row, group: str | None, version: int, cycle: int, data: bytes
) -> dict[str, Any]:
    return {
        "connection_id": connection_id,
        "kind": row.kind,
        "key": row.key,
        "group_key": group,
        "parent": None if row.parent is None else "/".join(row.parent),
        "version": version,
        "open": row.open,
        "day": row.day,
        "seen": cycle,
        "data": data,
    }


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
