"""Every failure the program knows, grouped by what the operator does next.

    ConnectorError
    ├── ConfigurationError      fix the configuration, then start again          exit 2
    ├── NeedsReconnect          a person must sign in to the package again       exit 3
    │   └── AuthRevoked         the package refused the grant for good
    ├── Stopped                 look at this connection; nothing was lost        exit 4
    │   ├── WrongAdministration the package answered for other books
    │   ├── PermissionLost      a right, module or scope is missing
    │   ├── SchemaDrift         the package's rows changed shape
    │   ├── Held                a mass change waits for a person's word
    │   └── NotReconciled       our count and the ledger disagree
    ├── Unavailable             wait; the program tries again by itself          exit 5
    │   ├── Throttled           a call limit; says until when
    │   ├── SourceDown          the package (or the way to it) fails
    │   ├── StoreUnavailable    the database is locked, full, read-only or away
    │   └── Busy                another process holds the lease
    └── BadRecord               one row or record; quarantined, the rest goes on

Anything else that is raised is a bug in the program (exit 1).
"""

from dataclasses import dataclass
from datetime import datetime


class ExitCode:
    """What the command line tells the shell; documented in the README."""

    DONE = 0
    BUG = 1
    CONFIGURATION = 2
    RECONNECT = 3
    PARTLY_FAILED = 4
    UNAVAILABLE = 5


class ConnectorError(Exception):
    """A failure with its three parts: what happened, where, and what to do about it."""

    exit_code = ExitCode.BUG

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"({self.where})")
        if self.fix:
            parts.append(f"- {self.fix}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration or mapping file."""

    file: str
    key: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.what} - {self.fix}"


class ConfigurationError(ConnectorError):
    """One or more settings are wrong; `problems` lists all of them at once."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, what: str, *, where: str = "", fix: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(what, where=where, fix=fix)
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.what}: {'; '.join(map(str, self.problems))}" if self.problems else super().__str__()


class NeedsReconnect(ConnectorError):
    """The connection is not linked (any more): a person must sign in to the package."""

    exit_code = ExitCode.RECONNECT


class AuthRevoked(NeedsReconnect):
    """The package refused the stored grant for good."""


class Stopped(ConnectorError):
    """This connection (or one feed of it) stands still until somebody looks; nothing was lost."""

    exit_code = ExitCode.PARTLY_FAILED


class WrongAdministration(Stopped):
    """The package answered for an administration other than the configured one."""


class PermissionLost(Stopped):
    """A user right, an app scope or a module of the package is missing."""


class SchemaDrift(Stopped):
    """Too many rows of one page failed validation: the package changed shape."""


class Held(Stopped):
    """A change so large that it needs a person's confirmation before it is believed."""


class NotReconciled(Stopped):
    """Our count of what is open and the package's ledger disagree, so nothing is forwarded."""


class Unavailable(ConnectorError):
    """Something outside is away for a while; the program tries again by itself."""

    exit_code = ExitCode.UNAVAILABLE


class Throttled(Unavailable):
    """A call limit was reached; `until` says when calling makes sense again."""

    def __init__(self, what: str, *, until: datetime, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.until = until


class SourceDown(Unavailable):
    """The package, or the way to it, failed in a manner that passes."""


class StoreUnavailable(Unavailable):
    """The database cannot take the write: locked, full, read-only or gone."""


class Busy(Unavailable):
    """Another process holds the lease on this administration."""


class BadRecord(ConnectorError):
    """One row or record that cannot be used; it is quarantined and the rest goes on."""

    exit_code = ExitCode.PARTLY_FAILED
