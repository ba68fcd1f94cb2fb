"""Each thing that goes wrong, as a stranger reads it: what, where, what to do, and an exit code that tells it apart."""

import os
import re
import socket
import sqlite3
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from connector import mirror
from connector.errors import ExitCode
from connector.master_keys import generate_key_file
from connector.store.tables import Base
from tests.desk import Desk, Done, Servers
from tests.nursery import RUN_AS

BACKEND_DOWN = "http://127.0.0.1:9"
NOBODY = 65_534


def explained(done: Done, code: int, *words: str) -> None:
    """The exit code, and every word somewhere in what a person reads."""
    told = done.out + done.err
    assert done.code == code, told
    assert [word for word in words if word not in told] == [], told
    assert "what to do" in told or "->" in told


def test_no_configuration(desk: Desk) -> None:
    desk.file.unlink()
    explained(desk.run("check"), 2, "cannot be read", "config.toml", "connector init")


def test_no_toml(desk: Desk) -> None:
    desk.file.write_text("[daemon]\nlisten = 127.0.0.1:80\n")
    explained(desk.run("sync"), 2, "config.toml", "line 2")


def test_several_mistakes_at_once_each_with_the_nearest_word(desk: Desk) -> None:
    text = desk.file.read_text().replace("client_id", "client_idd").replace('"webhook"', '"webhok"')
    desk.file.write_text(text.replace('package = "exactonline"', 'package = "exactonlin"'))
    done = desk.run("check")
    explained(done, 2, "apps.exactonline.client_idd", "destinations.backend.type", "connections[acme].package")
    assert done.err.count("did you mean") == 3


def test_unknown_connection(desk: Desk) -> None:
    explained(desk.run("sync", "acne"), 2, '"acne"', 'did you mean "acme"?')


def test_secret_is_not_in_the_environment(desk: Desk) -> None:
    desk.linked()
    missing = {"BACKEND_SECRET": desk.environ["BACKEND_SECRET"]}
    explained(desk.run("sync", environ=missing), 2, "EXACT_SECRET is not set", "set it")
    explained(desk.run("check", environ={}), 2, "EXACT_SECRET is not set", "BACKEND_SECRET is not set")


def test_key_file_is_missing_or_open_to_others_or_another(desk: Desk) -> None:
    desk.linked()
    kept = desk.key.read_text()
    desk.key.unlink()
    explained(desk.run("status"), 2, str(desk.key), "connector init")
    generate_key_file(desk.key)
    explained(desk.run("status"), 2, "master key", "which is not configured")
    desk.key.write_text(kept)
    desk.key.chmod(0o644)
    explained(desk.run("status"), 2, "can be read by other users", "chmod 600")


def test_init_writes_what_is_missing_and_nothing_else(desk: Desk) -> None:
    before = desk.file.read_text()
    explained(desk.run("init"), 2, "exist already")
    desk.key.unlink()
    assert desk.run("init").code == 0
    assert desk.key.exists()
    assert desk.file.read_text() == before
    explained(desk.run("init", "--config", "nowhere/config.toml"), 2, "nowhere", "create the folder")


def test_wrong_administration(desk: Desk, around: Servers) -> None:
    division = str(around.simulator.division)
    desk.configure(f'administration = "{division}"', 'administration = "777777"')
    link = desk.start("connect", "acme", "--paste")
    explained(desk.paste(link), ExitCode.PARTLY_FAILED, "777777")
    assert desk.run("status", "--json").json()["connections"][0]["linked"] is False
    desk.configure().linked()
    assert desk.run("check").code == 0, "until it is read, an administration may be corrected"
    desk.configure(f'administration = "{division}"', 'administration = "777777"')
    explained(desk.run("check"), 2, "stored as exactonline administration", "a new name")


def test_sign_in_was_revoked(desk: Desk, around: Servers) -> None:
    desk.linked()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with desk.database() as store, store.write() as connection:
        connection.execute(sa.update(Base.metadata.tables["token"]).values(refreshed_at=long_ago, expires_at=long_ago))
    around.simulator.office.revoke()
    explained(desk.run("sync"), 3, "acme", "connector connect acme")
    status = desk.run("status", "--json").json()["connections"][0]
    assert status["outcome"] == "needs_reconnect"
    assert (status["linked"], status["sign_in"]["state"], status["sign_in"]["ends_at"]) == (False, "needs_reauth", None)
    assert status["next_step"] == {"what": "sign_in", "at": None, "command": "connector connect acme"}
    assert "sign in again, unauthorized_client Old refresh token used" in " ".join(desk.run("status").out.split())


def test_backend_is_down_and_nothing_is_lost(desk: Desk, around: Servers) -> None:
    desk.linked().configure(around.backend_url, BACKEND_DOWN)
    explained(desk.run("check"), 5, "cannot be reached", BACKEND_DOWN)
    explained(desk.run("sync"), 5, "backend", "nothing is lost")
    status = desk.run("status")
    assert "failing" in status.out
    desk.configure()
    with desk.database() as store, store.write() as connection:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        connection.execute(sa.update(Base.metadata.tables["destination"]).values(due_at=tomorrow))
    assert desk.run("sync").code == 0, "a person who asks does not wait for the schedule"
    assert mirror.differences(around.mirror(), around.truth) == []


def test_package_is_down(desk: Desk, around: Servers) -> None:
    desk.linked()
    around.fault("/api/v1/", "status", status=503, times=None)
    explained(desk.run("sync"), 5, "not available", "tries again by itself")
    answer = desk.run("sync", "--json")
    assert (answer.code, answer.json()["connections"][0]["outcome"]) == (5, "unavailable")


def test_database_is_garbage_or_newer(desk: Desk) -> None:
    database = desk.folder / "connector.db"
    database.write_bytes(b"this is no database at all, but somebody's letter " * 100)
    explained(desk.run("status"), 2, "not a database", str(database))
    assert database.read_bytes().startswith(b"this is no database")
    database.unlink()
    desk.linked()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from-tomorrow'")
    connection.close()
    explained(desk.run("sync"), 2, "newer than this program", "from-tomorrow")


def test_database_cannot_be_written(desk: Desk) -> None:
    desk.linked()
    places = [desk.folder, *desk.folder.glob("connector.db*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    environ = dict(desk.environ)
    if os.geteuid() == 0:  # who may write anywhere
        environ[RUN_AS] = str(NOBODY)
        os.chown(desk.key, NOBODY, NOBODY)
        for parent in [one for one in desk.folder.parents if not one.stat().st_mode & 0o001]:
            parent.chmod(0o711)
    explained(desk.run("sync", environ=environ), 5, "readonly database", "permissions", "connector.db")
    desk.folder.chmod(0o755)


def test_port_is_taken(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", desk.port))
        taken.listen()
        explained(desk.run("run"), 2, f"127.0.0.1:{desk.port}", "choose a free port")
        explained(desk.run("receiver", "--port", str(desk.port)), 2, "choose a free port")


def test_words_that_are_no_command(desk: Desk) -> None:
    done = desk.run("sinc")
    assert (done.code, "No such command" in done.err) == (2, True)
    assert re.search(r"there is no simulator for 'snelsart'", desk.run("simulate", "snelsart").err)
    explained(desk.run("replay"), 2, "which events are meant")
    explained(desk.run("events", "--destination", "backnd"), 2, 'did you mean "backend"?')
