"""The call budget on both databases: never above a limit, shared, and told by the package's own headers."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.adapter import CallLimits
from connector.budget import CallBudget
from connector.errors import Throttled
from connector.http import RateHeaders
from connector.store.engine import Store, open_store
from tests.clocks import ManualClock

HEADERS = RateHeaders(
    minute_limit="X-RateLimit-Minutely-Limit",
    minute_remaining="X-RateLimit-Minutely-Remaining",
    minute_reset="X-RateLimit-Minutely-Reset",
    day_limit="X-RateLimit-Limit",
    day_remaining="X-RateLimit-Remaining",
    day_reset="X-RateLimit-Reset",
)
START = datetime(2026, 11, 20, 14, 0, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


Make = Callable[..., CallBudget]


@pytest.fixture
def budget(store: Store, clock: ManualClock) -> Make:
    def make(per_minute: int | None = 60, per_day: int | None = 5000, **options: Any) -> CallBudget:
        limits = CallLimits(per_minute=per_minute, per_day=per_day)
        options = {"app": "app", "administration": "123", "headers": HEADERS, **options}
        return CallBudget(store, clock, limits=limits, **options)

    return make


def ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


async def spend(budget: CallBudget, calls: int) -> None:
    for _ in range(calls):
        await budget.acquire()


async def test_a_full_minute_waits_for_the_next(budget: Make, clock: ManualClock) -> None:
    clock.advance(20)
    ours = budget()
    await spend(ours, 54)
    assert clock.now() == START + timedelta(seconds=20)
    await ours.acquire()
    assert clock.now() == START + timedelta(minutes=1)


async def test_the_last_tenth_is_for_those_a_person_waits_for(budget: Make, clock: ManualClock) -> None:
    """B13."""
    await spend(budget(), 54)
    await spend(budget(priority=True), 6)
    assert clock.now() == START
    await budget(priority=True).acquire()
    assert clock.now() == START + timedelta(minutes=1)


async def test_a_full_day_is_a_long_wait(budget: Make, clock: ManualClock) -> None:
    ours = budget(per_minute=None, per_day=10)
    await spend(ours, 9)
    with pytest.raises(Throttled) as raised:
        await ours.acquire()
    assert raised.value.until == datetime(2026, 11, 21, tzinfo=UTC)
    await budget(per_minute=None, per_day=10, priority=True).acquire()
    clock.advance(10 * 3600)
    await spend(ours, 9)


async def test_no_known_limit_is_no_limit(budget: Make, clock: ManualClock) -> None:
    await spend(budget(per_minute=None, per_day=None), 100)
    assert clock.now() == START


async def test_apps_and_administrations_do_not_share(budget: Make, clock: ManualClock) -> None:
    await spend(budget(per_minute=1), 1)
    await spend(budget(per_minute=1, administration="124"), 1)
    await spend(budget(per_minute=1, app="other"), 1)
    assert clock.now() == START


async def test_the_package_s_count_wins_when_it_is_higher(budget: Make, clock: ManualClock) -> None:
    """Other users of the app spend from the same limit."""
    ours = budget()
    await ours.acquire()
    await ours.told(200, httpx.Headers({"x-ratelimit-minutely-limit": "60", "x-ratelimit-minutely-remaining": "7"}))
    await ours.acquire()
    assert clock.now() == START
    await ours.acquire()
    assert clock.now() == START + timedelta(minutes=1)


async def test_the_package_s_limit_replaces_the_published_one(budget: Make, clock: ManualClock) -> None:
    ours = budget()
    await ours.acquire()
    await ours.told(200, httpx.Headers({"x-ratelimit-minutely-limit": "10"}))
    await spend(ours, 8)
    assert clock.now() == START
    await ours.acquire()
    assert clock.now() == START + timedelta(minutes=1)


async def test_a_lower_count_of_the_package_gives_nothing_back(budget: Make, clock: ManualClock) -> None:
    """An older answer that arrives late."""
    ours = budget()
    await spend(ours, 50)
    await ours.told(200, httpx.Headers({"X-RateLimit-Minutely-Limit": "60", "X-RateLimit-Minutely-Remaining": "59"}))
    await spend(ours, 5)
    assert clock.now() == START + timedelta(minutes=1)


async def test_the_day_ends_when_the_package_says(budget: Make, clock: ManualClock) -> None:
    """B13: the limit is reached at 14:00, the reset is not at midnight UTC."""
    ends_at = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
    ours = budget()
    await ours.acquire()
    told = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "400", "X-RateLimit-Reset": ms(ends_at)}
    await ours.told(200, httpx.Headers(told))
    with pytest.raises(Throttled) as raised:
        await ours.acquire()
    assert raised.value.until == ends_at
    clock.advance((ends_at - START).total_seconds() - 120)
    with pytest.raises(Throttled):
        await ours.acquire()
    clock.advance(120)
    await ours.acquire()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Minutely-Reset": ms(START + timedelta(minutes=1))}, 60),
        ({"X-RateLimit-Reset": ms(START + timedelta(hours=9))}, 9 * 3600),
        (
            {
                "X-RateLimit-Remaining": "12",
                "X-RateLimit-Reset": ms(START + timedelta(hours=9)),
                "X-RateLimit-Minutely-Reset": ms(START + timedelta(minutes=1)),
            },
            60,
        ),
        (
            {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": ms(START + timedelta(hours=9)),
                "X-RateLimit-Minutely-Reset": ms(START + timedelta(minutes=1)),
            },
            9 * 3600,
        ),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": format_datetime(START + timedelta(seconds=90), usegmt=True)}, 90),
    ],
)
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_429_pauses_everybody_until_the_time_it_names(
    budget: Make, clock: ManualClock, headers: dict[str, str], seconds: int
) -> None:
    """B1."""
    await budget().acquire()
    until = await budget().told(429, httpx.Headers(headers))
    assert until is not None
    assert timedelta(seconds=seconds + 1) <= until - START <= timedelta(seconds=seconds + 2)
    if seconds <= 60:
        await budget(priority=True).acquire()
        assert clock.now() == until
    else:
        with pytest.raises(Throttled) as raised:
            await budget(priority=True).acquire()
        assert raised.value.until == until
    await budget(administration="124").acquire()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Retry-After": "soon"},
        {"Retry-After": "-5"},
        {"Retry-After": "Fri, 01 Jan 2027 00:00:00 GMT"},
        {"X-RateLimit-Minutely-Reset": "0"},
        {"X-RateLimit-Minutely-Reset": "9" * 15},
        {"X-RateLimit-Minutely-Reset": "9" * 400},
        {"X-RateLimit-Minutely-Reset": "²"},
        {"X-RateLimit-Reset": ms(START - timedelta(seconds=1))},
    ],
)
@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_429_without_a_believable_time_pauses_longer_each_time(
    budget: Make, clock: ManualClock, headers: dict[str, str]
) -> None:
    """B1."""
    ours = budget()
    await ours.acquire()
    given = httpx.Headers({name.encode(): value.encode() for name, value in headers.items()})
    pauses = []
    for _ in range(8):
        until = await ours.told(429, given)
        assert until is not None
        pauses.append((until - clock.now()).total_seconds())
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    await ours.told(200, httpx.Headers())
    assert await ours.told(429, given) == clock.now() + timedelta(seconds=60)


async def test_a_short_pause_does_not_shorten_a_long_one(budget: Make) -> None:
    ours = budget()
    await ours.acquire()
    long = await ours.told(429, httpx.Headers({"Retry-After": "3000"}))
    await ours.told(429, httpx.Headers({"Retry-After": "70"}))
    with pytest.raises(Throttled) as raised:
        await ours.acquire()
    assert raised.value.until == long


async def test_many_at_once_never_exceed_the_limit(budget: Make, clock: ManualClock) -> None:
    ours = budget(per_minute=20, per_day=18)
    results = await asyncio.gather(*(ours.acquire() for _ in range(40)), return_exceptions=True)
    assert sum(result is None for result in results) == 17
    assert all(isinstance(result, Throttled) for result in results if result is not None)


def take_from(url: str, calls: int) -> int:
    """A program of its own, as far as the database can tell."""
    store = open_store(url, migrate=False)
    ours = CallBudget(
        store, ManualClock(START), app="a", administration="1", limits=CallLimits(per_minute=None, per_day=100)
    )

    async def run() -> int:
        results = await asyncio.gather(*(ours.acquire() for _ in range(calls)), return_exceptions=True)
        return sum(result is None for result in results)

    taken = asyncio.run(run())
    store.close()
    return taken


def test_programs_share_one_budget(store_url: str) -> None:
    open_store(store_url).close()
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(take_from, [store_url] * 4, [40] * 4))
    assert sum(taken) == 90


steps = st.one_of(
    st.tuples(st.just("acquire"), st.booleans()),
    st.tuples(st.just("advance"), st.floats(0, 90)),
    st.tuples(st.just("told"), st.integers(0, 12)),
    st.tuples(st.just("429"), st.none() | st.integers(0, 200)),
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(steps, max_size=60))
def test_no_minute_and_no_day_ever_holds_more_calls_than_allowed(
    script: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("budget")
    store = open_store(f"sqlite:///{folder / 'connector.db'}")
    clock = ManualClock(datetime(2026, 11, 20, 23, 55, tzinfo=UTC))
    limits = CallLimits(per_minute=10, per_day=25)
    made: list[datetime] = []
    waits: list[timedelta] = []
    paused_until = clock.now()

    async def run() -> None:
        nonlocal paused_until
        for word, value in script:
            ours = CallBudget(
                store, clock, app="a", administration="1", limits=limits, headers=HEADERS, priority=value is True
            )
            if word == "acquire":
                try:
                    await ours.acquire()
                except Throttled as error:
                    waits.append(error.until - clock.now())
                    continue
                assert clock.now() >= paused_until
                made.append(clock.now())
            elif word == "advance":
                clock.advance(value)
            elif word == "told":
                left = {"X-RateLimit-Minutely-Limit": "10", "X-RateLimit-Minutely-Remaining": str(value)}
                await ours.told(200, httpx.Headers(left))
            elif made:
                until = await ours.told(429, httpx.Headers({} if value is None else {"Retry-After": str(value)}))
                paused_until = max(paused_until, until or paused_until)

    asyncio.run(run())
    store.close()
    assert all(wait > timedelta(0) for wait in waits)
    for start in made:
        assert (
            sum(call.replace(second=0, microsecond=0) == start.replace(second=0, microsecond=0) for call in made) <= 10
        )
        assert sum(call.date() == start.date() for call in made) <= 25
