"""An invoice as UBL, in whichever form SnelStart hands it out (sheet 13.19). Pure."""

import json
from typing import Any

from connector.errors import SchemaDrift


def ubl(body: bytes, where: str) -> bytes:
    """XML, a text in JSON, or a list with the text somewhere in it.

    Raises:
        SchemaDrift: none of these.
    """
    if body.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return body
    try:
        text = _xml_in(json.loads(body))
    except ValueError:
        text = None
    if text is None:
        raise SchemaDrift("the UBL of an invoice came in an unknown form", where=where, fix="report it")
    return text.encode()


def _xml_in(value: Any) -> str | None:
    match value:
        case str() if value.lstrip("\ufeff \r\n\t").startswith("<"):
            return value
        case dict() | list():
            inner = value.values() if isinstance(value, dict) else value
            return next((found for one in inner if (found := _xml_in(one)) is not None), None)
        case _:
            return None
