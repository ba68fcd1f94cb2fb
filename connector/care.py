"""Care for the sign-ins, whatever their cycles do: keep them alive, and say early when a person will be needed.

Once a minute the stored rows are looked at; what is due follows from them alone. So nothing is forgotten by a daemon
that was down, and several daemons on one database do everything once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from connector import alerts
from connector.errors import ConnectorError, NeedsReconnect
from connector.runtime import Runtime
from connector.store import connections, tokens
from connector.store.connections import Linked
from connector.store.tokens import SignIn

EVERY_S: Final = 60.0
AT_ONCE: Final = 8
"""Sign-ins that are kept alive in one look; the rest waits for the next."""
AGAIN: Final = timedelta(hours=1)
"""After a keep-alive that failed: there are weeks left, and the package has its limits."""

log = structlog.get_logger()


class Care:
    """The daily care of all configured connections. `wake` hears of each that has a new event."""

    def __init__(self, runtime: Runtime, wake: Callable[[str], None] = lambda _: None) -> None:
        self._runtime = runtime
        self._wake = wake
        self._not_before: dict[str, datetime] = {}
        self._blind = False
        """Whether the last look failed."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        if (reason := self._runtime.spill.hindrance()) is not None:
            log.warning("spill.unusable", reason=reason, fix="let the program write there; see docs/operations.md")
        while not stop.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_S)

    async def look(self) -> None:
        """Do what is due now; a database that cannot be asked is said once."""
        try:
            due = await asyncio.to_thread(self._due)
            await asyncio.gather(*(self._keep_alive(name) for name in due))
            for name in await asyncio.to_thread(self._tell):
                self._wake(name)
        except ConnectorError as error:
            if not self._blind:
                log.warning("care.failed", error=str(error))
            self._blind = True
        else:
            self._blind = False

    def _everyone(self) -> Sequence[tuple[Linked, SignIn]]:
        """The configured connections that somebody has signed in for."""
        sign_ins = tokens.sign_ins(self._runtime.store)
        return [
            (one, sign_ins[one.id])
            for one in connections.everyone(self._runtime.store)
            if one.id in sign_ins and one.name in self._runtime.settings.connections
        ]

    def _due(self) -> Sequence[str]:
        """Whose grant was put aside, then whose refresh token is to be used, the longest waiting first."""
        now = self._runtime.clock.now()
        aside = self._runtime.spill.connections()
        everyone = self._everyone()
        put_aside = [linked.name for linked, _ in everyone if linked.id in aside]
        due = sorted(
            (sign_in.keep_alive_at, linked.name)
            for linked, sign_in in everyone
            if sign_in.keep_alive_at is not None and sign_in.keep_alive_at <= now
            if self._not_before.get(linked.name, now) <= now
        )
        return [*dict.fromkeys([*put_aside, *(name for _, name in due[:AT_ONCE])])]

    async def _keep_alive(self, name: str) -> None:
        """Store what was put aside, and use the refresh token if it is time. Others go on when it fails."""
        self._not_before[name] = self._runtime.clock.now() + AGAIN
        try:
            if await self._runtime.tokens(name).keep_alive():
                log.info("keep_alive.finished", connection=name)
        except NeedsReconnect:
            pass  # an alert says it, once
        except ConnectorError as error:
            log.warning("keep_alive.failed", connection=name, error=str(error))
        except Exception:
            log.exception("keep_alive.bug", connection=name)

    def _tell(self) -> Sequence[str]:
        """Say what is new; of whom."""
        now, told = self._runtime.clock.now(), []
        for linked, sign_in in self._everyone():
            alert = alerts.news(linked, sign_in, now)
            if alert is None:
                continue
            with self._runtime.store.write() as connection:
                written = alert.write(connection)
            if written:
                alert.log()
                told.append(linked.name)
        return told
