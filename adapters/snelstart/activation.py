"""How a koppelsleutel comes to us: the page on which the client agrees, and what is posted then (sheet 1.2). Pure."""

from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from adapters.snelstart.access import Options
from connector.adapter import Activation, KeyNews
from connector.secrets import Secret

_ACTIONS: Final[dict[str, Literal["created", "replaced", "deleted"]]] = {
    "create": "created",
    "regenerate": "replaced",
    "delete": "deleted",
}


def page(options: Options, app: str, reference: str, back: str) -> str:
    """`app` is the short name that SnelStart gave our app; `reference` may have 500 characters."""
    query = urlencode({"referenceKey": reference, "successUrl": back})
    return f"{options.web_url.rstrip('/')}/couplings/activate/{quote(app, safe='')}?{query}"


def read(body: bytes) -> KeyNews | None:
    """The names in any case: nobody has published a body that was really sent. A deletion may come without its key."""
    try:
        said: Any = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    words = {name.lower(): value or "" for name, value in said.items()}
    reference, key = words.get("referencekey"), words.get("koppelsleutel", "")
    action = _ACTIONS.get(str(words.get("actiontype")).lower())
    if not isinstance(reference, str) or not reference or not isinstance(key, str) or action is None:
        return None
    return KeyNews(action=action, reference=Secret(reference), key=Secret(key))


ACTIVATION: Final = Activation(page=page, read=read)
