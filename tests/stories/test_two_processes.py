"""Two processes on one connection: who is held up for longer than a lease loses it, and commits nothing any more."""

from collections.abc import Iterator

import pytest

from tests.stories.order import broken
from tests.stories.world import Encounter, Town, World


@pytest.fixture
def world(town: Town, store_url: str) -> Iterator[World]:
    world = World(town, store_url)
    world.cycle()
    yield world
    world.close()


@pytest.mark.parametrize(
    ("work", "at", "ends"),
    [("cycle", 1, "unavailable"), ("cycle", 4, "unavailable"), ("cycle", 8, "unavailable"), ("deliver", 1, "lost")],
)
def test_who_was_overtaken_ends_without_a_commit(world: World, work: str, at: int, ends: str) -> None:
    world.book("pay")
    tasks = [work]
    world.meet(Encounter(first=tasks, second=tasks, at=at, pause_s=180, held=True))  # type: ignore[arg-type]  # parametrized
    assert world.program.ended == [ends]
    assert world.cycle().outcome == "ok"
    assert world.deliver().ended == "drained"
    assert (world.differences(), broken(world.receiver.history)) == ([], [])


@pytest.mark.parametrize("work", ["cycle", "deliver"])
def test_who_is_in_time_goes_on_and_the_other_steps_back(world: World, work: str) -> None:
    world.book("pay")
    tasks = [work]
    world.meet(Encounter(first=tasks, second=tasks, at=1, pause_s=60, held=True))  # type: ignore[arg-type]  # parametrized
    assert world.program.ended == ["ok" if work == "cycle" else "drained"]
    assert world.cycle().outcome == "ok"
    assert world.deliver().ended == "drained"
    assert (world.differences(), broken(world.receiver.history)) == ([], [])
