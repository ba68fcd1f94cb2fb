"""`resend`: every record of a connection again, without asking the package."""

import asyncio
from typing import Annotated

import typer

from connector.cli.common import DEFAULT_CONFIG, ConfigOption, errors_explained, open_runtime, out
from connector.cycle import LEASE_TTL
from connector.resend import AFTER_RESTORE, Resend
from connector.runtime import Runtime
from connector.store import connections


def resend(
    name: Annotated[str, typer.Argument(help="The connection.")],
    config_path: ConfigOption = DEFAULT_CONFIG,
    after_restore: Annotated[
        bool,
        typer.Option(
            "--after-restore", help="Our database was restored: raise every version above what was ever sent."
        ),
    ] = False,
) -> None:
    """Write every stored record to the outbox again, for a backend that lost its data or after our own restore."""
    with errors_explained():
        runtime = open_runtime(config_path)
        try:
            runtime.settings.select([name])
            count = _resend(runtime, name, raise_by=AFTER_RESTORE if after_restore else 0)
        finally:
            asyncio.run(runtime.close())
        out.print(f"{count} records wait to be sent; `connector sync` or `connector run` delivers them")


def _resend(runtime: Runtime, name: str, *, raise_by: int) -> int:
    """Holds the connection's lease, so that no sync writes in between; the next sync is due at once."""
    now = runtime.clock.now()
    linked = connections.find(runtime.store, name)
    lease = connections.claim(runtime.store, linked.id, owner=runtime.owner, now=now, ttl=LEASE_TTL)
    try:
        return Resend(
            store=runtime.store,
            clock=runtime.clock,
            lease=lease,
            lease_ttl=LEASE_TTL,
            connection=linked,
            run_id=f"{name}-resend-{lease.epoch}",
        ).run(raise_by=raise_by)
    finally:
        connections.release(runtime.store, lease, due_at=now)
