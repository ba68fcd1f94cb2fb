"""The tokens of connections: who may refresh now, and the successor that replaces exactly one generation."""

from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.tables import TokenRow
from connector.vault import Place, Vault

LINKED = "linked"
NEEDS_REAUTH = "needs_reauth"

# A grant without an access token is an answer gone half wrong: asking again at once would go in circles.
_PAUSE = timedelta(minutes=1)

# SQLModel types __table__ loosely; this is the table itself.
_token = cast("sa.Table", TokenRow.__table__)  # type: ignore[attr-defined]


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """The row of one connection, decrypted."""

    connection_id: int
    generation: int
    access: Secret
    refresh: Secret
    expires_at: datetime
    refreshed_at: datetime
    refresh_expires_at: datetime | None
    intent_at: datetime | None
    """When a refresh of this very generation was begun whose outcome is not known."""
    lease_until: datetime | None
    retry_at: datetime | None
    failures: int
    status: str
    reason: str


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a token endpoint gave; a token that is absent stays as it is stored."""

    access: Secret | None
    refresh: Secret | None
    granted_at: datetime
    expires_at: datetime
    refresh_expires_at: datetime | None


class SealedGrant(msgspec.Struct, frozen=True, kw_only=True):
    """The encrypted successor of one generation, in the form in which it may rest anywhere."""

    connection_id: int
    generation: int
    """The generation it replaces."""
    access_ct: str | None
    refresh_ct: str | None
    granted_at: datetime
    expires_at: datetime
    refresh_expires_at: datetime | None


class TokenStore:
    """Every method is one transaction of one statement."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def get(self, connection_id: int) -> StoredToken | None:
        """The stored token, or None when the connection was never linked.

        Raises:
            Undecipherable: the row is damaged; it is left as it is.
        """
        with self._store.read() as connection:
            row = connection.execute(sa.select(_token).where(_token.c.connection_id == connection_id)).one_or_none()
        if row is None:
            return None
        return StoredToken(
            connection_id=connection_id,
            generation=row.generation,
            access=Secret(self._vault.decrypt(row.access_ct, _place(connection_id, "access"))),
            refresh=Secret(self._vault.decrypt(row.refresh_ct, _place(connection_id, "refresh"))),
            expires_at=row.expires_at,
            refreshed_at=row.refreshed_at,
            refresh_expires_at=row.refresh_expires_at,
            intent_at=row.intent_at if row.intent_generation == row.generation else None,
            lease_until=row.lease_until,
            retry_at=row.retry_at,
            failures=row.failures,
            status=row.status,
            reason=row.reason,
        )

    def claim(self, token: StoredToken, owner: str, now: datetime, until: datetime) -> bool:
        """Take the lease and write down the intent to spend this generation's refresh token.

        False when somebody else holds the lease or the row has moved on. A commit here also proves that the
        database takes writes before the token is burnt.
        """
        free = sa.or_(_token.c.lease_until.is_(None), _token.c.lease_until <= now)
        return self._update(
            _same(token.connection_id, token.generation) & (_token.c.status == LINKED) & free,
            lease_owner=owner,
            lease_until=until,
            intent_at=now,
            intent_generation=token.generation,
        )

    def release(self, token: StoredToken, owner: str, *, intent_at: datetime | None, retry_at: datetime) -> None:
        """Give the lease back after a refresh that brought nothing.

        `intent_at` stays set when the refresh token may have been spent.
        """
        self._update(
            _same(token.connection_id, token.generation) & (_token.c.lease_owner == owner),
            lease_owner=None,
            lease_until=None,
            intent_at=intent_at,
            retry_at=retry_at,
            failures=_token.c.failures + 1,
        )

    def seal(self, connection_id: int, generation: int, grant: Grant) -> SealedGrant:
        def encrypted(secret: Secret | None, field: str) -> str | None:
            return None if secret is None else self._vault.encrypt(secret.reveal(), _place(connection_id, field))

        return SealedGrant(
            connection_id=connection_id,
            generation=generation,
            access_ct=encrypted(grant.access, "access"),
            refresh_ct=encrypted(grant.refresh, "refresh"),
            granted_at=grant.granted_at,
            expires_at=grant.expires_at,
            refresh_expires_at=grant.refresh_expires_at,
        )

    def replace(self, sealed: SealedGrant) -> bool:
        """Store the successor, whoever holds the lease; False when its generation is not the stored one any more."""
        return self._update(_same(sealed.connection_id, sealed.generation), **_values(sealed))

    def link(self, connection_id: int, grant: Grant) -> None:
        """Store the tokens of a new sign-in over whatever was there."""
        values = _values(self.seal(connection_id, 0, grant))
        first = self._store.insert(_token).values(connection_id=connection_id, **{**values, "generation": 1})
        with self._store.write() as connection:
            connection.execute(first.on_conflict_do_update(index_elements=["connection_id"], set_=values))

    def needs_reauth(self, token: StoredToken, reason: str) -> bool:
        """Mark this generation as refused for good; False when the row has moved on."""
        return self._update(
            _same(token.connection_id, token.generation),
            status=NEEDS_REAUTH,
            reason=reason,
            lease_owner=None,
            lease_until=None,
            intent_at=None,
            intent_generation=None,
        )

    def _update(self, where: sa.ColumnElement[bool], **values: Any) -> bool:
        with self._store.write() as connection:
            return connection.execute(sa.update(_token).where(where).values(values)).rowcount == 1


def _place(connection_id: int, field: str) -> Place:
    return Place("token", connection_id, field)


def _same(connection_id: int, generation: int) -> sa.ColumnElement[bool]:
    return (_token.c.connection_id == connection_id) & (_token.c.generation == generation)


def _values(sealed: SealedGrant) -> dict[str, Any]:
    values: dict[str, Any] = {
        "generation": _token.c.generation + 1,
        "refreshed_at": sealed.granted_at,
        "refresh_expires_at": sealed.refresh_expires_at,
        "lease_owner": None,
        "lease_until": None,
        "intent_at": None,
        "intent_generation": None,
        "retry_at": None if sealed.access_ct else sealed.granted_at + _PAUSE,
        "failures": 0,
        "status": LINKED,
        "reason": "",
    }
    if sealed.access_ct is not None:
        values |= {"access_ct": sealed.access_ct, "expires_at": sealed.expires_at}
    if sealed.refresh_ct is not None:
        values["refresh_ct"] = sealed.refresh_ct
    return values
