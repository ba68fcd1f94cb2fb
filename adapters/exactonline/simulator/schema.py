"""Which fields each endpoint has, and of what type: read once from `fields.txt`."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Schema(NamedTuple):
    """An endpoint's key and its fields with their Edm types, in the order answers show them."""

    key: str
    fields: dict[str, str]


@cache
def schemas() -> dict[str, Schema]:
    """Every served endpoint by its path below the division."""
    found: dict[str, Schema] = {}
    for line in files(__package__).joinpath("fields.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        if not line.startswith(" "):
            path, key = words
            found[path] = Schema(key, {})
        elif words[0] == "=":
            found[path].fields.update(found[words[1]].fields)
        else:
            found[path].fields.update(word.partition(":")[::2] for word in words)
    return found
