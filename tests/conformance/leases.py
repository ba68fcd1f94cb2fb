"""What the store does for one writer at a time, on every database: connections, feeds and quarantine. Inherit."""

from datetime import UTC, datetime, timedelta

import pytest

from connector.adapter import BadRow
from connector.errors import Busy
from connector.store import connections, feeds, quarantine
from connector.store.connections import Lease, Linked, LostLease
from connector.store.engine import Store
from connector.store.feeds import FeedState
from tests.vaults import VAULT

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
TTL = timedelta(minutes=2)
SECOND = timedelta(seconds=1)


def register(store: Store, name: str = "acme", administration: str = "1", destination: str = "d") -> Linked:
    return connections.register(
        store, name=name, package="p", administration=administration, destination=destination, now=NOW
    )


def claim(store: Store, linked: Linked, owner: str = "me", now: datetime = NOW) -> Lease:
    return connections.claim(store, linked.id, owner=owner, now=now, ttl=TTL)


def fence(store: Store, lease: Lease, now: datetime = NOW) -> None:
    with store.write() as connection:
        connections.fence(connection, lease, now=now, ttl=TTL)


def finish(store: Store, lease: Lease, *, succeeded: bool = True, outcome: str = "ok") -> None:
    due = NOW + timedelta(minutes=15)
    connections.finish(store, lease, now=NOW, next_due_at=due, outcome=outcome, reason="because", succeeded=succeeded)


def link(store: Store, linked: Linked, now: datetime = NOW) -> None:
    with store.write() as connection:
        connections.linked(connection, linked.id, now)


class ConnectionConformance:
    def test_until_it_is_linked_a_connection_may_be_corrected(self, store: Store) -> None:
        first = register(store)
        assert (first.next_due_at, first.linked_at) == (NOW, None)
        corrected = register(store, administration="2", destination="e")
        assert (corrected.id, corrected.administration, corrected.destination) == (first.id, "2", "e")
        link(store, corrected)
        kept = register(store, administration="3", destination="f")
        assert (kept.administration, kept.destination) == ("2", "f")

    def test_what_was_read_stays_with_its_administration(self, store: Store) -> None:
        linked = register(store)
        with store.write() as connection:
            connections.identified(connection, linked.id, title="Books", currency="EUR", time_zone="UTC")
        assert register(store, administration="2").administration == "1"

    def test_registering_the_same_again_writes_nothing(self, store: Store) -> None:
        register(store)
        with store.write():  # a second writer would have to wait
            assert register(store).administration == "1"

    def test_linking_makes_due_and_keeps_the_first_day(self, store: Store) -> None:
        linked = register(store)
        link(store, linked, NOW)
        link(store, linked, NOW + TTL)
        again = connections.find(store, "acme")
        assert (again.linked_at, again.next_due_at) == (NOW, NOW + TTL)

    def test_one_holds_the_lease_and_each_claim_is_a_new_cycle(self, store: Store) -> None:
        linked = register(store)
        first = claim(store, linked)
        with pytest.raises(Busy):
            claim(store, linked, "other")
        with pytest.raises(Busy):
            claim(store, linked, "other", NOW + TTL)
        finish(store, first)
        second = claim(store, linked, "other")
        assert (first.epoch, second.epoch) == (1, 2)
        assert connections.find(store, "acme").cycle == 2

    def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_commits_nothing(self, store: Store) -> None:
        linked = register(store)
        late = claim(store, linked)
        taken = claim(store, linked, "other", NOW + TTL + SECOND)
        with pytest.raises(LostLease):
            self._page(store, late)
        assert states(store, linked.id) == {}
        finish(store, late)
        assert connections.find(store, "acme").lease_until == NOW + TTL + SECOND + TTL
        fence(store, taken, NOW + TTL + SECOND)

    def _page(self, store: Store, lease: Lease) -> None:
        with store.write() as connection:
            feeds.put(connection, lease.connection_id, [FeedState(name="items", cursor="stale")])
            connections.fence(connection, lease, now=NOW + TTL, ttl=TTL)

    def test_each_page_renews_the_lease(self, store: Store) -> None:
        linked = register(store)
        lease = claim(store, linked)
        fence(store, lease, NOW + TTL)
        with pytest.raises(Busy):
            claim(store, linked, "other", NOW + TTL + SECOND)

    def test_the_end_of_a_cycle_says_how_it_went(self, store: Store) -> None:
        linked = register(store)
        for failures in (1, 2):
            finish(store, claim(store, linked), succeeded=False, outcome="unavailable")
            known = connections.find(store, "acme")
            assert (known.failures, known.outcome, known.last_success_at) == (failures, "unavailable", None)
        finish(store, claim(store, linked))
        known = connections.find(store, "acme")
        assert (known.failures, known.outcome, known.last_success_at, known.lease_until) == (0, "ok", NOW, None)
        assert known.next_due_at == NOW + timedelta(minutes=15)

    def test_due_are_the_linked_the_longest_waiting_first(self, store: Store) -> None:
        names = ("a", "b", "c", "d", "e")
        known = {name: register(store, name, administration=name) for name in names}
        for minutes, name in enumerate(("c", "b", "a", "e")):  # d is not linked
            link(store, known[name], NOW + minutes * timedelta(minutes=1))
        claim(store, known["b"], now=NOW + timedelta(minutes=2))
        now = NOW + timedelta(minutes=2)
        assert connections.due(store, names, now, 9) == ["c", "a"], "b is being worked on, e has time"
        assert connections.due(store, names, now, 1) == ["c"]
        assert connections.due(store, ["a"], now, 9) == ["a"]
        assert connections.due(store, [], now, 9) == []

    def test_what_cannot_start_waits_and_says_why(self, store: Store) -> None:
        link(store, register(store))
        connections.postpone(store, "acme", until=NOW + TTL, outcome="stopped", reason="no secret")
        assert connections.due(store, ["acme"], NOW, 9) == []
        assert connections.find(store, "acme").reason == "no secret"


def states(store: Store, connection_id: int) -> dict[str, FeedState]:
    with store.read() as connection:
        return feeds.states(connection, connection_id)


class FeedConformance:
    def test_a_state_comes_back_as_it_went_and_the_last_one_counts(self, store: Store) -> None:
        linked = register(store)
        state = FeedState(
            name="items", cursor="c" * 5000, scope="s", since=2**62, completed_at=NOW, rows=7, reason="🧾"
        )
        for put in ([FeedState(name="items"), FeedState(name="other")], [state], []):
            with store.write() as connection:
                feeds.put(connection, linked.id, put)
        assert states(store, linked.id) == {"items": state, "other": FeedState(name="other")}
        assert states(store, linked.id + 1) == {}

    def test_a_full_read_forgets_every_cursor(self, store: Store) -> None:
        linked = register(store)
        with store.write() as connection:
            feeds.put(
                connection, linked.id, [FeedState(name="items", cursor="9", since=3, completed_at=NOW, scope="s")]
            )
            feeds.restart_all(connection, linked.id)
        assert states(store, linked.id) == {"items": FeedState(name="items", scope="s")}


def bad(key: str, kind: str = "item", reason: str = "no amount") -> BadRow:
    return BadRow(kind=kind, key=key, reason=reason, payload={"key": key, "note": "🧾"})


class QuarantineConformance:
    def put(self, store: Store, linked: Linked, *found: BadRow, group: str = "", now: datetime = NOW) -> None:
        with store.write() as connection:
            quarantine.put(connection, store, VAULT, linked.id, found, group=group, version="1", now=now)

    def keys(self, store: Store, linked: Linked) -> list[str]:
        return [item.key for item in quarantine.newest(store, linked.id, 99).items]

    def test_what_is_known_is_renewed_and_the_newest_come_first(self, store: Store) -> None:
        linked = register(store)
        self.put(store, linked, bad("a"), bad("b"), bad("b", reason="worse"))
        large = BadRow(kind="item", key="a", reason="later", payload={"note": "🧾" * 40_000})
        self.put(store, linked, large, now=NOW + SECOND)
        found = quarantine.newest(store, linked.id, 1)
        assert (found.count, [(item.key, item.reason) for item in found.items]) == (2, [("a", "later")])
        assert quarantine.newest(store, linked.id, 0).count == 2
        assert quarantine.newest(store, linked.id + 1, 9).count == 0

    def test_what_was_read_well_is_cured(self, store: Store) -> None:
        linked = register(store)
        many = [bad(str(number)) for number in range(1200)]
        self.put(store, linked, *many, bad("0", kind="other"))
        with store.write() as connection:
            quarantine.cured(connection, linked.id, kind="item", keys=[item.key for item in many])
        assert [(item.kind, item.key) for item in quarantine.newest(store, linked.id, 9).items] == [("other", "0")]

    def test_a_group_that_is_assembled_anew_starts_without_faults(self, store: Store) -> None:
        linked = register(store)
        self.put(store, linked, bad("a"), group="c1")
        self.put(store, linked, bad("b"), group="c2")
        self.put(store, linked, bad("row"))
        with store.write() as connection:
            quarantine.cured_groups(connection, linked.id, ["c1", "", *map(str, range(1200))])
        assert self.keys(store, linked) == ["b", "row"]
