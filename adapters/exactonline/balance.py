"""The control balance and the sign of the open amounts (sheet 8.3, 8.4, 16.4, 16.5). Pure."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from adapters.exactonline.wire import amount, whole
from connector.adapter import Fields
from connector.decoding import essential
from connector.domain.money import ZERO
from connector.errors import NotReconciled

MINUS, PLUS = -1, 1
"""Every known division has minus; it stands where nothing is open that could say otherwise."""

_SALES_TYPES = frozenset({20, 21})


def control_balance(items: Iterable[dict[str, Any]]) -> Decimal:
    """What the ledger says is receivable, from all reporting-balance rows of the control accounts.

    A year may begin with rows that carry the balance of the years before it forward; they are not counted again.
    They are recognised by what they add up to, the balance so far, among the rows of period 0, those of the opening
    type, or both: which of these it is differs (sheet 14). Other opening rows are bookings like any other.

    Raises:
        NotReconciled: a year opens, in period 0, with something else than the years before it add up to.
    """
    years: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        years[essential(item, "ReportingYear", whole)].append(item)
    running = ZERO
    for position, year in enumerate(sorted(years)):
        moved = _sum(years[year])
        carried = [_sum(filter(opens, years[year])) for opens in _OPENING] if position else []
        if running and running in carried:
            moved -= running
        elif carried and carried[0]:
            raise NotReconciled(
                f"the books of {year} open with {carried[0]}, but the years before add up to {running}",
                where="the receivable control accounts in the reporting balance",
                fix="look at the opening entry of that year in Exact Online; nothing is forwarded until they agree",
            )
        running += moved
    return running


def _sum(items: Iterable[dict[str, Any]]) -> Decimal:
    return sum((Decimal(essential(item, "Amount", amount)) for item in items), ZERO)


def _in_period_0(item: dict[str, Any]) -> bool:
    return item.get("ReportingPeriod") == 0


def _of_opening_type(item: dict[str, Any]) -> bool:
    return item.get("Type") == 10


_OPENING: Final = (
    _in_period_0,
    _of_opening_type,
    lambda item: _in_period_0(item) and _of_opening_type(item),
    lambda item: _in_period_0(item) or _of_opening_type(item),
)
"""The ways in which carried-forward rows may be marked."""


def vote(term: Fields) -> int:
    """What one open term says: 1 when its amount has the sign of its booking, -1 when the opposite, 0 when neither.

    Only sales and credit bookings have a say: on a receipt the booking's sign is not certain (sheet 16.4).
    """
    if term.get("TransactionType") not in _SALES_TYPES or "TransactionAmountDC" not in term:
        return 0
    part, booking = Decimal(term["AmountDC"]), Decimal(term["TransactionAmountDC"])
    if not part or not booking:
        return 0
    return 1 if (part > 0) == (booking > 0) else -1


def sign_by(votes: int) -> int | None:
    """The verdict of the terms alone; None when they are divided or have no say."""
    return (PLUS if votes > 0 else MINUS) if votes else None


def sign_of(total: Decimal, balance: Decimal, *, votes: int, previous: int | None) -> int | None:
    """The factor that turns a term's amount into what the customer owes.

    `total` is the sum of all open amounts, `balance` the control balance, `votes` the sum over the open terms. The
    balance decides; where it is silent (one of the two is zero) the last verdict stands, then the terms themselves.
    None when all are silent: a guess that is written down would pass for knowledge later. The balance need not agree to
    the cent: it is read a moment later and may hold lines without a customer, which the control total accounts for.

    Raises:
        NotReconciled: the balance asks for one sign and the bookings themselves for the other.
    """
    by_terms = sign_by(votes)
    if not total or not balance:
        return previous or by_terms
    by_balance = PLUS if (total > 0) == (balance > 0) else MINUS
    if by_terms in {None, by_balance} or balance == total * by_balance:
        return by_balance
    raise NotReconciled(
        f"open items of {total} cannot be reconciled with a control balance of {balance} under either sign",
        where="payment terms and the receivable control accounts",
        fix="compare the outstanding items report with the balance in Exact Online; nothing is forwarded till then",
    )
