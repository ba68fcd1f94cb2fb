"""The tables by which clients let us in: tokens, invitations, started sign-ins, and keys that are sent to us."""

from datetime import date, datetime

from sqlmodel import Field

from connector.store.tables import Base, BigInt, UtcDateTime


class TokenRow(Base, table=True):
    """The tokens of one connection (`reliability.md` section 4). status: linked | needs_reauth."""

    __tablename__ = "token"
    connection_id: int = Field(primary_key=True, foreign_key="connection.id")
    generation: int = Field(default=0, sa_type=BigInt)
    signed_in_at: datetime = Field(sa_type=UtcDateTime)
    """When a person last signed in; refreshing does not change it."""
    access_ct: str
    refresh_ct: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
    refreshed_at: datetime = Field(sa_type=UtcDateTime)
    refresh_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lease_owner: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    intent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    intent_generation: int | None = Field(default=None, sa_type=BigInt)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    failures: int = 0
    calls_on: date
    """The UTC day of which `calls` counts the requests to the token endpoint."""
    calls: int = 0
    status: str = "linked"
    reason: str = ""
    """Why the last request brought nothing; empty after one that did."""


class InvitationRow(Base, table=True):
    """The link by which a client signs in, stored hashed: one per connection, a new one replaces it."""

    __tablename__ = "invitation"
    connection_id: int = Field(primary_key=True, foreign_key="connection.id")
    token_hash: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    spent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AuthorizationRow(Base, table=True):
    """One started sign-in; its state and the session that began it are stored hashed.

    It is kept longer than it can be used, so that the browser may ask how it ended.
    """

    __tablename__ = "authorization_request"
    state_hash: str = Field(primary_key=True)
    connection_id: int = Field(foreign_key="connection.id")
    session_hash: str = Field(index=True)
    invitation_hash: str | None = None
    verifier_ct: str | None = None
    redirect_uri: str
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    outcome: str = ""


class ActivationRow(Base, table=True):
    """A client's way to the package's page that has a key sent to us; its reference is stored hashed.

    Kept for good: news of the key comes under the same reference years later. `current`: the stored key came by it.
    """

    __tablename__ = "activation"
    reference_hash: str = Field(primary_key=True)
    connection_id: int = Field(foreign_key="connection.id")
    invitation_hash: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    current: bool = False


class KeyNewsRow(Base, table=True):
    """What the package told of a key, once and never again; gone when it was dealt with."""

    __tablename__ = "key_news"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInt)
    connection_id: int = Field(foreign_key="connection.id")
    reference_hash: str
    action: str
    key_ct: str
    received_at: datetime = Field(sa_type=UtcDateTime)
