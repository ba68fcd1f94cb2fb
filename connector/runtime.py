"""Everything that belongs together for one configuration: store, vault, tokens, adapters, destinations."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Self

import structlog

from connector import config
from connector import mapping as mappings
from connector.adapter import Activation, Adapter, AdapterContext, CallLimits, Identity, OAuth, Package
from connector.authorizer import Authorizer
from connector.budget import CallBudget
from connector.clock import Clock
from connector.config import Settings
from connector.cycle import Cycle, Progress, new_owner
from connector.delivery import Deliverer
from connector.destinations import Destination
from connector.destinations.webhook import Webhook
from connector.errors import ConfigurationError, WrongAdministration
from connector.http import DEADLINE_S, Authorize, Circuit, Client
from connector.master_keys import Keyring, load_keys
from connector.oauth import TokenManager
from connector.store import connections
from connector.store.authorizations import Authorizations
from connector.store.connections import Linked
from connector.store.data_keys import StoredDataKeys
from connector.store.engine import Store, open_store
from connector.store.spill import Spill
from connector.store.tokens import TokenStore
from connector.token_endpoint import OAuthApp
from connector.vault import Vault

CALLBACK_PATH = "/callback"

log = structlog.get_logger()


@dataclass(kw_only=True)
class Runtime:
    """What a command works with. Close it when done."""

    settings: Settings
    packages: Mapping[str, Package]
    clock: Clock
    store: Store
    vault: Vault
    owner: str = field(default_factory=new_owner)
    deadline_s: float = DEADLINE_S
    """For each request to a package, all of its tries together."""
    _tokens: dict[str, TokenManager] = field(default_factory=dict)
    _circuits: dict[str, Circuit] = field(default_factory=dict)
    _mappings: dict[str, tuple[int, mappings.Mapping]] = field(default_factory=dict)
    """By connection, with the time its own file was last changed."""

    @classmethod
    def open(cls, settings: Settings, packages: Mapping[str, Package], clock: Clock) -> Self:
        """Open the database and the keys, and make the configured connections known.

        Raises:
            ConfigurationError: the database, the key file or a mapping is not usable.
            StoreUnavailable: the database cannot be reached.
        """
        keyring = Keyring(lambda: load_keys(settings.secrets.key_file))
        store = open_store(settings.store_url)
        vault = Vault(keyring, StoredDataKeys(store))
        runtime = cls(settings=settings, packages=packages, clock=clock, store=store, vault=vault)
        try:
            runtime.check_key()
            vault.prepare([runtime.register(connection).id for connection in settings.connections.values()])
        except BaseException:
            store.close()
            raise
        return runtime

    @property
    def token_store(self) -> TokenStore:
        return TokenStore(self.store, self.vault)

    @property
    def authorizations(self) -> Authorizations:
        return Authorizations(self.store, self.vault)

    @property
    def spill(self) -> Spill:
        """Beside the database file if there is one, and beside the key file."""
        file = self.store.engine.url.database if self.store.is_sqlite else None
        folders = [Path(file).parent] if file else []
        return Spill(*(folder / "spill" for folder in dict.fromkeys([*folders, self.settings.secrets.key_file.parent])))

    @property
    def redirect_uri(self) -> str:
        return self.settings.daemon.url + CALLBACK_PATH

    def check_key(self) -> None:
        """Prove that the key file is the one this database was written with.

        Raises:
            ConfigurationError: it is another one.
        """
        try:
            self.vault.check_key()
        except ConfigurationError as error:
            raise ConfigurationError(error.what, where=str(self.settings.secrets.key_file), fix=error.fix) from error

    def probe(self) -> None:
        """Prove that the database takes a write and that the key is the right one.

        Raises:
            ConfigurationError, StoreUnavailable: they are not so.
        """
        self.check_key()
        with self.store.write() as connection:
            connection.exec_driver_sql("SELECT 1")

    def readable_by_others(self) -> list[Path]:
        """Files of ours that hold what others may not know, and whose mode lets them."""
        files = self.spill.files()
        if self.store.is_sqlite:
            database = Path(self.store.engine.url.database or "")
            files += database.parent.glob(f"{database.name}*")
        return sorted(file for file in files if file.stat().st_mode & 0o077)

    def register(self, connection: config.Connection) -> Linked:
        linked = connections.register(
            self.store,
            name=connection.name,
            package=connection.package,
            administration=connection.administration,
            destination=connection.destination,
            now=self.clock.now(),
        )
        if (linked.package, linked.administration) != (connection.package, connection.administration):
            raise ConfigurationError(
                f"the connection is stored as {linked.package} administration {linked.administration}",
                where=f"{self.settings.file}: connections[{connection.name}]",
                fix="a connection keeps its administration for ever; give the other books a new name",
            )
        return linked

    def mapping(self, name: str) -> mappings.Mapping:
        """The connection's mapping, compiled anew when its own file has changed.

        Raises:
            ConfigurationError: lists every mistake of both files.
        """
        connection = self.settings.connections[name]
        changed_at = connection.mapping.stat().st_mtime_ns if connection.mapping else 0
        known = self._mappings.get(name)
        if known is None or known[0] != changed_at:
            known = changed_at, compiled_mapping(self.packages[connection.package], connection.mapping)
            self._mappings[name] = known
        return known[1]

    def tokens(self, name: str) -> TokenManager:
        if name not in self._tokens:
            linked = connections.find(self.store, name)
            self._tokens[name] = TokenManager(
                name,
                linked.id,
                self._app(name),
                tokens=self.token_store,
                spill=self.spill,
                clock=self.clock,
            )
        return self._tokens[name]

    def sign_in(self, name: str) -> OAuth:
        """How the connection's package lets us in."""
        connection = self.settings.connections[name]
        return self.packages[connection.package].oauth(connection.options)

    def activation(self, package: str) -> Activation | None:
        """How the package sends us keys, if our app is registered for that."""
        app = self.settings.apps.get(package)
        return self.packages[package].activation if app is not None and app.activation else None

    def authorizer(self) -> Authorizer:
        return Authorizer(self.authorizations, self.clock, lambda key: self._app(self.name_of(key)))

    def name_of(self, connection_id: int) -> str:
        """The configured connection with this id.

        Raises:
            ConfigurationError: it is not configured any more.
        """
        for linked in connections.everyone(self.store):
            if linked.id == connection_id and linked.name in self.settings.connections:
                return linked.name
        raise ConfigurationError(
            "the connection is not in the configuration any more",
            where=str(self.settings.file),
            fix="put it back, or ignore links that were sent for it",
        )

    @contextlib.asynccontextmanager
    async def adapter(
        self, name: str, *, priority: bool = False, authorize: Authorize | None = None
    ) -> AsyncIterator[Adapter]:
        """The adapter of a connection, with its authorised way out; `priority` may use the reserve of calls.

        `authorize` gives tokens that are not stored; what is refused to them does not count against the stored ones.
        """
        connection = self.settings.connections[name]
        package = self.packages[connection.package]
        app = self.settings.app(connection.package)
        budget = CallBudget(
            self.store,
            self.clock,
            app=app.client_id,
            administration=connection.administration,
            limits=CallLimits(
                per_minute=app.calls_per_minute or package.limits.per_minute,
                per_day=app.calls_per_day or package.limits.per_day,
            ),
            headers=package.rate_headers,
            priority=priority,
        )
        client = Client(
            name,
            origins=package.origins(connection.options),
            budget=budget,
            circuit=Circuit(self.clock) if authorize else self._circuits.setdefault(name, Circuit(self.clock)),
            clock=self.clock,
            authorize=authorize or self.tokens(name).access_token,
            deadline_s=self.deadline_s,
            headers={package.app_header: app.client_secret.read()} if package.app_header else {},
            refusal=package.refusal,
        )
        async with client:
            yield package.adapter(
                AdapterContext(
                    administration=connection.administration,
                    options=connection.options,
                    http=client,
                    clock=self.clock,
                )
            )

    @contextlib.asynccontextmanager
    async def cycle(
        self,
        name: str,
        *,
        stop: asyncio.Event | None = None,
        progress: Progress | None = None,
        store: Store | None = None,
        **options: Any,
    ) -> AsyncIterator[Cycle]:
        """A cycle ready to run; `options` are those of `Cycle`. Another `store` than our own is for a dry run."""
        connection = self.settings.connections[name]
        async with self.adapter(name, priority=progress is not None) as adapter:
            yield Cycle(
                store=store or self.store,
                vault=self.vault,
                clock=self.clock,
                package=self.packages[connection.package],
                adapter=adapter,
                mapping=await asyncio.to_thread(self.mapping, name),
                connection=await asyncio.to_thread(connections.find, store or self.store, name),
                owner=self.owner,
                every=connection.every,
                stop=stop or asyncio.Event(),
                progress=progress or Progress(),
                **options,
            )

    async def verified(self, name: str, adapter: Adapter) -> Identity:
        """Whose books the package shows us.

        Raises:
            WrongAdministration: others than the configured ones.
        """
        identity = await adapter.identify()
        configured = self.settings.connections[name].administration
        if identity.administration != configured:
            raise WrongAdministration(
                f"the package answered for administration {identity.administration} ({identity.name})",
                where=f"connection {name}, configured for {configured}",
                fix="sign in with a user of the right books, or correct the configuration",
            )
        return identity

    def destination(self, name: str) -> Destination:
        """A configured destination; close it when done.

        Raises:
            ConfigurationError: its secret is missing or unusable, or its address may not be delivered to.
        """
        configured = self.settings.destinations[name]
        try:
            return Webhook(
                configured.url,
                [configured.secret.read()],
                clock=self.clock,
                allow_private=configured.allow_private,
            )
        except ConfigurationError as error:
            place = f"{self.settings.file}: destinations.{name}"
            raise ConfigurationError(error.what, where=place, fix=error.fix) from error

    def destinations(self) -> dict[str, Destination]:
        """Every destination that can be used; the others are logged, and their events wait."""
        usable = {}
        for name in self.settings.destinations:
            try:
                usable[name] = self.destination(name)
            except ConfigurationError as error:
                log.error(  # noqa: TRY400 - a traceback would say no more
                    "destination.unusable", destination=name, error=str(error)
                )
        return usable

    def deliverer(self, destinations: Mapping[str, Destination]) -> Deliverer:
        return Deliverer(self.store, destinations, clock=self.clock, owner=self.owner, rng=random.SystemRandom())

    async def close(self) -> None:
        for manager in self._tokens.values():
            await manager.settle()
        self.store.close()

    def _app(self, name: str) -> OAuthApp:
        app = self.settings.app(self.settings.connections[name].package)
        return OAuthApp(oauth=self.sign_in(name), client_id=app.client_id, client_secret=app.client_secret.read())


def spare_the_collector() -> None:
    """Once for a process, when everything is imported.

    A page is hundreds of thousands of objects that are in no cycle. Looking for garbage after each 700 of them, and
    each time among all that was imported, takes a twentieth of a first load.
    """
    gc.freeze()
    gc.set_threshold(5000)


def compiled_mapping(package: Package, override: Path | None) -> mappings.Mapping:
    """The package's mapping with a connection's own file laid over it.

    Raises:
        ConfigurationError: lists every mistake of both files.
    """
    return mappings.compile_mapping(
        resources.files("mappings") / f"{package.name}.toml", override, sources=package.sources
    )
