"""Started sign-ins: each state works once, for ten minutes, and is stored as a hash only."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import sqlalchemy as sa

from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.tables import AuthorizationRow
from connector.vault import Place, Vault

LIFETIME = timedelta(minutes=10)

# SQLModel types __table__ loosely; this is the table itself.
_request = cast("sa.Table", AuthorizationRow.__table__)  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Started:
    connection_id: int
    redirect_uri: str
    verifier: Secret | None


class Authorizations:
    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def start(self, state: Secret, started: Started, now: datetime) -> None:
        """Remember a sign-in; expired ones are cleared away."""
        verifier = started.verifier
        with self._store.write() as connection:
            connection.execute(sa.delete(_request).where(_request.c.expires_at <= now))
            connection.execute(
                sa.insert(_request).values(
                    state_hash=_hash(state.reveal()),
                    connection_id=started.connection_id,
                    redirect_uri=started.redirect_uri,
                    verifier_ct=verifier and self._vault.encrypt(verifier.reveal(), _place(started.connection_id)),
                    expires_at=now + LIFETIME,
                )
            )

    def use(self, state: str, now: datetime) -> Started | None:
        """The sign-in that this state belongs to, once; None when unknown, used or expired."""
        mine = (_request.c.state_hash == _hash(state)) & _request.c.used_at.is_(None) & (_request.c.expires_at > now)
        with self._store.write() as connection:
            row = connection.execute(
                sa.update(_request).where(mine).values(used_at=now).returning(*_request.c)
            ).one_or_none()
        if row is None:
            return None
        verifier = row.verifier_ct and Secret(self._vault.decrypt(row.verifier_ct, _place(row.connection_id)))
        return Started(connection_id=row.connection_id, redirect_uri=row.redirect_uri, verifier=verifier)


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode(errors="replace")).hexdigest()


def _place(connection_id: int) -> Place:
    return Place("authorization_request", connection_id, "verifier")
