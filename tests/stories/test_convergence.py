"""Whatever happens, once it is over the mirror equals the books.

A state machine lets bookkeeping happen, lets the package and the backend misbehave, kills the process in the middle
of its work and moves the clock. After each step the receiver's history must be in order, and nothing may be mirrored
that the books never said; at the end, with all faults over, two cycles must bring mirror and books together.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import hypothesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapters.simulation import Bookkeeper, BookkeepingError, generate
from connector.clock import Clock
from connector.mirror import MONEY
from connector.receiver import Fault
from tests.clocks import ManualClock
from tests.stories.order import broken
from tests.stories.world import DAY, HOUR, MINUTE, Town, World

EXAMPLES, STEPS = 4, 14
"""In the quick profile; a nightly run makes its own number of examples, and longer ones."""

ACTS = Bookkeeper(generate(seed=1, customers=1, invoices=1, today=ManualClock().now().date())).names
ENDPOINTS = (
    "/api/v1/",
    "system/Divisions",
    "bulk/Cashflow/Receivables",
    "financial/ReportingBalance",
    "sync/Financial/TransactionLines",
    "sync/Cashflow/PaymentTerms",
    "sync/CRM/Accounts",
    "sync/Deleted",
)
SPOILING = (
    "html", "truncate", "empty", "invalid_utf8", "drop", "reset", "redirect", "foreign_next", "loop_next",
    "wrong_division_rows", "repeat_rows", "reverse_rows",
)  # fmt: skip
STATUSES = (400, 401, 403, 404, 408, 429, 500, 502, 503)

SWITCHES = (
    "duplicate_ids", "shuffle_sync", "split_keeps_matched", "replace_terms_on_edit", "byte_order_mark",
    "plain_envelope", "opening_rows", "old_refresh_token_lives", "access_token_survives",
)  # fmt: skip
"""What nobody knows for certain of the package, or what changes from one administration to the next."""

switches = st.fixed_dictionaries(
    {"receivable_sign": st.sampled_from((-1, 1))}, optional={name: st.booleans() for name in SWITCHES}
)
times = st.integers(1, 3)
place = st.sampled_from(("before", "inside", "after"))
act = st.sampled_from(ACTS)
some = {"match": st.sampled_from(ENDPOINTS), "times": times, "after": st.integers(0, 2)}
package_fault = st.one_of(
    st.fixed_dictionaries({"kind": st.sampled_from(SPOILING), **some}),
    st.fixed_dictionaries({"kind": st.just("status"), "status": st.sampled_from(STATUSES), **some}),
    st.fixed_dictionaries({"kind": st.just("bad_row"), "row": st.integers(0, 6), **some}),
    # Rows are hidden from a feed, never from the answer to a question by key, which is believed.
    st.fixed_dictionaries({"kind": st.just("no_rows"), "match": st.sampled_from(("sync/", "Status"))}),
)
concerned = st.sampled_from(("", "customer/", "invoice/", "payment/", "freshness"))
backend_fault = st.one_of(
    st.builds(Fault, times=times, match=concerned, status=st.sampled_from((408, 413, 500, 503)), applied=st.booleans()),
    st.builds(Fault, times=times, match=concerned, status=st.just(429), headers=st.just({"Retry-After": "90"})),
    st.builds(Fault, times=times, match=concerned, broken=st.just(value=True), applied=st.booleans()),
    st.builds(Fault, times=times, match=concerned, verdict=st.sampled_from(("retry_later", "rejected"))),
)


class Convergence(RuleBasedStateMachine):
    """One connection through good and bad days."""

    def __init__(self, open_world: Callable[[int, Clock, dict[str, Any]], World]) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.open_world = open_world
        self.said: dict[str, set[tuple[Decimal, Decimal]]] = defaultdict(set)
        """Total and open amount of each item as the books ever had them."""

    @initialize(seed=st.integers(0, 1_000), switches=switches)
    def link(self, seed: int, switches: dict[str, Any]) -> None:
        self.world = self.open_world(seed, self.clock, switches)
        self.listen()

    @rule(names=st.lists(act, min_size=1, max_size=6))
    def book(self, names: list[str]) -> None:
        for name in names:
            self.perform(name)

    @rule(name=act)
    def good_days(self, name: str) -> None:
        """Everything comes to rest; what is booked then must arrive by itself."""
        self.converge()
        self.perform(name)
        self.converge()

    @rule(full=st.booleans(), deliver=st.booleans())
    def sync(self, full: bool, deliver: bool) -> None:
        self.world.cycle(full=full)
        if deliver:
            self.world.deliver()

    @rule(names=st.lists(act, min_size=2, max_size=4), request=st.integers(1, 14))
    def book_while_reading(self, names: list[str], request: int) -> None:
        for later, name in enumerate(names):
            self.world.town.package.after(request + later, partial(self.perform, name))
        self.world.cycle()

    @rule(at=st.integers(1, 60), place=place)
    def die_in_a_cycle(self, at: int, place: str) -> None:
        self.world.dying(self.world.cycle, at=at, place=place)

    @rule(at=st.integers(1, 9), place=place)
    def die_delivering(self, at: int, place: str) -> None:
        self.world.dying(self.world.deliver, at=at, place=place)

    @rule(fault=package_fault)
    def package_misbehaves(self, fault: dict[str, Any]) -> None:
        self.world.simulator.faults.add(**fault)
        self.world.cycle()

    @rule(name=act, fault=backend_fault)
    def backend_misbehaves(self, name: str, fault: Fault) -> None:
        self.perform(name)
        self.world.receiver.faults.append(fault)
        self.world.cycle()
        self.world.deliver()

    @rule(seconds=st.sampled_from((MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 8 * DAY)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def division_moves(self) -> None:
        self.clock.advance(1)
        self.world.simulator.move_division()

    @invariant()
    def history_is_in_order(self) -> None:
        if hasattr(self, "world"):
            assert broken(self.world.receiver.history) == []

    @invariant()
    def nothing_is_mirrored_that_the_books_never_said(self) -> None:
        if hasattr(self, "world"):
            assert list(self.inventions()) == []

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.converge()
            finally:
                self.world.close()

    def converge(self) -> None:
        """All faults are over: a person looks once, and after two cycles everything is equal."""
        world = self.world
        world.town.package.acts.clear()
        world.simulator.faults.clear()
        world.receiver.faults.clear()
        self.clock.advance(2 * DAY)
        assert not world.reconnect() or world.deaths
        world.tend()
        for _ in range(2):
            report = world.cycle()
            world.deliver()
            self.clock.advance(DAY)
        assert (report.outcome, report.error) == ("ok", None), report.closing and report.closing.blocking
        assert report.closing is not None
        total = report.closing.freshness.control_total
        assert total is not None
        assert total.ledger is not None, "the ledger was not asked"
        assert not total.difference
        assert world.deliver().ended == "drained"
        assert world.differences() == []
        self.history_is_in_order()
        assert world.simulator.violations.keys() <= {"errors_in_budget"}, "rules of the package were broken"

    def perform(self, name: str) -> None:
        self.clock.advance(7)
        with contextlib.suppress(BookkeepingError):
            self.world.book(name)
        self.listen()

    def listen(self) -> None:
        for key, item in self.world.simulator.books.truth()["items"].items():
            sign = -1 if item["kind"] in MONEY else 1
            self.said[key].add((sign * Decimal(item["total"]), sign * Decimal(item["open"])))

    def inventions(self) -> Iterator[str]:
        mirror = self.world.mirror()
        for kind, total, open_ in (("invoices", "total", "open"), ("payments", "amount", "unallocated")):
            for key, record in mirror[kind].items():
                amounts = Decimal(record[total]), Decimal(record[open_])
                if amounts not in self.said[key]:
                    yield f"{kind} {key}: {amounts} of {sorted(self.said[key])}"


def test_the_mirror_converges(town: Town, store_url: str) -> None:
    quick = hypothesis.settings.get_profile("quick")
    profile = hypothesis.settings()
    if profile.max_examples == quick.max_examples:
        profile = hypothesis.settings(profile, max_examples=EXAMPLES, stateful_step_count=STEPS)

    def open_world(seed: int, clock: Clock, switches: dict[str, Any]) -> World:
        return World(town, store_url, seed=seed, clock=clock, switches=switches)

    run_state_machine_as_test(
        lambda: Convergence(open_world),  # type: ignore[arg-type]  # typed as a class, but any factory will do
        settings=hypothesis.settings(profile, suppress_health_check=list(HealthCheck)),
    )
