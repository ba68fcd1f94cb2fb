"""Linking a client: the invitation, the sign-in or the key, and what must be true before anything is stored.

The package is asked whose books the new tokens open before they replace anything: a wrong user leaves a good link as
it was. Tokens, link, event and the spent invitation are one transaction.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
import structlog

from connector import alerts
from connector.adapter import Identity
from connector.authorizer import Answer, Declined, SignInFailed
from connector.closing import linked_event
from connector.errors import (
    ConfigurationError,
    ConnectorError,
    PermissionLost,
    Stopped,
    Unavailable,
    WrongAdministration,
)
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import activations, authorizations, connections, invitations, outbox
from connector.store.authorizations import Outcome, Started
from connector.store.connections import Linked
from connector.store.invitations import Invitation
from connector.store.tokens import Grant

PAGE_PATH = "/connect"
HERE = timedelta(hours=1)
"""How long an invitation works that somebody waits for."""

Also = Callable[[sa.Connection], None]

log = structlog.get_logger()


class AlreadyLinked(Stopped):
    """Another connection keeps these books."""


class Unconfirmed(SignInFailed):
    """Access was granted, but whose books it opens could not be asked; the code is spent, nothing was stored."""


@dataclass(frozen=True, kw_only=True)
class Invited:
    """An invitation and its address, which is a secret and is not stored."""

    url: Secret
    invitation: Invitation


async def invite(runtime: Runtime, name: str, lifetime: timedelta) -> Invited:
    """A new invitation; the one before stops working.

    Raises:
        AlreadyLinked: another connection keeps these books.
    """
    token = Secret(secrets.token_urlsafe(32))
    invitation = await asyncio.to_thread(_issue, runtime, name, token, lifetime)
    return Invited(url=Secret(f"{runtime.settings.daemon.url}{PAGE_PATH}/{token.reveal()}"), invitation=invitation)


async def begin(runtime: Runtime, name: str, session: Secret, invitation: str | None = None) -> str:
    """The package's sign-in address; whoever brings `session` back within ten minutes may finish.

    Raises:
        AlreadyLinked: another connection keeps these books.
        ConfigurationError: the package has no sign-in page, or our app's secret is not there.
    """
    linked = await asyncio.to_thread(connections.find, runtime.store, name)
    await asyncio.to_thread(check_vacant, runtime, linked)
    return await runtime.authorizer().begin(linked.id, runtime.redirect_uri, session=session, invitation=invitation)


async def finish(runtime: Runtime, answer: Answer, session: str) -> tuple[str, Identity]:
    """Take the package's answer: exchange the code, ask whose books these are, store the tokens, make it due.

    Raises:
        NotTaken: the answer belongs to no sign-in of this session.
        SignInFailed: declined, refused by the package, or the package could not be asked.
        WrongAdministration, PermissionLost: these are not the configured books.
        AlreadyLinked: another connection keeps them.
        ConnectorError: whatever else; in no case anything is stored but how it ended.
    """
    authorizer = runtime.authorizer()
    started = await authorizer.claim(answer.state, session)
    async with _concluding(runtime, answer.state):
        name = await asyncio.to_thread(runtime.name_of, started.connection_id)
        grant = await authorizer.exchange(started, answer)
        identity = await identify(runtime, name, grant)
        await asyncio.to_thread(link, runtime, name, grant, identity, _spending(runtime, started, answer.state))
    return name, identity


async def hand_over(runtime: Runtime, pasted: str, session: Secret, invitation: Invitation) -> tuple[str, Identity]:
    """Take the key that an invited client pasted; whoever has `session` may ask how it ended.

    Raises:
        SignInFailed, WrongAdministration, PermissionLost, AlreadyLinked, ConfigurationError: as `accept`.
    """
    state = Secret(secrets.token_urlsafe(32))
    begun = Started(
        connection_id=invitation.connection_id, redirect_uri="", verifier=None, invitation=invitation.token_hash
    )
    await asyncio.to_thread(runtime.authorizations.start, state, session, begun, runtime.clock.now())
    started = await runtime.authorizer().claim(state.reveal(), session.reveal())
    async with _concluding(runtime, state.reveal()):
        name = await asyncio.to_thread(runtime.name_of, started.connection_id)
        return name, await accept(runtime, name, pasted, _spending(runtime, started, state.reveal()))


async def accept(runtime: Runtime, name: str, pasted: str, also: Also | None = None) -> Identity:
    """Take the key that the client handed over: ask whose books it opens, store it, make the connection due.

    `also` is done in the transaction that stores it.

    Raises:
        SignInFailed: there is no key in it, the package does not know it, or could not be asked.
        WrongAdministration, PermissionLost: it opens other books than the configured ones.
        AlreadyLinked: another connection keeps them.
        ConfigurationError: the package does not know our app.
    """
    key = Secret(clean(pasted))
    if not key:
        raise SignInFailed("no key was given", where=f"connection {name}", fix="paste the key as the package shows it")
    linked = await asyncio.to_thread(connections.find, runtime.store, name)
    await asyncio.to_thread(check_vacant, runtime, linked)
    grant = await runtime.authorizer().redeem(linked.id, key)
    identity = await identify(runtime, name, grant)
    await asyncio.to_thread(link, runtime, name, grant, identity, also)
    return identity


def clean(pasted: str) -> str:
    """A key as it was meant: people paste quotes, blanks and a written-out line break along with it. Pure."""
    return "".join(pasted.replace("\\n", "").split()).strip("\"'")


def outcome_of(error: ConnectorError) -> Outcome:
    match error:
        case Declined():
            return "declined"
        case WrongAdministration() | PermissionLost():
            return "wrong_administration"
        case AlreadyLinked():
            return "already_linked"
        case Unconfirmed() | Unavailable():
            return "unreachable"
        case ConfigurationError():
            return "our_fault"
        case _:
            return "refused"


@contextlib.asynccontextmanager
async def _concluding(runtime: Runtime, state: str) -> AsyncIterator[None]:
    """Whatever goes wrong inside is how this sign-in ended."""
    try:
        yield
    except ConnectorError as error:
        with contextlib.suppress(Unavailable):
            await asyncio.to_thread(_conclude, runtime, state, outcome_of(error))
        raise


async def identify(runtime: Runtime, name: str, grant: Grant) -> Identity:
    """Whose books the new tokens open."""
    access = grant.access
    assert access is not None

    async def authorize(_: str | None = None) -> Secret:
        return access

    try:
        async with runtime.adapter(name, priority=True, authorize=authorize) as adapter:
            return await runtime.verified(name, adapter)
    except Unavailable as error:
        raise Unconfirmed(
            f"the sign-in went well, but then the package could not be asked whose books these are: {error.what}",
            where=error.where,
            fix=f"sign in once more: run `connector connect {name}`",
        ) from error


def _issue(runtime: Runtime, name: str, token: Secret, lifetime: timedelta) -> Invitation:
    linked = connections.find(runtime.store, name)
    check_vacant(runtime, linked)
    now = runtime.clock.now()
    return invitations.issue(runtime.store, linked.id, token, now=now, expires_at=now + lifetime)


def link(runtime: Runtime, name: str, grant: Grant, identity: Identity, also: Also | None) -> None:
    """Tokens, link and event, and what `also` does with the transaction; it may still refuse."""
    now = runtime.clock.now()
    linked = connections.find(runtime.store, name)
    sealed = runtime.token_store.seal(linked.id, 0, grant)
    with runtime.store.write() as connection:
        _check_alone(connection, linked)
        activations.left(connection, linked.id)
        if also is not None:
            also(connection)
        runtime.token_store.link(connection, sealed)
        connections.linked(connection, linked.id, now)
        connections.identified(
            connection, linked.id, title=identity.name, currency=identity.currency, time_zone=identity.time_zone
        )
        outbox.append(
            connection,
            connection_id=linked.id,
            destination=linked.destination,
            source=linked.source,
            events=[linked_event(linked, identity, now)],
            now=now,
        )
        alerts.restore(connection, linked, now)
    log.info("connection.linked", connection=name, administration=identity.administration)


def _spending(runtime: Runtime, started: Started, state: str) -> Also:
    """Spend the invitation of a sign-in, once, and note that it succeeded."""

    def spend(connection: sa.Connection) -> None:
        now = runtime.clock.now()
        if started.invitation and not invitations.spend(connection, started.invitation, now):
            raise SignInFailed(
                "the invitation was used or replaced meanwhile", where="sign-in", fix="use the newest invitation"
            )
        authorizations.conclude(connection, authorizations.hashed(state), "linked", now)

    return spend


def _conclude(runtime: Runtime, state: str, outcome: Outcome) -> None:
    with runtime.store.write() as connection:
        authorizations.conclude(connection, authorizations.hashed(state), outcome, runtime.clock.now())


def check_vacant(runtime: Runtime, linked: Linked) -> None:
    with runtime.store.read() as connection:
        _check_alone(connection, linked)


def _check_alone(connection: sa.Connection, linked: Linked) -> None:
    """Raises AlreadyLinked: another connection, in the configuration or only in the database, keeps these books."""
    other = connections.keeper(connection, linked)
    if other is not None:
        raise AlreadyLinked(
            f'administration {linked.administration} is linked by the connection "{other}" already',
            where=f"connection {linked.name}",
            fix=f'link each administration once: go on with "{other}", also if it left the configuration',
        )
