"""Keys that a package sends us: the client's way to the package's page, and what then comes to our webhook.

What comes is unsigned and told once. So it is written down before anything is done about it, and nothing of it is
believed: a new key counts when the package itself says that it opens the configured books, and a deletion when it
names the stored key.
"""

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Literal

import sqlalchemy as sa
import structlog

from connector import alerts, linking
from connector.adapter import Identity
from connector.errors import (
    Busy,
    ConfigurationError,
    ConnectorError,
    PermissionLost,
    Unavailable,
    WrongAdministration,
)
from connector.failpoints import failpoint
from connector.linking import Unconfirmed
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import activations, authorizations, connections, invitations, tokens
from connector.store.activations import Noted
from connector.store.authorizations import Outcome, Started
from connector.store.invitations import Invitation
from connector.store.tokens import StoredToken

EVERY_S: Final = 60.0
"""How long news waits that could not be dealt with at once, because the package or the database was away."""
KEPT: Final = timedelta(days=7)
"""How long that is tried."""

DELETED: Final = "the client deleted the key in the package"

log = structlog.get_logger()


def address(runtime: Runtime, name: str, reference: str = "") -> str | None:
    """The package's page on which the client has its key sent to us; None where there is no such way."""
    connection = runtime.settings.connections[name]
    activation = runtime.activation(connection.package)
    if activation is None:
        return None
    app, back = runtime.settings.app(connection.package), runtime.settings.daemon.url + linking.PAGE_PATH
    return activation.page(connection.options, app.client_id, reference, back)


async def begin(runtime: Runtime, name: str, session: Secret, invitation: Invitation) -> str:
    """The package's page for this client. Whoever has `session` may ask how it ended; coming back proves nothing.

    Raises:
        AlreadyLinked: another connection keeps these books.
        ConfigurationError: our app is not registered for this.
    """
    reference = Secret(secrets.token_urlsafe(32))
    url = address(runtime, name, reference.reveal())
    if url is None:
        raise ConfigurationError("keys of this package do not come by themselves", where=name, fix="paste the key")
    await asyncio.to_thread(_begin, runtime, name, reference, session, invitation)
    return url


def receive(runtime: Runtime, package: str, body: bytes) -> Literal["noted", "unknown", "unreadable"]:
    """Keep what came to the webhook, encrypted; it is dealt with later.

    Raises:
        StoreUnavailable: it could not be kept, and will not come again.
    """
    activation = runtime.activation(package)
    news = activation.read(body) if activation else None
    if news is None:
        return "unreadable"
    connection_id = activations.owner(runtime.store, news.reference)
    if connection_id is None:
        return "unknown"
    place = activations.place(connection_id, authorizations.hashed(news.reference.reveal()))
    kept = activations.note(
        runtime.store,
        connection_id=connection_id,
        reference=news.reference,
        action=news.action,
        key_ct=runtime.vault.encrypt(news.key.reveal(), place),
        now=runtime.clock.now(),
    )
    failpoint("activation.after_note")
    log.info("activation.noted" if kept else "activation.too_many", connection_id=connection_id, action=news.action)
    return "noted"


class Activations:
    """Deals with the news of all connections. `linked` hears of each success, `wake` of each other new event."""

    def __init__(
        self,
        runtime: Runtime,
        linked: Callable[[str, Identity], Awaitable[None]],
        wake: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._runtime = runtime
        self._linked = linked
        self._wake = wake
        self._came = asyncio.Event()

    def came(self) -> None:
        """There is something to look at."""
        self._came.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: what an earlier process left, what comes, and once a minute what could not be dealt with."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._came.clear()
                await self.look()
                coming = asyncio.create_task(self._came.wait())
                await asyncio.wait({stopping, coming}, timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                coming.cancel()
        finally:
            stopping.cancel()

    async def look(self) -> None:
        """Deal with everything there is, each connection's news in its order."""
        try:
            found = await asyncio.to_thread(activations.waiting, self._runtime.store)
        except ConnectorError as error:
            log.warning("activation.failed", error=str(error))
            return
        behind: set[int] = set()
        for news in found:
            if news.connection_id not in behind and not await self._settled(news):
                behind.add(news.connection_id)

    async def _settled(self, news: Noted) -> bool:
        """Whether it is over with this; if not, it is tried again, and what came later waits."""
        try:
            name = await asyncio.to_thread(self._runtime.name_of, news.connection_id)
            key = Secret(await asyncio.to_thread(self._runtime.vault.decrypt, news.key_ct, news.place))
            if news.action == "deleted":
                await asyncio.to_thread(self._withdraw, name, news, key)
            elif not await asyncio.to_thread(self._known, news, key):
                await self._believe(name, news, key)
        except (Unavailable, Unconfirmed, ConfigurationError) as error:
            if self._runtime.clock.now() - news.received_at < KEPT:
                log.warning("activation.waits", connection_id=news.connection_id, error=str(error))
                return False
            return await self._refused(news, error)
        except ConnectorError as error:
            return await self._refused(news, error)
        except Exception:
            log.exception("activation.bug", connection_id=news.connection_id)
            return False
        return True

    async def _believe(self, name: str, news: Noted, key: Secret) -> None:
        """Link with the key, if the package says that it opens these books."""
        try:
            identity = await linking.accept(
                self._runtime, name, key.reveal(), lambda transaction: self._arrived(transaction, news)
            )
        except ConfigurationError as error:
            await asyncio.to_thread(self._conclude, news, linking.outcome_of(error))
            raise
        await self._linked(name, identity)

    def _known(self, news: Noted, key: Secret) -> bool:
        """Whether this very key is stored and good: told twice, or activated again."""
        token = self._runtime.token_store.get(news.connection_id)
        if token is None or token.status != tokens.LINKED or not _is(token, key):
            return False
        with self._runtime.store.write() as transaction:
            self._arrived(transaction, news)
        return True

    def _arrived(self, transaction: sa.Connection, news: Noted) -> None:
        """The key of this news is the stored one. The invitation may be used or replaced: the key is told only once."""
        if not activations.done(transaction, news):
            raise Busy("another process deals with it", where=f"connection {news.connection_id}", fix="wait")
        now = self._runtime.clock.now()
        invitations.spend(transaction, activations.brought(transaction, news), now)
        authorizations.conclude(transaction, news.reference_hash, "linked", now)

    async def _refused(self, news: Noted, error: ConnectorError) -> bool:
        """Not believed; the stored key stays, and is used as long as the package takes it."""
        log.warning("activation.refused", connection_id=news.connection_id, action=news.action, error=str(error))
        opens_others = isinstance(error, WrongAdministration | PermissionLost)
        try:
            if news.action == "replaced" and opens_others:
                await asyncio.to_thread(self._tell, news, f"the client's new key is not for these books: {error.what}")
            await asyncio.to_thread(self._conclude, news, linking.outcome_of(error), over=True)
        except Unavailable:
            return False
        return True

    def _withdraw(self, name: str, news: Noted, key: Secret) -> None:
        """Stop using the stored key, if it is the one that was deleted; what was read and the positions stay."""
        token = self._runtime.token_store.get(news.connection_id)
        with self._runtime.store.write() as transaction:
            activations.done(transaction, news)
            meant = _is(token, key) if key else activations.is_current(transaction, news)
            if token is None or token.status != tokens.LINKED or not meant:
                log.info("activation.deletion_ignored", connection=name)
                return
            if not tokens.refuse(transaction, token, DELETED):
                raise Busy("the token was renewed meanwhile", where=f"connection {name}", fix="wait")
        self._tell(news, DELETED)

    def _tell(self, news: Noted, reason: str) -> None:
        """Say that a person is needed, once, in the log and to the destination."""
        now = self._runtime.clock.now()
        with self._runtime.store.write() as transaction:
            connection = connections.get(transaction, news.connection_id)
            if connection.alerted == alerts.NEEDS_PERSON or connection.linked_at is None:
                return
            alert = alerts.Alert(connection=connection, percent=alerts.NEEDS_PERSON, now=now, reason=reason)
            alert.write(transaction)
        alert.log()
        self._wake(connection.name)

    def _conclude(self, news: Noted, outcome: Outcome, *, over: bool = False) -> None:
        with self._runtime.store.write() as transaction:
            authorizations.conclude(transaction, news.reference_hash, outcome, self._runtime.clock.now())
            if over:
                activations.done(transaction, news)


def _is(token: StoredToken | None, key: Secret) -> bool:
    """Whether this is the stored key."""
    stored = token.refresh.reveal() if token else ""
    return hmac.compare_digest(stored.encode(), linking.clean(key.reveal()).encode(errors="replace"))


def _begin(runtime: Runtime, name: str, reference: Secret, session: Secret, invitation: Invitation) -> None:
    linking.check_vacant(runtime, connections.find(runtime.store, name))
    now, connection_id = runtime.clock.now(), invitation.connection_id
    started = Started(connection_id=connection_id, redirect_uri="", verifier=None, invitation=invitation.token_hash)
    runtime.authorizations.start(reference, session, started, now)
    activations.begin(runtime.store, reference, connection_id, invitation.token_hash, now)
