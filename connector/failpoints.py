"""Named places where a test makes the program die, stop or fail; nothing at all unless the environment asks.

`CONNECTOR_FAILPOINTS="page.in_tx=kill9@3,deliver.after_post=raise"`: at the third hit of the first place the process
kills itself, at each hit of the second it raises. Actions: `kill9`, `stop` (SIGSTOP, as a laptop that sleeps),
`raise`, `sleep:SECONDS`. Without `@N` an action happens at every hit, with it at the N-th only.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "CONNECTOR_FAILPOINTS"

NAMES: Final = frozenset(
    {
        "activation.after_note",
        "deliver.after_mark",
        "deliver.after_post",
        "deliver.before_mark",
        "migrate.mid",
        "outbox.after_claim",
        "page.after_commit",
        "page.after_fetch",
        "page.before_commit",
        "page.in_tx",
        "records.after_commit",
        "records.in_tx",
        "rekey.mid",
        "sweep.mid",
        "token.after_commit",
        "token.after_http",
        "token.after_intent",
        "token.before_intent",
    }
)


class InjectedFailure(Exception):
    """Raised by the action `raise`."""


def armed(setting: str) -> Callable[[str], None]:
    """The failpoint of a program under test."""
    actions: dict[str, tuple[str, int]] = {}
    for part in setting.split(","):
        name, _, action = part.partition("=")
        action, _, hit = action.partition("@")
        if name not in NAMES:
            raise ValueError(f"{VARIABLE} names no failpoint {name!r}")
        actions[name] = (action, int(hit or 0))
    hits: Counter[str] = Counter()
    lock = threading.Lock()

    def failpoint(name: str) -> None:
        action, at = actions.get(name, ("", 0))
        with lock:
            hits[name] += 1
            count = hits[name]
        if action and at in {0, count}:
            _act(action, name)

    return failpoint


def _act(action: str, name: str) -> None:
    kind, _, value = action.partition(":")
    match kind:
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise InjectedFailure(name)
        case "sleep":
            time.sleep(float(value))
        case _:
            raise ValueError(f"{VARIABLE} knows no action {action!r}")


def _unarmed(name: str) -> None:
    """Costs one call that does nothing."""


failpoint: Final = armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _unarmed
