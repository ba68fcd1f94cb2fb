"""Keys for the daemon's API: shown once when they are made, stored as a hash."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from connector.errors import ConfigurationError
from connector.secrets import Secret
from connector.store.engine import Store
from connector.store.tables import ApiKeyRow

TABLE: sa.Table = ApiKeyRow.__table__  # type: ignore[attr-defined]  # SQLModel sets it

USE_NOTED_EVERY = timedelta(minutes=1)

_FORM = re.compile(r"(connector_[0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_NO_HASH = "0" * 64


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    """See how things stand."""
    OPERATE = "operate"
    """Ask for what the program would do by itself later: sync, send again, resume."""
    ADMIN = "admin"
    """Decide what cannot be taken back: give events up."""

    def allows(self, needed: "Scope") -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(needed)


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key without its secret part."""

    name: str
    prefix: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


def create(store: Store, name: str, scope: Scope, *, now: datetime, expires_at: datetime | None = None) -> Secret:
    """A new key, in full for the only time.

    Raises:
        ConfigurationError: there is one of that name.
    """
    prefix = f"connector_{secrets.token_hex(4)}"
    key = Secret(f"{prefix}_{secrets.token_urlsafe(32)}")
    values = {"prefix": prefix, "name": name, "hash": _hash(key.reveal()), "scope": scope.value}
    insert = store.insert(TABLE).values(**values, created_at=now, expires_at=expires_at)
    unless_there = insert.on_conflict_do_nothing(index_elements=["name"]).returning(TABLE.c.name)
    with store.write() as connection:
        added = connection.execute(unless_there).first()
    if added is None:
        raise ConfigurationError(
            f'there is an API key "{name}"',
            where="connector apikey",
            fix=f"choose another name, or run `connector apikey revoke {name}` first",
        )
    return key


def everyone(store: Store) -> list[ApiKey]:
    with store.read() as connection:
        return [_api_key(row) for row in connection.execute(_select().order_by(TABLE.c.name)).mappings()]


def revoke(store: Store, name: str) -> bool:
    """Forget a key; False when there is none of that name."""
    with store.write() as connection:
        return connection.execute(sa.delete(TABLE).where(TABLE.c.name == name)).rowcount == 1


def any_usable(store: Store, now: datetime) -> bool:
    with store.read() as connection:
        return connection.execute(_select().where(_lives(now)).limit(1)).first() is not None


def authenticate(store: Store, presented: str, now: datetime) -> ApiKey | None:
    """The key that this is, unless it is unknown, wrong or expired. Its use is noted, once a minute."""
    with store.read() as connection:
        mine = (TABLE.c.prefix == prefix_of(presented)) & _lives(now)
        row = connection.execute(_select().add_columns(TABLE.c.hash).where(mine)).mappings().first()
    if not hmac.compare_digest(_hash(presented), row["hash"] if row else _NO_HASH) or row is None:
        return None
    key = _api_key(row)
    if key.last_used_at is None or now - key.last_used_at >= USE_NOTED_EVERY:
        with store.write() as connection:
            connection.execute(sa.update(TABLE).where(TABLE.c.prefix == key.prefix).values(last_used_at=now))
    return key


def prefix_of(presented: str) -> str:
    """The part by which a key is known; empty when it has not the form of one."""
    form = _FORM.fullmatch(presented)
    return form[1] if form else ""


def _hash(key: str) -> str:
    """Without salt or work factor: 256 random bits cannot be guessed from their hash."""
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _lives(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(TABLE.c.expires_at.is_(None), TABLE.c.expires_at > now)


def _select() -> sa.Select[tuple[object, ...]]:
    return sa.select(*(TABLE.c[name] for name in ApiKey.__struct_fields__))


def _api_key(row: sa.RowMapping) -> ApiKey:
    values: dict[str, Any] = {name: row[name] for name in ApiKey.__struct_fields__}
    return ApiKey(**{**values, "scope": Scope(row["scope"])})
