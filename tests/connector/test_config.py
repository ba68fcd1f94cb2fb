"""The configuration: every mistake at once, each with its place and fix, and never a secret."""

import itertools
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import config, typed_toml
from connector.adapter import packages
from connector.config import Settings
from connector.errors import ConfigurationError, ExitCode, Problem
from connector.typed_toml import SecretSource, duration

WORKING = """
[apps.books]
client_id = "app-1"
client_secret_env = "BOOKS_SECRET"

[destinations.backend]
type = "webhook"
url = "https://backend.example/events"
secret_file = "backend.secret"

[[connections]]
name = "acme"
package = "books"
administration = "123456"
destination = "backend"
time_zone = "Europe/Brussels"
"""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A package's own keys, of every kind that a package may use."""

    time_zone: str = "Europe/Amsterdam"
    flavour: Literal["plain", "results"] = "plain"
    page_rows: Annotated[int, msgspec.Meta(ge=1, le=1000, description="a number from 1 to 1000")] = 60
    subscription: SecretSource | None = None
    grace: timedelta = timedelta(hours=1)
    accounts: tuple[str, ...] = ()


class Books:
    """A folder with a configuration in it, loaded with this environment."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.environ: dict[str, str] = {}

    def load(self, text: str = WORKING) -> Settings:
        self.file.write_text(text, encoding="utf-8")
        return config.load(self.file, {"books": Options}, self.environ)

    def problems(self, text: str) -> dict[str, Problem]:
        with pytest.raises(ConfigurationError) as caught:
            self.load(text)
        assert caught.value.exit_code == ExitCode.CONFIGURATION
        found = caught.value.problems
        assert all(problem.file == str(self.file) for problem in found)
        assert all(problem.what and problem.fix for problem in found)
        assert len({problem.key for problem in found}) == len(found), "one mistake a key"
        return {problem.key: problem for problem in found}


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def changed(old: str, new: str) -> str:
    assert old in WORKING
    return WORKING.replace(old, new)


def test_a_working_file(books: Books) -> None:
    settings = books.load()
    connection = settings.connections["acme"]
    assert connection.every == timedelta(minutes=15)
    assert connection.options == Options(time_zone="Europe/Brussels")
    assert settings.destinations["backend"].allow_private is False
    assert settings.secrets.key_file == books.file.parent / "connector.key"
    assert settings.store_url == f"sqlite:///{books.file.parent / 'connector.db'}"
    assert settings.daemon.address == ("127.0.0.1", 8080)
    assert settings.daemon.url == "http://127.0.0.1:8080"


def test_an_empty_file_is_a_configuration_without_connections(books: Books) -> None:
    assert books.load("").select([]) == []


def test_all_mistakes_come_at_once(books: Books) -> None:
    found = books.problems(
        """
        [stor]
        url = "sqlite:///x.db"

        [daemon]
        listen = "8080"
        concurency = 3

        [apps.boks]
        client_id = "app-1"
        client_secret = "do-not-show-me-anywhere"

        [destinations.backend]
        type = "webhok"
        url = "ftp://backend.example"
        secret_env = "do-not-show-me-anywhere"

        [[connections]]
        name = "acme"
        package = "book"
        administration = 123456
        destination = "backend"
        every = 15

        [[connections]]
        name = "beta"
        package = "books"
        administration = "1"
        destination = "bakend"
        every = "30s"
        mapping = "missing.toml"

        [[connections]]
        name = "beta"
        package = "books"
        administration = "1"
        destination = "backend"
        page_rows = 5000
        flavour = "result"
        time_zon = "UTC"
        """
    )
    fixes = {key: problem.fix for key, problem in found.items()}
    assert fixes["stor"] == 'did you mean "store"?'
    assert "127.0.0.1:8080" in fixes["daemon.listen"]
    assert fixes["daemon.concurency"] == 'did you mean "concurrency"?'
    assert "client_secret_env" in fixes["apps.boks.client_secret"]
    assert fixes["destinations.backend.type"] in {'did you mean "webhook"?', "use one of: webhook"}
    assert "http or https" in fixes["destinations.backend.url"]
    assert "capitals" in fixes["destinations.backend.secret_env"]
    assert fixes["connections[acme].package"] == 'did you mean "books"?'
    assert fixes["connections[acme].administration"] == "write a text in quotes, without blanks around it"
    assert "15m" in fixes["connections[acme].every"]
    assert fixes["connections[beta].destination"] == 'did you mean "backend"?'
    assert "1m" in fixes["connections[beta].every"]
    assert "relative" in fixes["connections[beta].mapping"]
    assert fixes["connections[beta].page_rows"] == "write a number from 1 to 1000"
    assert fixes["connections[beta].flavour"] == 'did you mean "results"?'
    assert fixes["connections[beta].time_zon"] == 'did you mean "time_zone"?'
    assert '"ftp://backend.example"' in found["destinations.backend.url"].what
    assert "do-not-show-me-anywhere" not in str(list(found.values()))


def test_what_concerns_several_tables(books: Books) -> None:
    again = WORKING[WORKING.index("[[connections]]") :]
    assert set(books.problems(WORKING + again)) == {"connections[acme].name"}
    other = again.replace('"acme"', '"beta"')
    found = books.problems(WORKING + other)
    assert found["connections[beta].administration"].what == '"123456" is linked by "acme" already'


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "acme"\n', "", "connections[1].name"),
        ('name = "acme"', 'name = "Acme B.V."', "connections[Acme B.V.].name"),
        ('client_id = "app-1"\n', "", "apps.books.client_id"),
        ('client_secret_env = "BOOKS_SECRET"\n', "", "apps.books.client_secret"),
        ("secret_file =", 'secret_env = "X"\nsecret_file =', "destinations.backend.secret"),
        ('secret_file = "backend.secret"', 'secret_file = ""', "destinations.backend.secret_file"),
        ("[apps.books]", "[apps.bookz]", "apps.bookz"),
        ("[[connections]]", "[connections]", "connections"),
        ("[apps.books]", "destinations = 3\n[apps.books]", "line 7"),
        ("time_zone", "subscription = 'x'\ntime_zone", "connections[acme].subscription"),
        ("time_zone", "accounts = '1300'\ntime_zone", "connections[acme].accounts"),
        ("https://backend.example/events", "backend.example/events", "destinations.backend.url"),
        ('destination = "backend"', 'destination = "backend"\nevery = "15 m"', "connections[acme].every"),
        ('destination = "backend"', 'destination = "backend"\nevery = ""', "connections[acme].every"),
        ("[apps.books]", "[store]\nurl = 'postgresql://u:hunter22@db/x'\n[apps.books]", "store.url"),
    ],
)
def test_one_mistake(books: Books, old: str, new: str, key: str) -> None:
    found = books.problems(changed(old, new))
    assert [name.split(",")[0] for name in found] == [key]
    assert "hunter22" not in str(found)


def test_sections_that_are_no_tables(books: Books) -> None:
    assert set(books.problems('daemon = "x"\nconnections = 1\n[destinations]\nbackend = 1')) == {
        "daemon",
        "connections",
        "destinations.backend",
    }


def test_credentials_in_an_address_are_not_shown(books: Books) -> None:
    found = books.problems(changed("https://backend", "https://user:hunter22@backend"))
    assert "hunter22" not in str(found)


def test_files_that_cannot_be_read(books: Books, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="connector init"):
        config.load(tmp_path / "none.toml", {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(tmp_path, {})
    books.file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        config.load(books.file, {})
    assert set(books.problems("[store]\nurl = \n")) == {"line 2, column 7"}
    assert set(books.problems("[store")) == {"end of document"}


def test_secrets_are_read_when_used(books: Books, tmp_path: Path) -> None:
    settings = books.load()
    app = settings.app("books").client_secret
    destination = settings.destinations["backend"].secret
    with pytest.raises(ConfigurationError, match=r"BOOKS_SECRET is not set \(apps\.books\.client_secret\)"):
        app.read()
    with pytest.raises(ConfigurationError, match=r"backend\.secret cannot be read"):
        destination.read()
    books.environ["BOOKS_SECRET"] = "from-the-environment"
    (tmp_path / "backend.secret").write_text("from-a-file\n", encoding="utf-8")
    assert app.read().reveal() == "from-the-environment"
    assert destination.read().reveal() == "from-a-file"
    assert "from-the-environment" not in repr(settings)
    (tmp_path / "backend.secret").write_text(" \n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is empty"):
        destination.read()


def test_the_database_address(books: Books) -> None:
    def url(text: str) -> str:
        return books.load(f"[store]\n{text}").store_url

    folder = books.file.parent
    assert url('url = "sqlite:///data/books.db"') == f"sqlite:///{folder}/data/books.db"
    assert url('url = "sqlite:////var/books.db"') == "sqlite:////var/books.db"
    assert url('url = "postgresql://db/connector"') == "postgresql://db/connector"
    with pytest.raises(ConfigurationError, match="STORE_URL is not set"):
        url('url_env = "STORE_URL"')
    books.environ["STORE_URL"] = "postgresql://u:hunter22@db/connector"
    assert url('url_env = "STORE_URL"') == "postgresql://u:hunter22@db/connector"


def test_choosing_connections_and_apps(books: Books) -> None:
    settings = books.load()
    assert [connection.name for connection in settings.select([])] == ["acme"]
    assert [connection.name for connection in settings.select(["acme", "acme"])] == ["acme"]
    with pytest.raises(ConfigurationError, match='did you mean "acme"'):
        settings.select(["acne"])
    with pytest.raises(ConfigurationError, match=r"\[apps\.ledger\]"):
        settings.app("ledger")


@given(
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)
def test_a_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    written = f"{days}d{hours}h{minutes}m{seconds}s"
    assert duration(written) == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text())))
def test_what_is_no_duration(value: Any) -> None:
    if isinstance(value, str) and re.fullmatch(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?", value) and value:
        assert duration(value) >= timedelta()
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - it has no message; the reader writes one
            duration(value)


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(typed_toml.keys(config.Destination)), json_like))
def test_no_value_whatever_breaks_the_reader(table: dict[str, Any]) -> None:
    reader = typed_toml.TomlReader(Path("config.toml"), {})
    destination = reader.struct(config.Destination, table, "destinations.x")
    assert (destination is None) == bool(reader.problems)


def test_the_example_is_valid_and_complete() -> None:
    """The example's keys are the model's keys, and a key that is commented out shows its default."""
    text = config.EXAMPLE.read_text(encoding="utf-8")
    options = {name: package.options for name, package in packages().items()}
    config.load(config.EXAMPLE, options, {})

    written: dict[str, dict[str, Any]] = {}
    for line in text.splitlines():
        if header := re.fullmatch(r"\[+(\w+)[.\w]*\]+", line):
            section = written.setdefault(header[1], {})
        elif match := re.fullmatch(r"(?:# )?(\w+ = .+)", line):
            (key, value), commented = next(iter(tomllib.loads(match[1]).items())), line.startswith("#")
            assert key not in section, f"{key} is documented twice"
            section[key] = (value, commented)

    structs: dict[str, list[type[msgspec.Struct]]] = {
        "store": [config.Store],
        "secrets": [config.Secrets],
        "daemon": [config.Daemon],
        "apps": [config.App],
        "destinations": [config.Destination],
        "connections": [config.Connection, *options.values()],
    }
    for name, types in structs.items():
        known = {key for type_ in types for key in typed_toml.keys(type_)} - {"options"}
        assert set(written[name]) == known, name
        defaults: dict[str, list[Any]] = {}
        for info in (info for type_ in types for info in msgspec.structs.fields(type_)):
            defaults.setdefault(info.encode_name, []).append(info.default)
        for key, possible in defaults.items():
            value, commented = written[name].get(key, (None, False))
            if commented and not {msgspec.NODEFAULT, None} & set(possible):
                shown = duration(value) if isinstance(possible[0], timedelta) else value
                shown = tuple(shown) if isinstance(shown, list) else shown
                assert shown in [str(one) if isinstance(one, Path) else one for one in possible], key


def test_every_key_of_the_example_has_a_comment() -> None:
    lines = config.EXAMPLE.read_text(encoding="utf-8").splitlines()
    assignment = re.compile(r"(# )?\w+ = .+")
    for before, line in itertools.pairwise(lines):
        if assignment.fullmatch(line):
            assert before.startswith("#") or assignment.fullmatch(before), f"say what this is: {line}"
