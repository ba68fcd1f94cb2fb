"""What a person must know about a connection's sign-in: said early, once, in the log and to the destination.

How things stand is a number, the percentage of the sign-in's life that is left, in four steps: 100 (fine), 50, 25, 10,
and 0 when the package refuses and a person has to sign in. The connection's row holds the number that was last told;
news is whatever differs from it. So nothing is said twice, whoever looks and however often the program restarts.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import sqlalchemy as sa
import structlog

from connector.domain import events, signals
from connector.domain.signals import SIGNALS
from connector.store import connections, outbox, tokens
from connector.store.connections import Linked
from connector.store.tokens import NEEDS_REAUTH, SignIn

FINE: Final = 100
STEPS: Final = (50, 25, 10)
NEEDS_PERSON: Final = 0

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One piece of news about the sign-in of a connection."""

    connection: Linked
    percent: int
    now: datetime
    reason: str = ""
    ends_at: datetime | None = None

    def write(self, transaction: sa.Connection) -> bool:
        """Write the event in the caller's transaction; False when somebody else has told it meanwhile."""
        linked = self.connection
        version = connections.alert(transaction, linked.id, was=linked.alerted, now=self.percent)
        if version is None:
            return False
        event_type, record = self._event()
        meta = events.Meta(
            entity_version=version,
            content_hash=events.content_hash(events.encode(record)),
            op="signalled",
            run_id=f"{linked.name}-care-{version}",
            origin="incremental" if linked.initial_done else "initial",
            observed_at=self.now,
        )
        event = outbox.NewEvent(
            type=event_type,
            entity=SIGNALS[event_type].entity,
            external_id=linked.administration,
            entity_version=version,
            ordering_key=linked.administration,
            data=events.encode({"meta": meta, "record": record}),
        )
        outbox.append(
            transaction,
            connection_id=linked.id,
            destination=linked.destination,
            source=linked.source,
            events=[event],
            now=self.now,
        )
        return True

    def log(self) -> None:
        """Say it to whoever reads the log; once it is committed."""
        name = self.connection.name
        command = f"connector connect {name}"
        if self.percent == NEEDS_PERSON:
            _log.error("connection.reauth_required", connection=name, reason=self.reason, fix=command)
        elif self.percent < FINE:
            ends_at = None if self.ends_at is None else self.ends_at.isoformat()
            _log.warning(
                "connection.degraded",
                connection=name,
                percent_left=self.percent,
                ends_at=ends_at,
                reason=self.reason,
                fix=command,
            )
        else:
            _log.info("connection.restored", connection=name)

    def _event(self) -> tuple[str, msgspec.Struct]:
        whose = {"package": self.connection.package, "administration": self.connection.administration}
        if self.percent == NEEDS_PERSON:
            return events.REAUTH_REQUIRED, signals.ReauthRequired(**whose, reason=self.reason, since=self.now)
        if self.percent == FINE or self.ends_at is None:
            return events.RESTORED, signals.Restored(**whose, restored_at=self.now, ends_at=self.ends_at)
        return events.DEGRADED, signals.Degraded(
            **whose, reason=self.reason, percent_left=self.percent, ends_at=self.ends_at
        )


def news(connection: Linked, sign_in: SignIn, now: datetime) -> Alert | None:
    """What is to be told of a sign-in at this moment, if anything. Pure.

    That a person is not needed any more is not for the clock to say: `restored` waits for proof.
    """
    percent = _percent(sign_in, now)
    renewed = percent == FINE and connection.alerted > NEEDS_PERSON
    if connection.alerted == percent or (percent > connection.alerted and not renewed):
        return None
    return Alert(
        connection=connection,
        percent=percent,
        now=now,
        reason=_reason(sign_in, percent),
        ends_at=sign_in.refresh_expires_at,
    )


def restore(transaction: sa.Connection, connection: Linked, now: datetime) -> None:
    """The package has answered: whoever was told that something is wrong hears that it is over."""
    if connection.alerted == FINE:
        return
    sign_in = tokens.sign_in(transaction, connection.id)
    ends_at = sign_in.refresh_expires_at if sign_in else None
    alert = Alert(connection=connection, percent=FINE, now=now, ends_at=ends_at)
    if alert.write(transaction):
        alert.log()


def _percent(sign_in: SignIn, now: datetime) -> int:
    """The step that the sign-in has come down to."""
    if sign_in.status == NEEDS_REAUTH:
        return NEEDS_PERSON
    if sign_in.refresh_expires_at is None:
        return FINE
    left = (sign_in.refresh_expires_at - now) / (sign_in.refresh_expires_at - sign_in.refreshed_at)
    return min((step for step in STEPS if left * 100 <= step), default=FINE)


def _reason(sign_in: SignIn, percent: int) -> str:
    if percent == NEEDS_PERSON:
        return sign_in.reason
    cause = f": {sign_in.reason}" if sign_in.reason else ""
    return f"the sign-in could not be renewed since {sign_in.refreshed_at:%Y-%m-%d %H:%M} UTC{cause}"
