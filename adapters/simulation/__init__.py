"""Double-entry books that run by themselves: the shared heart of every package's simulator.

Nothing of any package's protocol lives here. A simulator reads the books and their change log, and speaks
its own wire; `Books.truth` is what a mirror of the books has to equal.
"""

from adapters.simulation.acts import Done
from adapters.simulation.bookkeeper import Bookkeeper
from adapters.simulation.books import Administration, Books
from adapters.simulation.generator import generate
from adapters.simulation.ledger import BookkeepingError

__all__ = ["Administration", "Bookkeeper", "BookkeepingError", "Books", "Done", "generate"]
