"""Invitations: the link by which a client signs in, one per connection, stored as a hash only.

Opening it changes nothing. It is spent by a sign-in that succeeded, and replaced by the next invitation.
"""

import hashlib
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from msgspec import Struct

from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.sign_in_tables import InvitationRow

# SQLModel types __table__ loosely; this is the table itself.
_invitation = cast("sa.Table", InvitationRow.__table__)  # type: ignore[attr-defined]


class Invitation(Struct, frozen=True, kw_only=True):
    """`token_hash` names this very invitation; a later one of the same connection has another."""

    token_hash: str
    connection_id: int
    expires_at: datetime
    spent_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        """Whether a sign-in may be started with it."""
        return self.spent_at is None and now < self.expires_at


def issue(store: Store, connection_id: int, token: Secret, *, now: datetime, expires_at: datetime) -> Invitation:
    """Write down a new invitation over the one before, which stops working."""
    values: dict[str, Any] = {
        "token_hash": hashed(token.reveal()),
        "created_at": now,
        "expires_at": expires_at,
        "spent_at": None,
    }
    new = store.insert(_invitation).values(connection_id=connection_id, **values)
    with store.write() as connection:
        connection.execute(new.on_conflict_do_update(index_elements=["connection_id"], set_=values))
    return Invitation(
        token_hash=values["token_hash"], connection_id=connection_id, expires_at=expires_at, spent_at=None
    )


def find(store: Store, token_hash: str) -> Invitation | None:
    """None when there never was such an invitation, or another one has replaced it."""
    columns = [_invitation.c[name] for name in Invitation.__struct_fields__]
    with store.read() as connection:
        row = connection.execute(sa.select(*columns).where(_invitation.c.token_hash == token_hash)).mappings().first()
    return None if row is None else Invitation(**row)


def spend(connection: sa.Connection, token_hash: str, now: datetime) -> bool:
    """The sign-in succeeded; False when another one had spent it before, or a new invitation has replaced it.

    It does not matter whether it expired meanwhile: the sign-in was begun in time.
    """
    mine = (_invitation.c.token_hash == token_hash) & _invitation.c.spent_at.is_(None)
    return connection.execute(sa.update(_invitation).where(mine).values(spent_at=now)).rowcount == 1


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
