"""SQLite's way of testing, for the network: the n-th request of a first load and its delivery goes wrong.

Either a gateway loses the answer after the request was taken in, or from then on nobody answers until the next day.
Requests to the package, its token endpoint and the backend are counted together; the first is a refresh.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.faults.harness import badly_told, outbox
from tests.stories.world import DAY, HOUR, Town, World

MOST = 100
LEAST = 20
STEP = 5
"""Only every so many requests go wrong, except nightly."""
QUICK = hypothesis.settings.get_profile("quick").max_examples


@dataclass
class Trouble:
    """Counts requests on both sockets; the n-th is answered but not heard, or it and all that follow are refused."""

    nth: int
    lasting: bool
    requests: int = 0
    over: bool = False

    def before(self, app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self.requests += 1
            if self.over or self.requests < self.nth or (not self.lasting and self.requests > self.nth):
                await app(scope, receive, send)
            elif self.lasting:
                await PlainTextResponse("not now", 503)(scope, receive, send)
            else:
                await app(scope, receive, unheard)
                await PlainTextResponse("lost", 504)(scope, receive, send)

        return answer


async def unheard(_: Message) -> None:
    """Where an answer goes that nobody gets."""


@pytest.fixture(scope="module")
def quiet_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("quiet"))
    yield town
    town.close()


@pytest.mark.parametrize("lasting", [False, True], ids=["answer_lost", "down_from_then_on"])
def test_e5_the_nth_request_goes_wrong(
    quiet_town: Town, tmp_path_factory: pytest.TempPathFactory, *, lasting: bool
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('nth') / 'connector.db'}"
    nightly = hypothesis.settings().max_examples > QUICK
    for nth in range(1, MOST, 1 if nightly else STEP):
        world = World(quiet_town, url, seed=3, customers=2, invoices=4)
        try:
            if not survives(world, Trouble(nth, lasting)):
                break
        finally:
            world.close()
    assert LEAST < nth < MOST


def survives(world: World, trouble: Trouble) -> bool:
    """Whether anything went wrong at all."""
    town = world.town
    assert town.package.app is not None
    assert town.backend.app is not None
    town.package.app, town.backend.app = trouble.before(town.package.app), trouble.before(town.backend.app)
    world.clock.advance(HOUR)  # type: ignore[attr-defined]  # a ManualClock
    world.cycle()
    world.deliver()
    happened = trouble.requests >= trouble.nth
    trouble.over = True
    world.restart()
    world.clock.advance(DAY)  # type: ignore[attr-defined]
    token_lost = trouble.nth == 1 and not trouble.lasting
    if token_lost:  # spent, and its successor never heard of: a person has to sign in again
        assert world.cycle().outcome == "needs_reconnect"
        assert world.simulator.violations.pop("old_refresh_token") == 1
    assert world.reconnect() == token_lost, trouble
    for act in ("invoice", "pay"):
        world.simulator.bookkeeper.perform(act)
    report = world.cycle()
    assert (report.outcome, report.error) == ("ok", None), trouble
    assert world.deliver().ended == "drained", trouble
    assert world.differences() == [], trouble
    assert badly_told(world.receiver.history, outbox(world.store)) == [], trouble
    assert not world.simulator.violations, (trouble, world.simulator.violations)
    return happened
