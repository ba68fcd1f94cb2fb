"""How a connection is let in, by the client's key and by our own, and what a refusal means (sheet 1, 2). Pure."""

import re
from typing import Final, Literal

import msgspec

from connector.adapter import KeyGrant, OAuth
from connector.http import Refusal

_SUBSCRIPTION: Final = re.compile(r"subscription key", re.IGNORECASE)
_QUOTA: Final = re.compile(r"quota", re.IGNORECASE)
_REPLENISHED: Final = re.compile(r"(\d+):(\d\d):(\d\d)")
_UNKNOWN_S: Final = 600
"""Where the gateway does not say until when."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a connection to SnelStart."""

    base_url: str = "https://b2bapi.snelstart.nl/v2"
    auth_url: str = "https://auth.snelstart.nl"
    web_url: str = "https://web.snelstart.nl"
    ledger_total: Literal["mutations", "period_balance"] = "mutations"
    """Where the control total comes from: the sum of all ledger lines, or the report of the current year, for books in
    which the lines of earlier years are left out or carried forward."""


def clean(key: str) -> str:
    """Without what creeps in when keys are copied: quotes, blanks, a written line end (sheet 1.4)."""
    return key.strip().strip("\"'").replace("\\n", "").strip()


def oauth(options: Options) -> OAuth:
    """Sheet 1.1: the key is exchanged for a token of 3599 seconds, again and again."""
    return OAuth(
        token_url=f"{options.auth_url.rstrip('/')}/b2b/token",
        key=KeyGrant(
            label="koppelsleutel",
            where="SnelStart Web > Koppelingen > Maatwerk (inZicht or inControle)",
            form=lambda key: {"grant_type": "clientkey", "clientkey": clean(key)},
        ),
        refresh_margin_s=60,
    )


def refusal(status: int, said: str) -> Refusal | None:
    """The gateway stands before the API: it alone knows the subscription key, and counts the calls.

    A dead subscription key stops every client at once, and signing in again does not help any of them. An exhausted
    quota comes as a 403 but passes by itself. Everything else means what its status says.
    """
    if status == 401 and _SUBSCRIPTION.search(said):
        return Refusal(app=True)
    if status == 403 and _QUOTA.search(said):
        left = _REPLENISHED.search(said)
        return Refusal(wait_s=int(left[1]) * 3600 + int(left[2]) * 60 + int(left[3]) if left else _UNKNOWN_S)
    return None
