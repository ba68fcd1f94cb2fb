"""A pause for the garbage collector while millions of objects are made that all stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 500_000


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Looking for garbage among objects that all stay would cost half the time of making them.

    When very many were made they are set aside for good: every later look at them would take seconds.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > _MANY:
            gc.freeze()
        if was_enabled:
            gc.enable()
