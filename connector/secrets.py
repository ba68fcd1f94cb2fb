"""Secret strings that cannot be printed by accident, and the register that finds them in any text.

A `Secret` is registered while anybody holds it and for a while after, so that `redact` masks its value wherever it
turns up: in an exception, in a URL, in another library's log line.
"""

import json
import re
import resource
import threading
import weakref
from collections import deque
from typing import Final, NoReturn
from urllib.parse import quote, quote_plus

MASK: Final = "***"

# Replacing shorter strings would garble ordinary text; nothing that short is a secret worth the name.
_SHORTEST: Final = 8
_REMEMBERED: Final = 512

_lock = threading.RLock()
_live: dict[int, weakref.ref["Secret"]] = {}
_recent: deque["Secret"] = deque(maxlen=_REMEMBERED)

_PATTERNS: Final = (
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=%-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"\b(connector_[0-9a-f]{8}_)[\w-]{20,}"), rf"\g<1>{MASK}"),
    (
        re.compile(
            r"((?:access_token|refresh_token|id_token|client_secret|code_verifier|password)"
            r"""\\?["']?\s*[:=]\s*\\?["']?)[^\s"'&,;}\\]+""",
            re.IGNORECASE,
        ),
        rf"\g<1>{MASK}",
    ),
    (re.compile(r"""(?<![\w-])((?:code|state)=)[^\s&"'\\]{8,}"""), rf"\g<1>{MASK}"),
)


class Secret:
    """A string that shows itself only through `reveal()`; printing, formatting and pickling do not."""

    __slots__ = ("__weakref__", "_value", "forms")

    def __init__(self, value: str) -> None:
        self._value = value
        self.forms = frozenset({value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]})
        """The value as it stands, in a URL, in a form body and inside a JSON string."""
        if len(value) >= _SHORTEST:
            key = id(self)
            with _lock:
                _live[key] = weakref.ref(self, lambda _: _live.pop(key, None))
                _recent.append(self)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


def forbid_core_dumps() -> None:
    """A core dump of this process would hold every secret in the clear."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def redact(text: str) -> str:
    """The text with every registered secret, and everything that looks like a credential, masked."""
    with _lock:
        held = [secret for reference in list(_live.values()) if (secret := reference()) is not None]
    found = {form for secret in held for form in secret.forms if form in text}
    for form in sorted(found, key=len, reverse=True):
        text = text.replace(form, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
