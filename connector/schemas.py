"""The JSON Schemas of the events, made from the types that write them: `python -m connector.schemas docs/schemas`."""

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from connector.domain.events import Meta, record_type
from connector.domain.records import ENTITIES
from connector.domain.signals import SIGNALS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
BASE: Final = "https://connector.invalid/schemas"
DECIMAL: Final = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}

RECORDS: Final[dict[str, type[msgspec.Struct]]] = {
    record_type(entity, verb): record for entity, record in ENTITIES.items() for verb in ("upserted", "removed")
} | {event_type: signal.payload for event_type, signal in SIGNALS.items()}
"""What `data.record` holds, by event type."""


def schema(event_type: str) -> dict[str, Any]:
    """One whole event of this type. Unknown members are allowed everywhere: receivers must tolerate them."""
    record = RECORDS[event_type]
    (meta_ref, record_ref), definitions = msgspec.json.schema_components([Meta, record], ref_template="#/$defs/{name}")
    text = {"type": "string"}
    constant = {"specversion": "1.0", "type": event_type, "datacontenttype": "application/json"}
    attributes: dict[str, Any] = {
        **{name: {"const": value} for name, value in constant.items()},
        "id": {**text, "pattern": "^[0-9a-f]{32}$"},
        "source": {**text, "format": "uri"},
        "subject": {**text, "pattern": "^[a-z]+/.+$"},
        "time": {**text, "format": "date-time"},
        "sequence": {**text, "pattern": "^[0-9]{20}$"},
        "partitionkey": {**text, "minLength": 1},
        "dataschema": {**text, "format": "uri"},
        "data": {
            "type": "object",
            "properties": {"meta": meta_ref, "record": record_ref, "raw_ref": text},
            "required": ["meta", "record"],
        },
    }
    return {
        "$schema": DIALECT,
        "$id": f"{BASE}/{event_type}.json",
        "title": event_type,
        "type": "object",
        "properties": attributes,
        "required": sorted(attributes),
        "$defs": {name: _plain(definition) for name, definition in sorted(definitions.items())},
    }


def files() -> dict[str, str]:
    """File name -> text, the same on every machine."""
    return {
        f"{event_type}.json": json.dumps(schema(event_type), indent=2, ensure_ascii=False) + "\n"
        for event_type in RECORDS
    }


def _plain(value: Any) -> Any:
    """Amounts as a pattern of digits, and docstrings without their indentation."""
    if isinstance(value, Mapping):
        if value.get("format") == "decimal":
            return DECIMAL
        return {
            name: inspect.cleandoc(part) if name == "description" and isinstance(part, str) else _plain(part)
            for name, part in value.items()
        }
    return [_plain(part) for part in value] if isinstance(value, list) else value


def main(folder: str) -> None:
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (target / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
