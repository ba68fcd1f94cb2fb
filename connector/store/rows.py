"""Raw rows: what a page changes, which groups it touches, and which rows a complete read did not hold."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date

import msgspec
import sqlalchemy as sa

from connector.adapter import REFERENCE_GROUP, Fields, Removal, Row
from connector.store import bulk
from connector.store.among import among
from connector.store.engine import Store
from connector.store.tables import RowRow

TABLE: sa.Table = RowRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it
COLUMNS = tuple(TABLE.c.keys())

PREFIXES = 100
"""Beginnings of keys in one statement: each is a range of its own. A slash and the 0 after it bound what begins so."""

# Built once, because each page and each batch of groups uses them; building one costs more than a small answer.
_MINE = TABLE.c.connection_id == sa.bindparam("of")
_NAMED = sa.and_(_MINE, TABLE.c.kind == sa.bindparam("of_kind"), among(TABLE.c.key, "wanted"))
_STORED = sa.select(TABLE.c.key, TABLE.c.version, TABLE.c.group_key, TABLE.c.open, TABLE.c.data).where(_NAMED)
_PLACES = sa.select(TABLE.c.key, TABLE.c.version, TABLE.c.group_key).where(_NAMED)
_SEEN = sa.update(TABLE).where(_NAMED).values(seen=sa.bindparam("now"))
_GONE = sa.delete(TABLE).where(_NAMED)
_OF_GROUPS = sa.select(TABLE.c.group_key, TABLE.c.kind, TABLE.c.key, TABLE.c.data).where(
    _MINE, among(TABLE.c.group_key, "wanted")
)
_HAS_CHILDREN = sa.select(sa.exists().where(_MINE, TABLE.c.parent.is_not(None)))
_CHILDREN = sa.select(TABLE.c.kind, TABLE.c.key, TABLE.c.parent, TABLE.c.group_key).where(
    _MINE, among(TABLE.c.parent, "wanted")
)
_JOINED = (
    sa.update(TABLE)
    .where(_MINE, TABLE.c.kind == sa.bindparam("of_kind"), TABLE.c.key == sa.bindparam("of_key"))
    .values(group_key=sa.bindparam("group"))
)

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
    touched: set[str | None] = set()
    changed: list[bulk.Row] = []
    for kind, by_key in _newest(rows).items():
        stored = _stored(connection, connection_id, kind, list(by_key))
        parents = _groups_of(connection, connection_id, {_name(row.parent) for row in by_key.values() if row.parent})
        unchanged = []
        for key, row in by_key.items():
            parent = row.parent and _name(row.parent)
            group = parents.get(parent) if parent else row.group
            version = row.version
            data = _encode(row.fields)
            same, left = False, None
            if (before := stored.get(key)) is not None:
                _, known, left, was_open, was = before
                version = known if version is None else version
                if version < known:
                    continue
                same = data == was and group == left and row.open == was_open
                if same and version == known:
                    unchanged.append(key)
                    continue
            changed.append((connection_id, kind, key, group, parent, version or 0, row.open, row.day, cycle, data))
            if not same and kind not in quiet:
                touched |= {group, left}
        if seen and unchanged:
            connection.execute(_SEEN, {"of": connection_id, "of_kind": kind, "wanted": unchanged, "now": cycle})
    bulk.upsert(connection, TABLE, COLUMNS, changed)
    touched |= _adopt(connection, connection_id, [f"{values[1]}/{values[2]}" for values in changed])
    return {group for group in touched if group is not None}


def remove(
    connection: sa.Connection, connection_id: int, removals: Sequence[Removal], *, quiet: Collection[str] = ()
) -> set[str]:
    """Delete rows that the package says are gone, unless a newer incarnation is stored; returns their groups."""
    touched: set[str] = set()
    by_kind: dict[str, dict[str, int | None]] = {}
    for removal in removals:
        by_kind.setdefault(removal.kind, {})[removal.key] = removal.version
    for kind, versions in by_kind.items():
        gone = []
        for key, stored, group in _places(connection, connection_id, kind, list(versions)):
            version = versions[key]
            if version is None or version >= stored:
                gone.append(key)
                if group is not None and kind not in quiet:
                    touched.add(group)
        if gone:
            connection.execute(_GONE, {"of": connection_id, "of_kind": kind, "wanted": gone})
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
    found: dict[str, dict[str, list[Fields]]] = {group: {} for group in groups}
    for group, kind, _, data in sorted(bulk.select(connection, _OF_GROUPS, of=connection_id, wanted=groups)):
        found[group].setdefault(kind, []).append(_decode(data))
    return found


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
        return {key: _decode(row[-1]) for key, row in _stored(connection, connection_id, kind, keys).items()}


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


def newest_days(store: Store, connection_id: int, kind: str, groups: Sequence[str]) -> dict[str, date]:
    """The newest day of each of some groups, such as the last booking of each bank journal."""
    asked = {"of": connection_id, "of_kind": kind}
    with store.read() as connection:
        days = {group: connection.execute(_NEWEST_DAY, {**asked, "group": group}).scalar() for group in groups}
    return {group: day for group, day in days.items() if day is not None}


def _newest(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    newest: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_key = newest.setdefault(row.kind, {})
        other = by_key.get(row.key)
        if other is None or (row.version or 0) >= (other.version or 0):
            by_key[row.key] = row
    return newest


def _stored(connection: sa.Connection, connection_id: int, kind: str, keys: Sequence[str]) -> dict[str, bulk.Row]:
    """By key: (key, version, group, open, data)."""
    found = bulk.select(connection, _STORED, of=connection_id, of_kind=kind, wanted=keys)
    return {row[0]: row for row in found}


def _places(connection: sa.Connection, connection_id: int, kind: str, keys: Sequence[str]) -> list[bulk.Row]:
    """(key, version, group) of those that are stored."""
    return bulk.select(connection, _PLACES, of=connection_id, of_kind=kind, wanted=keys)


def _name(place: tuple[str, str]) -> str:
    """How a row is called in the column `parent`: its kind, which has no slash, and its key."""
    return "/".join(place)


def _groups_of(connection: sa.Connection, connection_id: int, names: Iterable[str]) -> dict[str, str | None]:
    """The groups of some rows by name; the unknown ones are missing."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        kind, _, key = name.partition("/")
        by_kind.setdefault(kind, []).append(key)
    return {
        f"{kind}/{key}": group
        for kind, keys in by_kind.items()
        for key, _, group in _places(connection, connection_id, kind, keys)
    }


def _adopt(connection: sa.Connection, connection_id: int, arrived: list[str]) -> set[str]:
    """Give the children of rows that just came or moved their parent's group, and theirs in turn.

    Returns the groups they joined and left.
    """
    touched: set[str] = set()
    if not arrived or not bulk.select(connection, _HAS_CHILDREN, of=connection_id)[0][0]:
        return touched
    while arrived:
        children = bulk.select(connection, _CHILDREN, of=connection_id, wanted=arrived)
        groups = _groups_of(connection, connection_id, {parent for _, _, parent, _ in children})
        moves = [
            (kind, key, left, group) for kind, key, parent, left in children if (group := groups.get(parent)) != left
        ]
        if moves:
            connection.execute(
                _JOINED,
                [
                    {"of": connection_id, "of_kind": kind, "of_key": key, "group": group}
                    for kind, key, _, group in moves
                ],
            )
        touched |= {group for *_, left, joined in moves for group in (left, joined) if group is not None}
        arrived = [f"{kind}/{key}" for kind, key, *_ in moves]
    return touched
