"""What follows when rows are absent from a complete read: a question to the package, never a conclusion.

Absence starts a look-up by key. Only what the package then says is believed, and only up to a size: if suddenly a
large part of the books cannot be found, the likelier explanation is a lost right, so a person is asked first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from connector.adapter import BadRow, Removal, Row
from connector.errors import Held

HOLD_COUNT = 50
HOLD_SHARE = 0.2


@dataclass(frozen=True)
class Verdict:
    """The answer of the package about rows that a complete read did not hold."""

    found: Sequence[Row]
    bad: Sequence[BadRow]
    gone: Sequence[Removal]


def weigh(kind: str, asked: Sequence[str], answer: Sequence[Row | BadRow]) -> Verdict:
    """What is still there, and what the package does not know any more. Pure.

    An item that is there but cannot be decoded is not gone. Rows of another kind in the answer are kept: an item may
    have turned into something else (an open line that now lies on another account).
    """
    found = [row for row in answer if isinstance(row, Row)]
    bad = [row for row in answer if isinstance(row, BadRow)]
    known = {row.key for row in found if row.kind == kind} | {row.key for row in bad}
    gone = [Removal(kind=kind, key=key) for key in asked if key not in known]
    return Verdict(found=found, bad=bad, gone=gone)


def check_size(gone: int, stored: int, *, kind: str, connection: str) -> None:
    """Refuse the catastrophic.

    Raises:
        Held: more than fifty and more than a fifth of what is stored would disappear at once.
    """
    if gone > HOLD_COUNT and gone > stored * HOLD_SHARE:
        raise Held(
            f"{gone} of {stored} items of kind {kind!r} cannot be found in the package any more",
            where=f"connection {connection}",
            fix="check the rights of the user that linked the connection; if the items were really deleted, run "
            f"`connector sync {connection} --accept-removals`",
        )
