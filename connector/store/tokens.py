"""The tokens of connections: who may refresh now, and the successor that replaces exactly one generation."""

import zlib
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from connector.clock import FAR
from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.sign_in_tables import TokenRow
from connector.vault import Place, Vault

LINKED = "linked"
NEEDS_REAUTH = "needs_reauth"

LONGEST_RETRY = timedelta(hours=1)
"""Nobody is told to wait longer before the next request to a token endpoint."""

# A grant without an access token is an answer gone half wrong: asking again at once would go in circles.
_PAUSE = timedelta(minutes=1)

# SQLModel types __table__ loosely; this is the table itself.
_token = cast("sa.Table", TokenRow.__table__)  # type: ignore[attr-defined]


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """How the sign-in of one connection stands: its row, without the tokens themselves."""

    connection_id: int
    generation: int
    signed_in_at: datetime
    """When a person last signed in."""
    expires_at: datetime
    """Of the access token."""
    refreshed_at: datetime
    refresh_expires_at: datetime | None
    """When the package forgets a refresh token that is not used; None if it does not."""
    lease_until: datetime | None
    retry_at: datetime | None
    failures: int
    calls_on: date
    calls: int
    """Requests to the token endpoint on the UTC day `calls_on`."""
    status: str
    reason: str
    """Why the package refused it, or why the last refresh brought nothing."""

    @property
    def keep_alive_at(self) -> datetime | None:
        """When an unused refresh token is to be used: after a third of its life and a moment of the next day.

        None when it does not die by itself, or is dead.
        """
        if self.refresh_expires_at is None or self.status != LINKED:
            return None
        third = (self.refresh_expires_at - self.refreshed_at) / 3
        return self.refreshed_at + third + min(third, timedelta(days=1)) * self.share

    @property
    def share(self) -> float:
        """Between 0 and 1, always the same for a generation: spreads over time what would happen at once."""
        return zlib.crc32(f"{self.connection_id}:{self.generation}".encode()) / 2**32


class StoredToken(SignIn, frozen=True, kw_only=True):
    """The row of one connection, decrypted."""

    access: Secret
    refresh: Secret
    intent_at: datetime | None
    """When a refresh of this very generation was begun whose outcome is not known."""

    @property
    def noted_at(self) -> datetime:
        """No clock was behind this when the row was last written."""
        return max(
            self.refreshed_at,
            self.intent_at or self.refreshed_at,
            self.retry_at - LONGEST_RETRY if self.retry_at else self.refreshed_at,
        )


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
            **{name: getattr(row, name) for name in SignIn.__struct_fields__},
            access=Secret(self._vault.decrypt(row.access_ct, _place(connection_id, "access"))),
            refresh=Secret(self._vault.decrypt(row.refresh_ct, _place(connection_id, "refresh"))),
            intent_at=row.intent_at if row.intent_generation == row.generation else None,
        )

    def claim(self, token: StoredToken, owner: str, now: datetime, until: datetime) -> bool:
        """Take the lease and write down the intent to spend this generation's refresh token.

        False when somebody else holds the lease or the row has moved on. A commit here also proves that the
        database takes writes before the token is burnt.
        """
        free = sa.or_(_token.c.lease_until.is_(None), _token.c.lease_until <= now, _token.c.lease_until > now + FAR)
        return self._update(
            _same(token.connection_id, token.generation) & (_token.c.status == LINKED) & free,
            lease_owner=owner,
            lease_until=until,
            intent_at=now,
            intent_generation=token.generation,
            **_one_more_call(now),
        )

    def release(
        self, token: StoredToken, owner: str, *, intent_at: datetime | None, retry_at: datetime, reason: str
    ) -> None:
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
            reason=reason,
        )

    def set_back(self, token: StoredToken, now: datetime) -> None:
        """What a clock that was ahead has noted as past is now; lives are as long as they were."""
        ahead = max(token.refreshed_at - now, timedelta(0))
        dies_at = token.refresh_expires_at
        self._update(
            _same(token.connection_id, token.generation) & (_token.c.refreshed_at == token.refreshed_at),
            signed_in_at=min(token.signed_in_at, now),
            refreshed_at=token.refreshed_at - ahead,
            expires_at=token.expires_at - ahead,
            refresh_expires_at=dies_at and dies_at - ahead,
            intent_at=token.intent_at and min(token.intent_at, now),
            retry_at=None,
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

    def link(self, connection: sa.Connection, sealed: SealedGrant) -> None:
        """Store the tokens of a new sign-in over whatever was there, in the caller's transaction."""
        values = _values(sealed) | {"signed_in_at": sealed.granted_at}
        calls = _one_more_call(sealed.granted_at)
        first = self._store.insert(_token).values(
            connection_id=sealed.connection_id,
            **{**values, "generation": 1, "calls_on": calls["calls_on"], "calls": 1},
        )
        values |= calls
        connection.execute(first.on_conflict_do_update(index_elements=["connection_id"], set_=values))

    def needs_reauth(self, token: StoredToken, reason: str) -> bool:
        """Mark this generation as refused for good; False when the row has moved on."""
        return self._update(_same(token.connection_id, token.generation), **_refused(reason))

    def _update(self, where: sa.ColumnElement[bool], **values: Any) -> bool:
        with self._store.write() as connection:
            return connection.execute(sa.update(_token).where(where).values(values)).rowcount == 1


def sign_ins(store: Store) -> dict[int, SignIn]:
    """Every sign-in there is, by connection; no key is needed."""
    with store.read() as connection:
        return {row["connection_id"]: SignIn(**row) for row in connection.execute(_sign_in()).mappings()}


def sign_in(connection: sa.Connection, connection_id: int) -> SignIn | None:
    row = connection.execute(_sign_in().where(_token.c.connection_id == connection_id)).mappings().one_or_none()
    return None if row is None else SignIn(**row)


def refuse(connection: sa.Connection, found: SignIn, reason: str) -> bool:
    """The package refuses what this generation stands for, for good; False when the row has moved on."""
    mine = _same(found.connection_id, found.generation)
    return connection.execute(sa.update(_token).where(mine).values(_refused(reason))).rowcount == 1


def _sign_in() -> sa.Select[Any]:
    return sa.select(*(_token.c[name] for name in SignIn.__struct_fields__))


def _refused(reason: str) -> dict[str, Any]:
    return {
        "status": NEEDS_REAUTH,
        "reason": reason,
        "lease_owner": None,
        "lease_until": None,
        "intent_at": None,
        "intent_generation": None,
    }


def _one_more_call(now: datetime) -> dict[str, Any]:
    """Counts a request to the token endpoint; packages allow so many a day."""
    today = now.astimezone(UTC).date()
    calls = sa.case((_token.c.calls_on == today, _token.c.calls + 1), else_=1)
    return {"calls_on": today, "calls": calls}


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
