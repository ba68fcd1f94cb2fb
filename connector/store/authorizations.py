"""Started sign-ins: each state works once, for ten minutes, in the session that began it; only hashes are stored.

A session is a browser, known by its cookie, or a process in a terminal, which keeps its secret to itself.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal, cast

import sqlalchemy as sa
from msgspec import Struct

from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.sign_in_tables import AuthorizationRow
from connector.vault import Place, Vault

LIFETIME: Final = timedelta(minutes=10)
KEPT: Final = timedelta(days=2)
"""How long a browser may ask what became of its sign-in."""

Outcome = Literal[
    "", "linked", "declined", "refused", "wrong_administration", "already_linked", "unreachable", "our_fault"
]
"""How a sign-in ended; empty while it has not. "our_fault": our own registration is not accepted."""

# SQLModel types __table__ loosely; this is the table itself.
_request = cast("sa.Table", AuthorizationRow.__table__)  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Started:
    """`invitation` is the hash of the invitation it was begun with; None when a terminal began it."""

    connection_id: int
    redirect_uri: str
    verifier: Secret | None
    invitation: str | None


class Rejected(Enum):
    """Why an answer of the package is not taken."""

    UNKNOWN = "no sign-in has this state, or it was used, or is too old"
    OTHER_SESSION = "another browser began this sign-in"
    TERMINAL = "a terminal began this sign-in and waits for the address"


class Begun(Struct, frozen=True, kw_only=True):
    """One sign-in, as whoever began it may know it."""

    state_hash: str
    connection_id: int
    invitation_hash: str | None
    expires_at: datetime
    used_at: datetime | None
    outcome: Outcome


class Authorizations:
    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def start(self, state: Secret, session: Secret, started: Started, now: datetime) -> None:
        """Remember a sign-in; those of long ago are cleared away."""
        verifier = started.verifier
        verifier_ct = verifier and self._vault.encrypt(verifier.reveal(), _place(started.connection_id))
        with self._store.write() as connection:
            connection.execute(sa.delete(_request).where(_request.c.expires_at <= now - KEPT))
            connection.execute(
                sa.insert(_request).values(
                    state_hash=hashed(state.reveal()),
                    connection_id=started.connection_id,
                    session_hash=hashed(session.reveal()),
                    invitation_hash=started.invitation,
                    redirect_uri=started.redirect_uri,
                    verifier_ct=verifier_ct,
                    expires_at=now + LIFETIME,
                    outcome="",
                )
            )

    def use(self, state: str, session: str, now: datetime) -> Started | Rejected:
        """The sign-in that this state belongs to, once. What comes from another session uses nothing up."""
        mine = _request.c.state_hash == hashed(state)
        live = mine & _request.c.used_at.is_(None) & (_request.c.expires_at > now)
        with self._store.write() as connection:
            row = connection.execute(sa.select(_request).where(live)).one_or_none()
            if row is None:
                return Rejected.UNKNOWN
            if not hmac.compare_digest(row.session_hash, hashed(session)):
                return Rejected.TERMINAL if row.invitation_hash is None else Rejected.OTHER_SESSION
            used = sa.update(_request).where(live).values(used_at=now, verifier_ct=None)
            if connection.execute(used).rowcount != 1:
                return Rejected.UNKNOWN
        return Started(
            connection_id=row.connection_id,
            redirect_uri=row.redirect_uri,
            verifier=row.verifier_ct and Secret(self._vault.decrypt(row.verifier_ct, _place(row.connection_id))),
            invitation=row.invitation_hash,
        )

    def last_of(self, session: str) -> Begun | None:
        """What this session began last."""
        return self._last(_request.c.session_hash == hashed(session))

    def last_with(self, invitation_hash: str) -> Begun | None:
        """What anybody began last with this invitation."""
        return self._last(_request.c.invitation_hash == invitation_hash)

    def _last(self, which: sa.ColumnElement[bool]) -> Begun | None:
        columns = [_request.c[name] for name in Begun.__struct_fields__]
        last = sa.select(*columns).where(which).order_by(_request.c.expires_at.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(last).mappings().first()
        return None if row is None else Begun(**row)


def conclude(connection: sa.Connection, state_hash: str, outcome: Outcome, now: datetime) -> None:
    """Note how a sign-in ended; nothing happens if it is forgotten, and what succeeded stays so."""
    used_at = sa.func.coalesce(_request.c.used_at, sa.bindparam("now", now, _request.c.used_at.type))
    mine = (_request.c.state_hash == state_hash) & (_request.c.outcome != "linked")
    connection.execute(sa.update(_request).where(mine).values(outcome=outcome, used_at=used_at))


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _place(connection_id: int) -> Place:
    return Place("authorization_request", connection_id, "verifier")
