"""Whatever happens, once it is over the mirror equals the books.

A state machine lets bookkeeping happen, lets the package and the backend misbehave, kills the process in the middle
of its work and moves the clock. After each step the receiver's history must be in order, and nothing may be mirrored
that the books never said; at the end, with all faults over, two cycles must bring mirror and books together.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
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

EXAMPLES, STEPS = 6, 20
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
endpoint = st.sampled_from(ENDPOINTS)
times = st.integers(1, 3)
nth_write = st.integers(1, 60)
place = st.sampled_from(("before", "inside", "after"))
act = st.sampled_from(ACTS)
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

    @rule(name=act)
    def book(self, name: str) -> None:
        self.clock.advance(7)
        try:
            self.world.simulator.bookkeeper.perform(name)
        except BookkeepingError:
            return
        self.listen()

    @rule()
    def cycle(self) -> None:
        self.world.cycle()

    @rule()
    def read_everything(self) -> None:
        self.world.cycle(full=True)

    @rule(first=act, second=act, request=st.integers(1, 16))
    def book_while_reading(self, first: str, second: str, request: int) -> None:
        self.world.town.package.after(request, lambda: self.book(first))
        self.world.town.package.after(request + 2, lambda: self.book(second))
        self.world.cycle()

    @rule()
    def deliver(self) -> None:
        self.world.deliver()

    @rule(at=nth_write, place=place)
    def die_in_a_cycle(self, at: int, place: str) -> None:
        self.world.dying(self.world.cycle, at=at, place=place)

    @rule(at=st.integers(1, 9), place=place)
    def die_delivering(self, at: int, place: str) -> None:
        self.world.dying(self.world.deliver, at=at, place=place)

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(match=endpoint, kind=st.sampled_from(SPOILING), times=times, after=st.integers(0, 2))
    def package_answers_badly(self, match: str, kind: str, times: int, after: int) -> None:
        self.world.simulator.faults.add(match, kind, times=times, after=after)
        self.world.cycle()

    @rule(match=endpoint, row=st.integers(0, 6))
    def package_spoils_a_row(self, match: str, row: int) -> None:
        self.world.simulator.faults.add(match, "bad_row", row=row)
        self.world.cycle()

    @rule(match=endpoint, status=st.sampled_from(STATUSES), times=times, after=st.integers(0, 2))
    def package_refuses(self, match: str, status: int, times: int, after: int) -> None:
        self.world.simulator.faults.add(match, "status", status=status, times=times, after=after)
        self.world.cycle()

    @rule(match=st.sampled_from(("sync/", "Status")))
    def package_hides_rows(self, match: str) -> None:
        """An empty page where there are rows; never as the answer to a question by key, which is believed."""
        self.world.simulator.faults.add(match, "no_rows")
        self.world.cycle()

    @rule(fault=backend_fault)
    def backend_misbehaves(self, fault: Fault) -> None:
        self.world.receiver.faults.append(fault)
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
