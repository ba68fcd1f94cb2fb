"""A bookkeeper with a repertoire: named acts on the books, for demos and for tests."""

from collections.abc import Callable, Sequence
from inspect import signature
from random import Random
from typing import Any

from adapters.simulation.acts import Done
from adapters.simulation.acts_charges import ChargeActs
from adapters.simulation.acts_customers import CustomerActs
from adapters.simulation.acts_money import MoneyActs
from adapters.simulation.books import Books
from adapters.simulation.choices import Choices
from adapters.simulation.ledger import BookkeepingError

Repertoire = Callable[[Books, Choices], object]
"""A class whose public methods are acts: optional arguments in, `Done` out."""


class Bookkeeper:
    """Does one act at a time. What an act is not told (which invoice, how much) it picks by its seed.

    An act that the books cannot do now raises `BookkeepingError` and leaves them as they were.
    """

    def __init__(
        self, books: Books, *, seed: int = 0, without: frozenset[str] = frozenset(), more: Sequence[Repertoire] = ()
    ) -> None:
        """Leave out acts `without` which a package does, and learn `more` that only it does."""
        self._rng = Random(seed)
        choose = Choices(books, self._rng)
        repertoire = [acts(books, choose) for acts in (MoneyActs, ChargeActs, CustomerActs, *more)]
        self._acts: dict[str, Callable[..., Done]] = {
            name: getattr(acts, name)
            for acts in repertoire
            for name in vars(type(acts))
            if not name.startswith("_") and name not in without
        }

    @property
    def names(self) -> list[str]:
        """Every act by name, sorted."""
        return sorted(self._acts)

    def perform(self, name: str, /, **args: Any) -> Done:
        """Do the act of that name. Items and customers are given by id, amounts as decimal strings."""
        act = self._acts.get(name)
        if act is None:
            raise BookkeepingError(f"no act {name!r}; there are: {', '.join(self.names)}")
        try:
            signature(act).bind(**args)
            return act(**args)
        except BookkeepingError:
            raise
        except (TypeError, ValueError) as error:
            raise BookkeepingError(f"{name}: {error}") from error

    def random_action(self, rng: Random | None = None) -> Done:
        """Do some act that is possible now, chosen by `rng` or by the bookkeeper's own seed."""
        names = self.names
        (rng or self._rng).shuffle(names)
        for name in names:
            try:
                return self._acts[name]()
            except BookkeepingError:
                continue
        raise BookkeepingError("nothing is possible in these books")
