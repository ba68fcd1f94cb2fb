"""Group D of the fault catalogue, what is stored: keys, ciphertexts, and that nothing secret is ever shown.

D1 to D12 are about the tokens' way to and from the package; they stand with the token manager and the connect flow.
"""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from msgspec import structs
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.adapter import packages
from connector.errors import ConfigurationError
from connector.master_keys import generate_key_file
from connector.runtime import Runtime
from connector.secrets import Secret
from connector.store import backlog, connections, destinations
from connector.store.tokens import Grant
from connector.vault import Undecipherable
from tests import leaks
from tests.desk import Desk, eventually, get, healthy, servers
from tests.faults.harness import ROOT, Victim
from tests.faults.world import TABLES, FaultyWorld
from tests.stories.world import DAY, DESTINATION, NAME, SECRET

# --- D13 -------------------------------------------------------------------------------------------------------------


def everything(world: FaultyWorld) -> dict[str, list[tuple[Any, ...]]]:
    with world.store.read() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for name, table in TABLES.items()
        }


def no_key(file: Path) -> str:
    return "cannot be read"


def another_key(file: Path) -> str:
    generate_key_file(file)
    return "which is not configured"


def same_name_another_key(file: Path) -> str:
    generate_key_file(file)
    right = (file.parent / "connector.key").read_text().split()[0]
    file.write_text(f"{right} {file.read_text().split()[1]}\n")
    return "not the one this database was written with"


def open_to_others(file: Path) -> str:
    file.write_text((file.parent / "connector.key").read_text())
    file.chmod(0o644)
    return "can be read by other users (mode 0644)"


@pytest.mark.parametrize("spoil", [no_key, another_key, same_name_another_key, open_to_others])
def test_d13_without_the_right_key_it_does_not_start_and_changes_nothing(
    both: FaultyWorld, spoil: Callable[[Path], str]
) -> None:
    both.settle()
    before, file = everything(both), both.town.folder / f"{spoil.__name__}.key"
    file.unlink(missing_ok=True)
    expected = spoil(file)
    settings = structs.replace(both.settings, secrets=structs.replace(both.settings.secrets, key_file=file))
    with pytest.raises(ConfigurationError) as raised:
        Runtime.open(settings, packages(), both.clock)
    assert expected in raised.value.what
    assert raised.value.fix
    assert str(file) in raised.value.where
    assert everything(both) == before


# --- D14 -------------------------------------------------------------------------------------------------------------


def another_client(world: FaultyWorld) -> int:
    """A second connection with tokens of its own."""
    now = world.clock.now()
    other = connections.register(
        world.store, name="other", package="exactonline", administration="9", destination="d", now=now
    )
    grant = Grant(
        access=Secret("access-of-the-other-client"),
        refresh=Secret("refresh-of-the-other-client"),
        granted_at=now,
        expires_at=now + timedelta(minutes=10),
        refresh_expires_at=now + timedelta(days=30),
    )
    sealed = world.runtime.token_store.seal(other.id, 0, grant)
    with world.store.write() as connection:
        world.runtime.token_store.link(connection, sealed)
    return other.id


def stored(world: FaultyWorld, table: str, connection_id: int) -> dict[str, Any]:
    with world.store.read() as connection:
        statement = sa.select(TABLES[table]).where(TABLES[table].c.connection_id == connection_id)
        return dict(connection.execute(statement).mappings().one())


def store(world: FaultyWorld, table: str, connection_id: int, **values: Any) -> None:
    with world.store.write() as connection:
        connection.execute(
            sa.update(TABLES[table]).where(TABLES[table].c.connection_id == connection_id).values(values)
        )


def flipped(text: str) -> str:
    place = len(text) - 12
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


SPOILT: dict[str, Callable[[str, str], str]] = {
    "copied from another row": lambda mine, other: other,
    "one bit": lambda mine, other: flipped(mine),
    "truncated": lambda mine, other: mine[:-9],
    "empty": lambda mine, other: "",
    "no form": lambda mine, other: "access.0123456789abcdef",
}


@pytest.mark.parametrize("way", SPOILT)
@pytest.mark.parametrize(("table", "column"), [("token", "access_ct"), ("token", "refresh_ct"), ("data_key", "key_ct")])
def test_d14_a_spoilt_ciphertext_stops_that_connection_and_stays_as_it_is(
    read: FaultyWorld, table: str, column: str, way: str
) -> None:
    mine, other = read.linked.id, another_client(read)
    right = stored(read, table, mine)[column]
    wrong = SPOILT[way](right, stored(read, table, other)[column])
    store(read, table, mine, **{column: wrong})
    read.restart()  # nothing is remembered
    read.mark()
    report = read.cycle()
    assert (report.outcome, type(report.error)) == ("stopped", Undecipherable)
    assert report.error is not None
    assert f"connection {mine}" in report.error.where  # type: ignore[attr-defined]  # just asked
    assert "sign in to the package again" in report.error.fix  # type: ignore[attr-defined]  # just asked
    assert read.asked("") == 0, "neither another client's token nor none is sent"
    assert stored(read, table, mine)[column] == wrong
    theirs = read.runtime.token_store.get(other)
    assert theirs is not None
    assert theirs.access.reveal() == "access-of-the-other-client"
    store(read, table, mine, **{column: right})
    read.restart()


# --- D15 -------------------------------------------------------------------------------------------------------------


class Telltale:
    """Stands before a server and answers with everything it was told, and what it knows."""

    def __init__(self, app: ASGIApp, answer: Callable[[str], Response], match: str = "/") -> None:
        self._app, self._answer, self._match = app, answer, match
        self.told = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._match not in scope["path"]:
            await self._app(scope, receive, send)
            return
        self.told += 1
        request = Request(scope, receive)
        heard = f"{request.url} {dict(request.headers)} {(await request.body()).decode(errors='replace')}"
        await self._answer(heard)(scope, receive, send)


def refusing(status: int) -> Callable[[str], Response]:
    return lambda heard: PlainTextResponse(f"you sent {heard}", status)


def as_json(status: int) -> Callable[[str], Response]:
    def answer(heard: str) -> Response:
        text = heard.replace("\\", "").replace('"', "'")
        body = f'{{"error": "invalid_grant {text}", "error_description": "{text}", "message": "{text}"}}'
        return Response(body, status, media_type="application/json")

    return answer


ANSWERS: dict[str, Callable[[str], Response]] = {
    "a page": lambda heard: Response(f"<html>{heard}</html>", 200, media_type="text/html"),
    "400": refusing(400),
    "401": refusing(401),
    "403": as_json(403),
    "400 as JSON": as_json(400),
    "429": refusing(429),
    "500": refusing(500),
    "not what was asked for": as_json(200),
    "elsewhere": lambda heard: RedirectResponse(f"http://127.0.0.1:9/?{heard.replace(' ', '&')[:2000]}"),
}


class Log(leaks.Watch):
    """A watch that keeps the lines as well."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def write(self, text: str) -> int:
        self.kept.append(text)
        return super().write(text)


@pytest.fixture
def log() -> Iterator[Log]:
    with Log().listening() as watch:
        assert isinstance(watch, Log)
        yield watch


def shown(world: FaultyWorld, log: Log, *errors: BaseException | None) -> str:
    """Whatever can be seen by anybody: the log, errors with their tracebacks, the database, what was sent."""
    told = [text for error in errors if error for text in (str(error), repr(error), *traceback.format_exception(error))]
    return "\n".join([*log.kept, *told, str(everything(world)), str(world.receiver.history), str(world.mirror())])


def secrets_of(world: FaultyWorld, *before: str | None) -> list[str]:
    """The very strings, apart from their form."""
    office = world.simulator.office
    live = [*before, office.newest, office._refresh, world.simulator.settings.client_secret, SECRET]
    return [secret for secret in live if secret]


def nothing_leaked(world: FaultyWorld, text: str, secrets: list[str]) -> None:
    assert [secret[:10] for secret in secrets if secret in text] == []
    assert leaks.in_output(text) is None


@pytest.mark.parametrize("way", ANSWERS)
@pytest.mark.parametrize("where", ["/api/", "/api/oauth2/token"], ids=["data", "token endpoint"])
def test_d15_a_package_that_repeats_what_it_heard_makes_nothing_known(
    world: FaultyWorld, log: Log, way: str, where: str
) -> None:
    secrets = secrets_of(world)
    world.clock.advance(DAY)  # the access token is old: both addresses are asked
    telltale = world.town.package.app = Telltale(world.rewriter, ANSWERS[way], where)
    first, second = world.cycle(), world.cycle()
    assert telltale.told
    assert first.outcome != "ok"
    nothing_leaked(world, shown(world, log, first.error, second.error), secrets_of(world, *secrets))
    assert any("connection" in line for line in log.kept)


@pytest.mark.parametrize("way", ANSWERS)
def test_d15_a_backend_that_repeats_what_it_heard_makes_nothing_known(world: FaultyWorld, log: Log, way: str) -> None:
    world.cycle()
    telltale = world.town.backend.app = Telltale(
        world.receiver.app, lambda heard: ANSWERS[way](f"{heard} and we sign with {SECRET}")
    )
    reports = [world.deliver()]
    world.clock.advance(DAY)
    reports.append(world.deliver())
    assert telltale.told
    attempts = str(destinations.attempts(world.store, DESTINATION)) + str(backlog.dead(world.store))
    nothing_leaked(world, shown(world, log) + str(reports) + attempts, secrets_of(world))


def test_d15_an_error_of_the_program_itself_makes_nothing_known(
    world: FaultyWorld, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback with a token in its message, and another in a local variable."""
    token = world.runtime.token_store.get(world.linked.id)
    assert token is not None

    async def identify(_: object) -> None:
        held = token.access.reveal()
        raise RuntimeError(f"cannot send {held}: Authorization: Bearer {held}")

    package = packages()["exactonline"]
    monkeypatch.setattr(package.adapter, "identify", identify)
    with pytest.raises(RuntimeError) as raised:
        world.town.run(_verified(world))
    structlog.get_logger().error("program.bug", exc_info=raised.value)
    text = "\n".join(log.kept)
    assert "cannot send ***" in text
    nothing_leaked(world, text + str(everything(world)), secrets_of(world))


async def _verified(world: FaultyWorld) -> None:
    async with world.runtime.adapter(NAME) as adapter:
        await world.runtime.verified(NAME, adapter)


def test_d15_the_watch_sees_what_it_should(tmp_path: Path, world: FaultyWorld) -> None:
    """Or all the silence above proves nothing."""
    watch = leaks.Watch()
    with watch.listening():
        structlog.get_logger().debug("told", body=f"x access.{'0' * 40} x")
        structlog.get_logger().info("told", body=f"x {world.simulator.settings.client_secret} x")
    assert len(watch.taken()) == 1, "the second one is a secret of this process and was masked"
    files, database = leaks.Files(tmp_path), tmp_path / "connector.db"
    database.write_bytes(b"SQLite\0canary-of-something")
    assert len(files.leaks()) == 1
    assert files.leaks() == [], "once"
    database.unlink()
    assert leaks.in_output(f"key: connector_0123abcd_{'x' * 43}")


# --- changing the key ------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(door: Path, tmp_path: Path, unused_tcp_port: int) -> Iterator[Desk]:
    with servers(customers=1, invoices=2) as around:
        yield Desk(tmp_path, around, unused_tcp_port, door)


@contextlib.contextmanager
def daemon(desk: Desk) -> Iterator["subprocess.Popen[str]"]:
    """Not forked from the nursery: its process is the program's own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "connector", "run"],
        cwd=desk.folder,
        env=os.environ | desk.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: healthy(desk) or process.poll() is not None)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            process.communicate()


def test_the_master_key_changes_beside_a_running_daemon(desk: Desk) -> None:
    desk.linked()
    old = desk.key.read_text().split()[0]
    assert desk.run("sync").code == 0
    (desk.folder / "connector.db").chmod(0o644)
    with daemon(desk) as process:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4] == "0"
        rotated = desk.run("secrets", "rotate", "--new-key")
        assert (rotated.code, "2 data keys put under master key" in rotated.out) == (0, True), rotated
        verified = desk.run("secrets", "verify", "--json")
        assert (verified.code, verified.json()["unused"], verified.json()["problems"]) == (0, [old], [])
        assert f"nothing needs master key {old} any more" in desk.run("secrets", "verify").out
        new = desk.key.read_text().splitlines()[0]
        desk.key.write_text(new + "\n")
        assert get(desk, "/readyz").status_code == 200
        done = desk.end(process, signal.SIGTERM)
    assert done.code == 0
    lines = [json.loads(line) for line in done.err.splitlines()]
    warned = [line["path"] for line in lines if line["event"] == "file.readable_by_others"]
    assert str(desk.folder / "connector.db") in warned
    assert stat.S_IMODE(desk.key.stat().st_mode) == 0o600
    assert desk.run("sync").code == 0


def test_a_rotation_that_is_killed_is_finished_by_the_next(victim: Victim) -> None:
    victim.linked()
    old = victim.key.read_text().split()[0]
    victim.killed("rekey.mid", 1, "secrets", "rotate", "--new-key")
    between = victim.run("secrets", "verify", "--json")
    assert (between.code, sorted(between.json()["master_keys"].values())) == (0, [1, 1])
    assert victim.run("sync").code == 0, "both keys are there, and either will do"
    assert victim.run("secrets", "rotate", "--data-keys").code == 0
    assert victim.run("secrets", "verify", "--json").json()["unused"] == [old]


def test_what_does_not_decrypt_is_named_with_what_to_do(desk: Desk) -> None:
    desk.linked()
    with desk.database() as store_, store_.write() as connection:
        connection.execute(sa.update(TABLES["token"]).values(access_ct="v1.d1.AAAA.AAAA"))
    done = desk.run("secrets", "verify")
    assert done.code == 4
    assert "token.access of connection 1" in done.err
    assert "what to do" in done.err
    assert "may be removed" not in done.out


def test_what_the_program_writes_is_for_its_user_alone(desk: Desk) -> None:
    assert desk.run("status").code == 0
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in desk.folder.glob("connector.db*")}
    assert modes == dict.fromkeys(modes, 0o600)
    assert "connector.db" in modes
