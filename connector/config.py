"""The settings: what `config.toml` may say, read once, checked as a whole and frozen.

`config.example.toml` documents every key. All mistakes come at once, each with its file, key, value and fix.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from msgspec import Meta, Struct, structs

from connector.errors import ConfigurationError
from connector.typed_toml import SecretSource, Table, TomlReader, keys, suggest

EXAMPLE = Path(__file__).with_name("config.example.toml")
"""The reference, which `connector init` copies."""

S = TypeVar("S", bound=Struct)
SHORTEST_INTERVAL = timedelta(minutes=1)

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="small letters, digits, - and _ in quotes")]
Filled = Annotated[str, Meta(pattern=r"^\S(.*\S)?$", description="a text in quotes, without blanks around it")]
Address = Annotated[
    str, Meta(pattern=r"^https?://[^\s/@?#]+(/\S*)?$", description="an http or https address without a user name")
]
Listen = Annotated[
    str, Meta(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s\[\]]+):\d{1,5}$", description='host and port, as "127.0.0.1:8080"')
]
Positive = Annotated[int, Meta(ge=1, description="a whole number of at least 1")]


class Store(Struct, frozen=True, kw_only=True):
    """The database; its URL is a secret when it holds a password."""

    url: str | SecretSource = "sqlite:///connector.db"


class Secrets(Struct, frozen=True, kw_only=True):
    """What protects the stored tokens."""

    key_file: Path = Path("connector.key")


class Daemon(Struct, frozen=True, kw_only=True):
    """How `connector run` is reached and how much it does at once."""

    listen: Listen = "127.0.0.1:8080"
    public_url: Address | None = None
    operator: Filled | None = None
    concurrency: Positive = 4

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(f"//{self.listen}")
        return parts.hostname or "", parts.port or 0

    @property
    def url(self) -> str:
        """Where a browser finds the daemon, without a slash at the end."""
        return (self.public_url or f"http://{self.listen}").rstrip("/")


class App(Struct, frozen=True, kw_only=True):
    """Our registration at one package; its call limits are shared by all connections to that package."""

    client_id: Filled
    client_secret: SecretSource
    calls_per_minute: Positive | None = None
    calls_per_day: Positive | None = None
    activation: bool = False
    """Whether the package sends clients' keys to our webhook."""


class Destination(Struct, frozen=True, kw_only=True):
    """Where events go."""

    type: Literal["webhook"]
    url: Address
    secret: SecretSource
    allow_private: bool = False


class Connection(Struct, frozen=True, kw_only=True):
    """One client's link to one administration. `options` is an instance of the package's own options type."""

    name: Name
    package: str
    administration: Filled
    destination: str
    every: timedelta = timedelta(minutes=15)
    mapping: Path | None = None
    options: Any = None


CONNECTION_KEYS = [key for key in keys(Connection) if key != "options"]
SECTIONS = ("store", "secrets", "daemon", "apps", "destinations")


class Settings(Struct, frozen=True, kw_only=True):
    """The whole configuration, free of mistakes. Whether each secret is there shows when it is read."""

    file: Path
    store: Store
    secrets: Secrets
    daemon: Daemon
    apps: dict[str, App]
    """By package."""
    destinations: dict[str, Destination]
    connections: dict[str, Connection]

    @property
    def store_url(self) -> str:
        """The database URL, a SQLite path made relative to the configuration file.

        Raises:
            ConfigurationError: `url_env` or `url_file` names nothing.
        """
        url = self.store.url if isinstance(self.store.url, str) else self.store.url.read().reveal()
        scheme, separator, path = url.partition(":///")
        if scheme.startswith("sqlite") and separator and path and path != ":memory:":
            return f"{scheme}:///{self.file.absolute().parent / path}"
        return url

    def app(self, package: str) -> App:
        """Our registration at a package.

        Raises:
            ConfigurationError: there is none.
        """
        if package not in self.apps:
            raise ConfigurationError(
                f"there is no app for {package}",
                where=str(self.file),
                fix=f"add [apps.{package}] with client_id and client_secret_env, as config.example.toml shows",
            )
        return self.apps[package]

    def select(self, names: Iterable[str]) -> list[Connection]:
        """The named connections in the order given; all of them when none is named.

        Raises:
            ConfigurationError: a name is unknown.
        """
        wanted = list(dict.fromkeys(names)) or list(self.connections)
        for name in wanted:
            if name not in self.connections:
                raise ConfigurationError(
                    f'there is no connection "{name}"', where=str(self.file), fix=suggest(name, self.connections)
                )
        return [self.connections[name] for name in wanted]


def load(path: Path, option_types: Mapping[str, type[Struct]], environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the configuration.

    `option_types` holds, by package, the type of the keys that only its connections have.

    Raises:
        ConfigurationError: the file cannot be read, or `problems` lists what is wrong in it.
    """
    reader = TomlReader(path, environ)
    root = reader.parse()
    sections = {section: _table(reader, root, section) for section in SECTIONS}
    reader.unknown(root, "", [*SECTIONS, "connections"])
    store = _section(reader, sections, "store", Store)
    secrets = _section(reader, sections, "secrets", Secrets)
    daemon = _section(reader, sections, "daemon", Daemon)
    apps = _named(reader, sections["apps"], "apps", App)
    destinations = _named(reader, sections["destinations"], "destinations", Destination)
    connections = _connections(reader, root.get("connections", []), option_types)

    if isinstance(store.url, str) and urlsplit(store.url).password:
        reader.add("store.url", "a password does not belong in this file", 'write url_env = "THE_VARIABLE" instead')
    for package in apps:
        if package not in option_types:
            reader.add(f"apps.{package}", "there is no such package", suggest(package, option_types))
    _check_connections(reader, connections, sections["destinations"])
    reader.finish()
    return Settings(
        file=path,
        store=store,
        secrets=secrets,
        daemon=daemon,
        apps=apps,
        destinations=destinations,
        connections={connection.name: connection for connection in connections},
    )


def _table(reader: TomlReader, parent: Table, key: str) -> Table:
    value = parent.get(key, {})
    if isinstance(value, Mapping):
        return value
    reader.add(key, "this must be a table", f"write [{key}] on a line of its own and its keys below")
    return {}


def _section(reader: TomlReader, sections: Mapping[str, Table], where: str, type_: type[S]) -> S:
    """A section whose keys all have defaults; a stand-in when it has mistakes, which are raised before it is used."""
    reader.unknown(sections[where], where, keys(type_))
    return reader.struct(type_, sections[where], where) or type_()


def _named(reader: TomlReader, section: Table, where: str, type_: type[S]) -> dict[str, S]:
    """The tables of a section, by name."""
    found = {}
    for name in section:
        place = f"{where}.{name}"
        if not isinstance(section[name], Mapping):
            reader.add(place, "this must be a table", f"write [{place}] on a line of its own and its keys below")
            continue
        reader.unknown(section[name], place, keys(type_))
        if value := reader.struct(type_, section[name], place):
            found[name] = value
    return found


def _connections(reader: TomlReader, tables: Any, option_types: Mapping[str, type[Struct]]) -> list[Connection]:
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        reader.add("connections", "this must be a list of tables", "write [[connections]] with double brackets")
        return []
    read = (_connection(reader, table, position, option_types) for position, table in enumerate(tables, start=1))
    return [connection for connection in read if connection]


def _connection(
    reader: TomlReader, table: Table, position: int, option_types: Mapping[str, type[Struct]]
) -> Connection | None:
    name, package = table.get("name"), table.get("package")
    where = f"connections[{name if isinstance(name, str) else position}]"
    own = {key: value for key, value in table.items() if key in CONNECTION_KEYS}
    connection = reader.struct(Connection, own, where)
    if not isinstance(package, str):
        return connection
    if package not in option_types:
        reader.add(f"{where}.package", f'there is no package "{package}"', suggest(package, option_types))
        return connection
    reader.unknown(table, where, [*CONNECTION_KEYS, *keys(option_types[package])])
    options = reader.struct(option_types[package], table, where)
    return structs.replace(connection, options=options) if connection and options else None


def _check_connections(reader: TomlReader, connections: Sequence[Connection], destinations: Collection[str]) -> None:
    """What concerns several tables: names, administrations and destinations."""
    names: set[str] = set()
    linked: dict[tuple[str, str], str] = {}
    for connection in connections:
        where = f"connections[{connection.name}]"
        if connection.name in names:
            reader.add(f"{where}.name", "another connection has this name", "give each its own")
        names.add(connection.name)
        first = linked.setdefault((connection.package, connection.administration), connection.name)
        if first != connection.name:
            reader.add(
                f"{where}.administration",
                f'"{connection.administration}" is linked by "{first}" already',
                "link each administration once",
            )
        if connection.destination not in destinations:
            reader.add(
                f"{where}.destination",
                f'there is no destination "{connection.destination}"',
                suggest(connection.destination, destinations)
                if destinations
                else f"add [destinations.{connection.destination}]",
            )
        if connection.every < SHORTEST_INTERVAL:
            reader.add(f"{where}.every", "this is too often", 'write "1m" or more')
        if connection.mapping and not connection.mapping.is_file():
            reader.add(
                f"{where}.mapping",
                f"there is no file {connection.mapping}",
                "correct the path; it is relative to this file",
            )
