"""Where each feed of a connection stands."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from connector.store import bulk
from connector.store.tables import FeedRow

TABLE: sa.Table = FeedRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it


class FeedState(Struct, frozen=True):
    """`since` is the cycle in which the present read from the beginning started; None once it was complete.

    `swept` is the one in which the last complete read had started.
    """

    name: str
    cursor: str | None = None
    scope: str = ""
    since: int | None = None
    swept: int | None = None
    completed_at: datetime | None = None
    attempted_at: datetime | None = None
    rows: int = 0
    status: str = ""
    reason: str = ""


_STATES = sa.select(*(TABLE.c[name] for name in FeedState.__struct_fields__)).where(
    TABLE.c.connection_id == sa.bindparam("of")
)


def states(connection: sa.Connection, connection_id: int) -> dict[str, FeedState]:
    """By name."""
    return {row[0]: FeedState(*row) for row in connection.execute(_STATES, {"of": connection_id})}


def put(connection: sa.Connection, connection_id: int, new: Sequence[FeedState]) -> None:
    rows = [(connection_id, *msgspec.structs.astuple(state)) for state in new]
    bulk.upsert(connection, TABLE, ("connection_id", *FeedState.__struct_fields__), rows)


def restart_all(connection: sa.Connection, connection_id: int) -> None:
    """Forget every cursor: the next cycle reads each feed from the beginning, as a complete set."""
    connection.execute(
        sa.update(TABLE)
        .where(TABLE.c.connection_id == connection_id)
        .values(cursor=None, since=None, completed_at=None)
    )
