"""Which fields each model has, and of what type: read once from `fields.txt`."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

PREFIX = "SnelStart.B2B.Api.V2.Models."
LINK = {"id": "guid", "uri": "string"}


@cache
def models() -> dict[str, dict[str, str]]:
    """Every model by its name without `PREFIX`: field names with their types."""
    found: dict[str, dict[str, str]] = {}
    name = ""
    for line in files(__package__).joinpath("fields.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            found[name].update(word.partition(":")[::2] for word in line.split())
        else:
            name = line
            found[name] = {}
    return found


def fields_of(kind: str) -> Mapping[str, str] | None:
    """The fields inside a value of this type, or None when it has none."""
    return LINK if kind == "link" else models().get(kind)
