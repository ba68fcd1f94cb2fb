"""Whatever happens, once it is over the mirror equals the books.

A state machine lets bookkeeping happen, lets the package and the backend misbehave, kills the process in the middle
of its work, lets a second one work beside it, moves the clock and sets it wrong. After each step the receiver's history
must be in order, and nothing may be mirrored that the books never said; at the end, with all faults over, a few cycles
must bring mirror and books together.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from adapters.simulation import BookkeepingError
from connector.mirror import MONEY
from connector.receiver import Fault
from tests.clocks import ManualClock, WrongClock
from tests.stories.order import broken
from tests.stories.packages import PACKAGES, Simulated
from tests.stories.world import DAY, HOUR, MINUTE, Encounter, Town, World

T = TypeVar("T")

LENGTHS = {"quick": (2, 14), "nightly": (200, 30)}
"""Examples, and steps in each, by profile."""

STARTS = [
    datetime(2026, 11, 20, 9, 0, tzinfo=UTC),
    datetime(2026, 10, 24, 22, 30, tzinfo=UTC),  # both days around have other hours than 24, in the zone of the books
    datetime(2027, 3, 27, 22, 30, tzinfo=UTC),
    datetime(2026, 12, 31, 22, 58, tzinfo=UTC),
]
RECOVERY_S = 30 * MINUTE
"""How long after a clock was set the program goes on as if nothing had been, as docs/operations.md says."""

SPOILING = ("html", "truncate", "empty", "invalid_utf8", "drop", "reset", "redirect", "repeat_rows", "reverse_rows")
STATUSES = (400, 401, 403, 404, 408, 429, 500, 502, 503)


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How a package may behave, and how soon afterwards its mirror is complete."""

    switches: SearchStrategy[dict[str, Any]]
    """What nobody knows for certain of the package, or what changes from one administration to the next."""
    endpoints: Sequence[str]
    spoiling: Sequence[str]
    hiding: Sequence[str]
    """Where rows may be left out: of a feed, never of the answer to a question by key, which is believed."""
    upheaval: Callable[[Any], None]
    """What else happens to the simulator once in a while."""
    cycles: int
    """A day apart, after a person has looked."""


def some(**switches: Sequence[Any]) -> SearchStrategy[dict[str, Any]]:
    """Some of these switches, each set to one of its values."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in switches.items()})


EITHER = (False, True)
MANNERS = {
    "exactonline": Manners(
        switches=some(
            receivable_sign=(-1, 1),
            duplicate_ids=EITHER,
            shuffle_sync=EITHER,
            split_keeps_matched=EITHER,
            replace_terms_on_edit=EITHER,
            byte_order_mark=EITHER,
            plain_envelope=EITHER,
            opening_rows=EITHER,
            old_refresh_token_lives=EITHER,
            access_token_survives=EITHER,
        ),
        endpoints=(
            "/api/v1/",
            "system/Divisions",
            "bulk/Cashflow/Receivables",
            "financial/ReportingBalance",
            "sync/Financial/TransactionLines",
            "sync/Cashflow/PaymentTerms",
            "sync/CRM/Accounts",
            "sync/Deleted",
        ),
        spoiling=(*SPOILING, "foreign_next", "loop_next", "wrong_division_rows"),
        hiding=("sync/", "Status"),
        upheaval=lambda simulator: simulator.move_division(),
        cycles=2,
    ),
    # A payment need not show as a change of its invoice, and what is deleted is gone after two sweeps a day apart.
    "snelstart": Manners(
        switches=some(
            unfilterable=(frozenset(), frozenset({"verkoopfacturen/OpenstaandSaldo"})),
            payment_moves_modified=("never", "always", "random"),
            order=("by_id", "moving", "restless"),
            orderby=("seen", "everywhere", "nowhere"),
            server_zone=("Europe/Amsterdam", "UTC"),
            fraction_digits=(None, 0, 7),
            decimals=("mixed", "two", "four"),
            nothing=("mixed", "null", "absent", "nil"),
            drop_nulls=EITHER,
            memorial_sign=(-1, 1),
            unlinked_on_receivables=EITHER,
            inactive_by_id=EITHER,
            inactive_listed=EITHER,
            invoice_on_booking=EITHER,
            scopes_as_list=EITHER,
        ),
        endpoints=(
            "/v2/",
            "companyInfo",
            "dagboeken",
            "grootboeken",
            "relaties",
            "verkoopfacturen",
            "bankboekingen",
            "kasboekingen",
            "grootboekmutaties",
        ),
        spoiling=SPOILING,
        hiding=("verkoopfacturen?", "bankboekingen?", "kasboekingen?", "grootboekmutaties?"),
        upheaval=lambda simulator: simulator.office.revoke(),
        cycles=3,
    ),
}


def of_package(choose: Callable[[Manners], SearchStrategy[T]]) -> SearchStrategy[T]:
    """A strategy that depends on the package whose machine is running."""
    return st.runner().flatmap(lambda machine: choose(machine.manners))


def misbehaviour(manners: Manners) -> SearchStrategy[dict[str, Any]]:
    where = {"match": st.sampled_from(manners.endpoints), "times": times, "after": st.integers(0, 2)}
    return st.one_of(
        st.fixed_dictionaries({"kind": st.sampled_from(manners.spoiling), **where}),
        st.fixed_dictionaries({"kind": st.just("status"), "status": st.sampled_from(STATUSES), **where}),
        st.fixed_dictionaries({"kind": st.just("bad_row"), "row": st.integers(0, 6), **where}),
        st.fixed_dictionaries({"kind": st.just("no_rows"), "match": st.sampled_from(manners.hiding)}),
    )


times = st.integers(1, 3)
tasks = st.sampled_from((("cycle",), ("deliver",), ("cycle", "deliver"), ("deliver", "cycle", "deliver")))
pauses = st.sampled_from((0, 3 * MINUTE, 12 * MINUTE))
"""Without a lease lost, with one, and with the access token expired as well."""
encounters = st.builds(Encounter, first=tasks, second=tasks, at=st.integers(1, 10), pause_s=pauses, held=st.booleans())
wrong_by = st.sampled_from((-26 * HOUR, -2 * HOUR, -10 * MINUTE, 10 * MINUTE, 2 * HOUR, 26 * HOUR))
place = st.sampled_from(("before", "inside", "after"))
act = st.runner().flatmap(lambda machine: st.sampled_from(machine.world.simulator.bookkeeper.names))
package_fault = of_package(misbehaviour)
concerned = st.sampled_from(("", "customer/", "invoice/", "payment/", "freshness"))
backend_fault = st.one_of(
    st.builds(Fault, times=times, match=concerned, status=st.sampled_from((408, 413, 500, 503)), applied=st.booleans()),
    st.builds(Fault, times=times, match=concerned, status=st.just(429), headers=st.just({"Retry-After": "90"})),
    st.builds(Fault, times=times, match=concerned, broken=st.just(value=True), applied=st.booleans()),
    st.builds(Fault, times=times, match=concerned, verdict=st.sampled_from(("retry_later", "rejected"))),
)


class Convergence(RuleBasedStateMachine):
    """One connection through good and bad days."""

    def __init__(self, manners: Manners, open_world: Callable[..., World]) -> None:
        super().__init__()
        self.manners = manners
        self.open_world = open_world
        self.said: dict[str, set[tuple[Decimal, Decimal]]] = defaultdict(set)
        """Total and open amount of each item as the books ever had them."""
        self.forgiven = {"errors_in_budget"}
        """Violations of the package's rules that nobody can help."""

    @initialize(
        seed=st.integers(0, 1_000), start=st.sampled_from(STARTS), switches=of_package(lambda manners: manners.switches)
    )
    def link(self, seed: int, start: datetime, switches: dict[str, Any]) -> None:
        self.clock = ManualClock(start)
        self.wall = WrongClock(self.clock)
        self.world = self.open_world(seed=seed, clock=self.clock, wall=self.wall, switches=switches)
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

    @rule(names=st.lists(act, min_size=1, max_size=2), encounter=encounters)
    def two_at_once(self, names: list[str], encounter: Encounter) -> None:
        for name in names:
            self.perform(name)
        if encounter.first[0] == "deliver":
            self.world.cycle()
        self.world.meet(encounter)

    @rule(ahead_s=wrong_by, request=st.integers(1, 14))
    def clock_is_set_wrong(self, ahead_s: float, request: int) -> None:
        self.world.town.package.after(request, partial(self.set_clock, ahead_s))
        self.world.cycle()
        self.set_clock(ahead_s)

    @rule(ahead_s=wrong_by, name=act, at=st.integers(1, 90), place=place)
    def clock_was_wrong(self, ahead_s: float, name: str, at: int, place: str) -> None:
        """Whatever was done and left undone meanwhile, half an hour later nothing is waited for."""
        self.converge()
        self.set_clock(ahead_s)
        self.perform(name)
        self.world.dying(self.world.cycle, at=at, place=place)
        self.world.deliver()
        self.set_clock(0)
        for _ in range(3):
            self.clock.advance(RECOVERY_S / 3)
            report, delivery = self.world.cycle(), self.world.deliver()
        assert report.outcome in {"ok", "partial"}, report.error
        assert delivery.ended == "drained", delivery.reason

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
    def upheaval(self) -> None:
        self.clock.advance(1)
        self.manners.upheaval(self.world.simulator)

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
        """All faults are over: a person looks once, and after some cycles everything is equal."""
        world = self.world
        world.town.package.acts.clear()
        self.set_clock(0)
        world.simulator.faults.clear()
        world.receiver.faults.clear()
        self.clock.advance(2 * DAY)
        if world.deaths:  # with one of them the only copy of a token may have gone, which the next request finds out
            world.cycle()
            self.forgiven |= {"old_refresh_token"}
        assert not world.reconnect() or world.deaths
        world.tend()
        for _ in range(self.manners.cycles):
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
        assert world.simulator.violations.keys() <= self.forgiven, "rules of the package were broken"
        assert world.simulator.violations["old_refresh_token"] <= world.deaths, "a token that is spent was tried again"

    def set_clock(self, ahead_s: float) -> None:
        """The program's; the package and the backend have better ones.

        A token that lives ten minutes seems dead to a clock that is ahead, and the package allows no new one yet.
        """
        self.wall.ahead_s = ahead_s
        self.forgiven |= {"too_early_refresh"} if ahead_s else set()

    def perform(self, name: str) -> None:
        self.clock.advance(7)
        with contextlib.suppress(BookkeepingError):
            self.world.book(name)
        self.listen()

    def listen(self) -> None:
        for key, item in self.world.simulator.truth()["items"].items():
            sign = -1 if item["kind"] in MONEY else 1
            self.said[key].add((sign * Decimal(item["total"]), sign * Decimal(item["open"])))

    def inventions(self) -> Iterator[str]:
        mirror = self.world.mirror()
        for kind, total, open_ in (("invoices", "total", "open"), ("payments", "amount", "unallocated")):
            for key, record in mirror[kind].items():
                amounts = Decimal(record[total]), Decimal(record[open_])
                if amounts not in self.said[key]:
                    yield f"{kind} {key}: {amounts} of {sorted(self.said[key])}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_mirror_converges(town: Town, store_url: str, package: Simulated) -> None:
    examples, steps = LENGTHS[hypothesis.settings.get_current_profile_name()]
    run_state_machine_as_test(
        lambda: Convergence(MANNERS[package.name], partial(World, town, store_url, package=package)),  # type: ignore[arg-type]  # typed as a class, but any factory will do
        settings=hypothesis.settings(
            max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck)
        ),
    )
