"""What an act answers, and how its sentence is put together."""

from dataclasses import dataclass
from decimal import Decimal

from adapters.simulation.matching import Item


@dataclass(frozen=True, slots=True)
class Done:
    """What was booked, in a sentence for people, and the ids of the items or customers it touched."""

    sentence: str
    ids: tuple[str, ...]


def done(sentence: str, *items: Item) -> Done:
    return Done(sentence, tuple(item.id for item in items))


def money(amount: Decimal, item: Item) -> str:
    return f"{item.line.entry.currency} {amount:,.2f}"


def whose(item: Item) -> str:
    return item.customer.name
