"""The outbox: what is written, in which order it may go, and what a person can do about it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa

from connector.domain.events import FRESHNESS, QUARANTINED, REAUTH_REQUIRED, SYNC_COMPLETED
from connector.store import backlog, connections, destinations, outbox
from connector.store.backlog import Selection
from connector.store.engine import Store
from connector.store.outbox import Claimed, Mark, NewEvent
from tests.clocks import ManualClock

NOW = ManualClock().now()
LATER = NOW + timedelta(minutes=10)
SOURCE = "urn:connector:acme:simulated:1"
MANY = 1_000


@pytest.fixture
def acme(store: Store) -> int:
    return connect(store, "acme")


def connect(store: Store, name: str) -> int:
    destinations.resume(store, "dunning")  # known from its first delivery on
    linked = connections.register(
        store, name=name, package="simulated", administration="1", destination="dunning", now=NOW
    )
    return linked.id


def customer(name: str, version: int = 1) -> NewEvent:
    return _event("customer", name, version, f"1/{name}")


def invoice(name: str, version: int = 1, of: str = "c", verb: str = "upserted") -> NewEvent:
    return _event("invoice", name, version, f"1/{of}", verb)


def barrier(version: int = 1, event_type: str = FRESHNESS) -> NewEvent:
    data = b'{"meta":{"entity_version":%d},"record":{}}' % version
    return NewEvent(
        type=event_type,
        entity=event_type.split(".")[1],
        external_id="1",
        entity_version=version,
        ordering_key="1",
        barrier=True,
        data=data,
    )


def _event(entity: str, name: str, version: int, key: str, verb: str = "upserted") -> NewEvent:
    return NewEvent(
        type=f"ar.{entity}.{verb}.v1",
        entity=entity,
        external_id=name,
        entity_version=version,
        ordering_key=key,
        data=b'{"meta":{"entity_version":%d},"record":{"external_id":"%s"}}' % (version, name.encode()),
    )


def write(store: Store, connection_id: int, *events: NewEvent, source: str = SOURCE) -> None:
    with store.write() as connection:
        outbox.append(
            connection, connection_id=connection_id, destination="dunning", source=source, events=events, now=NOW
        )


def claim(store: Store, limit: int = MANY, size: int = 10**9, now: datetime = NOW) -> list[Claimed]:
    with store.write() as connection:
        return outbox.claim(connection, "dunning", limit, size, now)


def mark(store: Store, events: Sequence[Claimed], state: outbox.State, due_at: datetime | None = None) -> None:
    with store.write() as connection:
        outbox.mark(connection, [Mark(id=event.id, state=state, due_at=due_at) for event in events], NOW)


def names(events: Sequence[Claimed]) -> list[str]:
    return [
        f"{event.external_id}{msgspec.json.decode(event.body)['data']['meta']['entity_version']}" for event in events
    ]


def claimable(store: Store) -> bool:
    with store.read() as connection:
        return outbox.any_due(connection, "dunning", NOW)


def test_an_event_is_a_cloud_event_with_the_next_sequence_and_an_id_of_its_own(store: Store, acme: int) -> None:
    write(store, acme, customer("c"), invoice("i"))
    write(store, acme, invoice("j"))
    claimed = claim(store)
    bodies = [msgspec.json.decode(event.body) for event in claimed]
    assert [body["sequence"] for body in bodies] == [f"{n:020d}" for n in (1, 2, 3)]
    assert [body["id"] for body in bodies] == [event.event_id for event in claimed]
    assert len({event.event_id for event in claimed}) == 3
    assert bodies[1]["subject"] == "invoice/i"
    assert bodies[1]["partitionkey"] == "1/c"
    assert bodies[1]["data"] == {"meta": {"entity_version": 1}, "record": {"external_id": "i"}}


def test_writing_nothing_costs_no_sequence_number(store: Store, acme: int) -> None:
    write(store, acme)
    assert connections.find(store, "acme").sequence == 0


def test_a_newer_version_takes_the_place_of_one_that_was_never_sent(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", 1), invoice("j", 1))
    write(store, acme, invoice("i", 2))
    write(store, acme, invoice("i", 3))
    assert names(claim(store)) == ["j1", "i3"]


def test_what_was_sent_once_never_changes(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", 1))
    first = claim(store)
    write(store, acme, invoice("i", 2))
    again = claim(store)
    assert names(again) == ["i1"]
    assert [event.body for event in again] == [event.body for event in first]


def test_a_removal_is_told_even_when_the_item_came_back(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", 1), invoice("i", 2, verb="removed"))
    write(store, acme, invoice("i", 3))
    assert names(claim(store)) == ["i2"], "the removal stands, the version before it went"


def test_a_customer_is_introduced_before_its_invoices_however_often_it_changes(store: Store, acme: int) -> None:
    write(store, acme, customer("c", 1), invoice("i"))
    write(store, acme, customer("c", 2))
    write(store, acme, customer("c", 3))
    first = claim(store)
    assert names(first) == ["c1", "i1"]
    mark(store, first, "delivered")
    assert names(claim(store)) == ["c3"]


def test_only_the_newest_freshness_is_told_and_only_of_the_same_administration(store: Store, acme: int) -> None:
    bikes = connect(store, "bikes")
    write(store, acme, barrier(1), barrier(1, SYNC_COMPLETED))
    write(store, bikes, barrier(7), source="urn:other")
    write(store, acme, barrier(2))
    assert sorted(names(claim(store))) == ["11", "12", "17"]
    assert [event.entity_version for event in backlog.pending(store)] == [1, 7, 2]


def test_a_batch_ends_at_its_limits_and_is_never_empty(store: Store, acme: int) -> None:
    write(store, acme, *(invoice(name, of=name) for name in "abcd"))
    size = len(claim(store, limit=1)[0].body)
    assert names(claim(store, limit=3)) == ["a1", "b1", "c1"]
    assert names(claim(store, size=2 * size)) == ["a1", "b1"]
    assert names(claim(store, size=1)) == ["a1"]


@pytest.mark.parametrize(("state", "due_at"), [("dead", None), ("waiting", NOW + timedelta(seconds=1))])
def test_nothing_overtakes_within_a_key_and_other_keys_flow(
    store: Store, acme: int, state: outbox.State, due_at: datetime | None
) -> None:
    write(store, acme, invoice("i", of="c"), invoice("j", of="c"), invoice("k", of="d"))
    mark(store, claim(store, limit=1), state, due_at)
    assert names(claim(store)) == ["k1"]


def test_what_waits_goes_first_when_its_time_has_come(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", of="c"), invoice("j", of="c"))
    mark(store, claim(store, limit=1), "waiting", LATER)
    assert claim(store) == []
    assert not claimable(store)
    assert names(claim(store, now=LATER)) == ["i1", "j1"]


def test_one_version_of_an_entity_at_a_time_and_nothing_of_its_key_behind_the_next(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", 1))
    claim(store)
    write(store, acme, invoice("i", 2), invoice("j"), invoice("k", of="d"))
    first = claim(store)
    assert names(first) == ["i1", "k1"]
    mark(store, first, "delivered")
    assert names(claim(store)) == ["i2", "j1"]


def test_an_item_that_moved_to_another_customer_waits_for_its_former_version(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", 1, of="c"))
    stuck = claim(store)
    mark(store, stuck, "dead")
    write(store, acme, invoice("i", 2, of="d"), invoice("j", of="d"), invoice("k", of="e"))
    assert names(claim(store)) == ["k1"]
    assert backlog.skip(store, Selection(event_ids=[stuck[0].event_id])) == 1
    assert names(claim(store)) == ["i2", "j1", "k1"]


def test_keys_of_different_administrations_do_not_hold_each_other(store: Store, acme: int) -> None:
    bikes = connect(store, "bikes")
    write(store, acme, invoice("i", of="c"))
    mark(store, claim(store), "dead")
    write(store, bikes, invoice("i", of="c"), source="urn:other")
    assert [event.connection_id for event in claim(store)] == [bikes]


def test_a_barrier_waits_for_everything_before_it_of_its_connection_only(store: Store, acme: int) -> None:
    bikes = connect(store, "bikes")
    write(store, acme, invoice("i"), barrier(1))
    write(store, bikes, barrier(1), source="urn:other")
    first = claim(store)
    assert [event.connection_id for event in first] == [acme, bikes]
    assert names(first) == ["i1", "11"]
    mark(store, first[:1], "dead")
    mark(store, first[1:], "delivered")
    write(store, acme, invoice("k", of="d"))
    assert names(claim(store)) == ["k1"], "events may pass a barrier, it may pass none"
    assert backlog.replay(store, Selection(dead_only=True)) == 1
    mark(store, claim(store), "delivered")
    assert [event.type for event in claim(store)] == [FRESHNESS]


def test_barriers_travel_together_and_never_past_one_another(store: Store, acme: int) -> None:
    write(store, acme, barrier(1), barrier(1, SYNC_COMPLETED))
    first, second = claim(store)
    assert (first.type, second.type) == (FRESHNESS, SYNC_COMPLETED)
    with store.write() as connection:
        outbox.mark(connection, [Mark(id=first.id, state="waiting", due_at=LATER, refused=1)], NOW)
    assert names(claim(store)) == [], "the second waits with the first"
    write(store, connect(store, "bikes"), invoice("i"), source="urn:other")
    assert names(claim(store)) == ["i1"]


def test_a_barrier_waits_for_the_one_of_the_cycle_before_whose_fate_is_unknown(store: Store, acme: int) -> None:
    write(store, acme, barrier(1), barrier(1, SYNC_COMPLETED))
    lost = claim(store)
    write(store, acme, barrier(2), barrier(2, QUARANTINED), barrier(2, SYNC_COMPLETED))
    assert claim(store) == lost, "nothing of the next cycle beside it, also no barrier that had none before"
    mark(store, lost, "delivered")
    assert [event.type for event in claim(store)] == [FRESHNESS, QUARANTINED, SYNC_COMPLETED]


def test_a_barrier_that_waits_does_not_keep_back_what_a_person_must_know(store: Store, acme: int) -> None:
    write(store, acme, invoice("i"), barrier(1))
    mark(store, claim(store), "dead")
    write(store, acme, msgspec.structs.replace(barrier(2, REAUTH_REQUIRED), barrier=False))
    assert [event.type for event in claim(store)] == [REAUTH_REQUIRED]


def test_an_event_that_was_refused_travels_alone(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", of="c"), invoice("j", of="d"), invoice("k", of="c"))
    refused = claim(store, limit=1)
    with store.write() as connection:
        outbox.mark(connection, [Mark(id=refused[0].id, state="waiting", due_at=LATER, refused=1)], NOW)
    assert names(claim(store)) == ["j1"]
    assert names(claim(store, now=LATER)) == ["i1"]


def test_a_long_queue_is_searched_to_its_end(store: Store, acme: int) -> None:
    write(store, acme, invoice("i", 1, of="c"))
    claim(store)
    write(store, acme, invoice("i", 2, of="c"), *(invoice(f"j{n}", of="c") for n in range(20)), invoice("k", of="d"))
    assert names(claim(store, limit=2)) == ["i1", "k1"]


def test_what_is_rolled_back_leaves_nothing(store: Store, acme: int) -> None:
    with store.engine.connect() as connection:
        outbox.append(
            connection, connection_id=acme, destination="dunning", source=SOURCE, events=[invoice("i")], now=NOW
        )
        connection.rollback()
    assert claim(store) == []
    assert connections.find(store, "acme").sequence == 0


class TestBacklog:
    """What a person sees and does."""

    def test_lists_what_waits_and_what_is_dead(self, store: Store, acme: int) -> None:
        write(store, acme, invoice("i", of="c"), invoice("j", of="d"), invoice("k", of="e"))
        first, second, _ = claim(store)
        with store.write() as connection:
            marks = [
                Mark(id=first.id, state="dead", reason="no such currency"),
                Mark(id=second.id, state="waiting", due_at=LATER),
            ]
            outbox.mark(connection, marks, NOW)
        assert [(e.external_id, e.reason) for e in backlog.dead(store)] == [("i", "no such currency")]
        assert [(e.external_id, e.state, e.due_at) for e in backlog.pending(store)] == [
            ("j", "waiting", LATER),
            ("k", "pending", None),
        ]
        assert [(c.state, c.events, c.oldest) for c in backlog.counts(store)] == [
            ("dead", 1, NOW),
            ("pending", 1, NOW),
            ("waiting", 1, NOW),
        ]

    @pytest.mark.parametrize(
        ("selection", "expected"),
        [
            (Selection(entity="invoice", external_id="j"), ["j1"]),
            (Selection(dead_only=True), ["i1"]),
            (Selection(since=NOW, until=LATER), ["i1", "j1", "k1"]),
            (Selection(since=LATER), []),
            (Selection(destination="elsewhere"), []),
            (Selection(connection_id=-1), []),
        ],
    )
    def test_replays_in_order_with_the_same_bytes(
        self, store: Store, acme: int, selection: Selection, expected: list[str]
    ) -> None:
        write(store, acme, invoice("i", of="c"), invoice("j", of="d"), invoice("k", of="e"))
        sent = claim(store)
        mark(store, sent[:1], "dead")
        mark(store, sent[1:], "delivered")
        assert backlog.replay(store, selection) == len(expected)
        again = claim(store)
        assert names(again) == expected
        assert {event.body for event in again} <= {event.body for event in sent}

    def test_a_replayed_event_does_not_overtake_a_newer_one(self, store: Store, acme: int) -> None:
        write(store, acme, invoice("i", 1))
        mark(store, claim(store), "delivered")
        write(store, acme, invoice("i", 2))
        backlog.replay(store, Selection(entity="invoice"))
        assert names(claim(store)) == ["i1"], "version 2 follows when version 1 is through"

    def test_a_superseded_version_is_not_replayed(self, store: Store, acme: int) -> None:
        write(store, acme, invoice("i", 1))
        write(store, acme, invoice("i", 2))
        mark(store, claim(store), "delivered")
        assert backlog.replay(store, Selection()) == 1


def test_a_claim_reads_indexes_only(store: Store, acme: int) -> None:
    """A scan of the whole outbox would pass every other test and be too slow with the first real client."""
    if not store.is_sqlite:
        pytest.skip("PostgreSQL chooses by statistics")
    asked = outbox._eligible().params(to="dunning", after=0, now=NOW, chunk=200)
    statement = asked.compile(store.engine, compile_kwargs={"literal_binds": True})
    with store.read() as connection:
        plan = [row[3] for row in connection.execute(sa.text(f"EXPLAIN QUERY PLAN {statement}"))]
    searches = {line.split(" (")[0] for line in plan if "INDEX" in line}
    assert searches == {
        "SEARCH outbox USING INDEX outbox_queue",
        "SEARCH held USING INDEX outbox_held",
        "SEARCH older USING INDEX outbox_connection",
        "SEARCH sibling USING INDEX outbox_entity",
    }
    assert not [line for line in plan if line.startswith("SCAN")]
