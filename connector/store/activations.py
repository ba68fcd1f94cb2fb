"""References under which a package sends us keys, of which only hashes are stored, and what came under them."""

import hmac
from datetime import datetime
from typing import Final, cast

import sqlalchemy as sa
from msgspec import Struct

from connector.secrets import Secret
from connector.store.authorizations import hashed
from connector.store.engine import Store
from connector.store.sign_in_tables import ActivationRow, KeyNewsRow
from connector.vault import Place

MOST_WAITING: Final = 20
"""News of one connection that waits at the same time; more is not kept."""

# SQLModel types __table__ loosely; these are the tables themselves.
_activation = cast("sa.Table", ActivationRow.__table__)  # type: ignore[attr-defined]
_news = cast("sa.Table", KeyNewsRow.__table__)  # type: ignore[attr-defined]


class Noted(Struct, frozen=True, kw_only=True):
    """What the package told, as it is stored."""

    id: int
    connection_id: int
    reference_hash: str
    action: str
    key_ct: str
    received_at: datetime

    @property
    def place(self) -> Place:
        return place(self.connection_id, self.reference_hash)


def begin(store: Store, reference: Secret, connection_id: int, invitation_hash: str, now: datetime) -> None:
    """From now on news under this reference is about this connection."""
    with store.write() as connection:
        connection.execute(
            sa.insert(_activation).values(
                reference_hash=hashed(reference.reveal()),
                connection_id=connection_id,
                invitation_hash=invitation_hash,
                created_at=now,
                current=False,
            )
        )


def owner(store: Store, reference: Secret) -> int | None:
    """The connection that a reference belongs to."""
    mine = hashed(reference.reveal())
    with store.read() as connection:
        row = connection.execute(sa.select(_activation).where(_activation.c.reference_hash == mine)).one_or_none()
    if row is None or not hmac.compare_digest(row.reference_hash, mine):
        return None
    connection_id: int = row.connection_id
    return connection_id


def note(store: Store, *, connection_id: int, reference: Secret, action: str, key_ct: str, now: datetime) -> bool:
    """Write down what came, before anything is done about it; False when too much of it waits already."""
    waiting = sa.select(sa.func.count()).where(_news.c.connection_id == connection_id)
    with store.write() as connection:
        if connection.execute(waiting).scalar_one() >= MOST_WAITING:
            return False
        connection.execute(
            sa.insert(_news).values(
                connection_id=connection_id,
                reference_hash=hashed(reference.reveal()),
                action=action,
                key_ct=key_ct,
                received_at=now,
            )
        )
    return True


def waiting(store: Store) -> list[Noted]:
    """All news that nobody has dealt with, in the order in which it came."""
    columns = [_news.c[name] for name in Noted.__struct_fields__]
    with store.read() as connection:
        return [Noted(**row) for row in connection.execute(sa.select(*columns).order_by(_news.c.id)).mappings()]


def done(connection: sa.Connection, news: Noted) -> bool:
    """It was dealt with; False when another process has done so before."""
    return connection.execute(sa.delete(_news).where(_news.c.id == news.id)).rowcount == 1


def brought(connection: sa.Connection, news: Noted) -> str:
    """The stored key came with this news; gives the hash of the invitation that its reference was begun with."""
    of_connection = _activation.c.connection_id == news.connection_id
    mine = _activation.c.reference_hash == news.reference_hash
    connection.execute(sa.update(_activation).where(of_connection).values(current=mine))
    invitation: str = connection.execute(sa.select(_activation.c.invitation_hash).where(mine)).scalar_one()
    return invitation


def is_current(connection: sa.Connection, news: Noted) -> bool:
    """Whether the stored key came under the reference of this news."""
    mine = (_activation.c.reference_hash == news.reference_hash) & _activation.c.current
    return connection.execute(sa.select(_activation.c.reference_hash).where(mine)).first() is not None


def left(connection: sa.Connection, connection_id: int) -> None:
    """The stored key was handed over in another way."""
    connection.execute(sa.update(_activation).where(_activation.c.connection_id == connection_id).values(current=False))


def place(connection_id: int, reference_hash: str) -> Place:
    """Where the key of a news is stored, for its encryption."""
    return Place("key_news", connection_id, reference_hash)
