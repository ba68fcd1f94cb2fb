"""Changing the keys: everything stays readable, whatever happens meanwhile, and nothing that is damaged is touched."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from connector import rotation
from connector.adapter import BadRow
from connector.master_keys import Keyring, MasterKey
from connector.secrets import Secret
from connector.store import connections, quarantine, sealed
from connector.store.data_keys import StoredDataKeys
from connector.store.engine import Store
from connector.store.tables import Base
from connector.store.tokens import Grant, TokenStore
from connector.vault import NOBODY, Vault
from tests.clocks import ManualClock

OLD, NEW = MasterKey("old", bytes(32)), MasterKey("new", bytes(range(32)))
NOW = ManualClock().now()
TABLES = Base.metadata.tables
CLIENTS = ("ada", "bob", "cor")


def vault(store: Store, *keys: MasterKey) -> Vault:
    return Vault(Keyring(lambda: keys), StoredDataKeys(store))


@pytest.fixture
def old(store: Store) -> Vault:
    """Three clients who signed in under the old master key, one with something in quarantine."""
    ours = vault(store, OLD)
    ours.check_key()
    for name in CLIENTS:
        linked = connections.register(store, name=name, package="p", administration=name, destination="d", now=NOW)
        ours.prepare([linked.id])
        grant = Grant(
            access=Secret(f"access-of-{name}"),
            refresh=Secret(f"refresh-of-{name}"),
            granted_at=NOW,
            expires_at=NOW + timedelta(minutes=10),
            refresh_expires_at=None,
        )
        tokens = TokenStore(store, ours)
        sealed_grant = tokens.seal(linked.id, 0, grant)
        with store.write() as connection:
            tokens.link(connection, sealed_grant)
    bad = [BadRow(kind="line", key=f"key {number}", reason="odd", payload={"n": number}) for number in range(5)]
    with store.write() as connection:
        quarantine.put(connection, store, ours, linked.id, bad, version="1", now=NOW)
    return ours


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for name, table in TABLES.items()
        }


def readable(store: Store, ours: Vault) -> bool:
    tokens = TokenStore(store, ours)
    found = [tokens.get(connections.find(store, name).id) for name in CLIENTS]
    return [one and one.refresh.reveal() for one in found] == [f"refresh-of-{name}" for name in CLIENTS]


def test_every_column_of_ciphertext_is_known() -> None:
    """`*_ct` is ciphertext: a column that nobody lists would neither be verified nor renewed."""
    there = {(name, column.name) for name, table in TABLES.items() for column in table.c if column.name.endswith("_ct")}
    assert there == {(one.table, one.name) for one in sealed.COLUMNS} | {("data_key", "key_ct")}


def test_every_data_key_goes_under_the_first_master_key(
    store: Store, old: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PORTION", 2)
    before = everything(store)
    both = vault(store, NEW, OLD)
    report = rotation.rewrap(store, both)
    assert (report.changed, report.problems) == (len(CLIENTS) + 1, [])
    changed = {name for name, rows in everything(store).items() if rows != before[name]}
    assert changed == {"data_key"}, "the values themselves stay as they are"
    assert rotation.rewrap(store, both).changed == 0
    alone = vault(store, NEW)
    alone.check_key()
    assert readable(store, alone)


def test_verify_counts_and_says_when_a_master_key_may_go(store: Store, old: Vault) -> None:
    both = vault(store, NEW, OLD)
    report = rotation.verify(store, both)
    assert (dict(report.masters), report.unused) == ({"new": 0, "old": len(CLIENTS) + 1}, ["new"])
    rotation.rewrap(store, both)
    report = rotation.verify(store, both)
    assert (dict(report.masters), report.unused) == ({"new": len(CLIENTS) + 1, "old": 0}, ["old"])
    assert +report.values == {"token.access_ct": 3, "token.refresh_ct": 3, "quarantine.payload_ct": 5}
    assert report.problems == []


def test_a_daemon_that_knows_the_old_key_only_goes_on_while_the_keys_change(store: Store, old: Vault) -> None:
    source = [OLD]
    daemon = Vault(Keyring(lambda: list(source)), StoredDataKeys(store))
    daemon.prepare([connections.find(store, "ada").id])
    source.insert(0, NEW)
    rotation.rewrap(store, vault(store, NEW, OLD))
    assert readable(store, daemon), "of the others it unwraps the data keys now, with a key it has to look up"
    daemon.check_key()
    place = sealed.Place("token", connections.find(store, "ada").id, "access")
    assert vault(store, NEW).decrypt(daemon.encrypt("written meanwhile", place), place) == "written meanwhile"


def test_what_another_process_changed_meanwhile_is_not_overwritten(store: Store, old: Vault) -> None:
    keys = StoredDataKeys(store)
    (stale, *_), *_ = list(keys.portions(10))
    both = vault(store, NEW, OLD)
    rotation.rewrap(store, both)
    again = vault(store, OLD, NEW).rewrapped(stale._replace(key_ct=keys.get(*stale[:2]).key_ct))  # type: ignore[union-attr]
    assert again is not None
    assert keys.replace([(stale, again)]) == 0
    assert rotation.verify(store, both).masters["old"] == 0


def test_a_rotation_that_was_cut_short_is_finished_by_the_next(
    store: Store, old: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = vault(store, NEW, OLD)
    monkeypatch.setattr(rotation, "PORTION", 1)
    for cut in range(len(CLIENTS) + 1):
        reached = 0

        def failpoint(_: str, cut: int = cut) -> None:
            nonlocal reached
            reached += 1
            if reached > cut:
                raise KeyboardInterrupt

        monkeypatch.setattr(rotation, "failpoint", failpoint)
        with pytest.raises(KeyboardInterrupt):
            rotation.rewrap(store, both)
        assert readable(store, both)
        canary = StoredDataKeys(store).newest(NOBODY)
        assert canary is not None
        assert canary.master == ("new" if cut == len(CLIENTS) else "old"), "the canary comes last"
    monkeypatch.undo()
    assert rotation.rewrap(store, both).changed == 0
    assert rotation.verify(store, both).unused == ["old"]


def test_what_is_damaged_is_named_left_alone_and_keeps_its_master_key(store: Store, old: Vault) -> None:
    """D14."""
    ada, bob = (connections.find(store, name).id for name in ("ada", "bob"))
    data_key, token = TABLES["data_key"], TABLES["token"]
    with store.write() as connection:
        mine = connection.execute(sa.select(data_key.c.key_ct).where(data_key.c.connection_id == ada)).scalar_one()
        connection.execute(sa.update(data_key).where(data_key.c.connection_id == bob).values(key_ct=mine))
        connection.execute(sa.update(token).where(token.c.connection_id == ada).values(access_ct="v1.d1.AAAA.AAAA"))
    both = vault(store, NEW, OLD)
    report = rotation.rewrap(store, both)
    assert [error.where for error in report.problems] == [f"data_key.d1 of connection {bob}"]
    assert report.changed == len(CLIENTS)
    verified = rotation.verify(store, both)
    assert sorted({error.where for error in verified.problems}) == sorted(
        [f"data_key.d1 of connection {bob}", f"token.access of connection {ada}"]
    )
    assert all(error.fix for error in verified.problems)
    assert verified.unused == []
    renewed = rotation.renew(store, both)
    assert renewed.problems
    kept = StoredDataKeys(store).get(bob, 1)
    assert kept is not None
    assert kept.key_ct == mine
    with store.read() as connection:
        statement = sa.select(token.c.access_ct).where(token.c.connection_id == ada)
        assert connection.execute(statement).scalar_one() == "v1.d1.AAAA.AAAA"


def test_data_keys_are_renewed_with_the_values_under_them(
    store: Store, old: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "PORTION", 2)
    report = rotation.renew(store, vault(store, OLD))
    assert (report.changed, report.problems) == (2 * len(CLIENTS) + 5, [])
    assert readable(store, vault(store, OLD))
    assert readable(store, old), "a process that runs meanwhile reads both"
    with store.read() as connection:
        stored = connection.execute(sa.select(TABLES["token"].c.refresh_ct)).scalars()
        assert {value.split(".")[1] for value in stored} == {"d2"}
