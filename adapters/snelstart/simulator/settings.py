"""The switches of the simulator: who may call, what is enforced, and what is still anybody's guess."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

SCOPES = (
    *(
        f"{area}:{right}"
        for area in ("artikelen", "bankieren", "boekhouden", "documenten", "kas", "memoriaal", "orders", "relaties",
                     "settings")
        for right in ("read", "write")
    ),
    "rapportage",
)  # fmt: skip


class Tier(NamedTuple):
    """Calls an administration may make a minute and an hour, and at the same time (sheet 2)."""

    minute: int
    hour: int
    at_once: int


TIERS = {"development": Tier(100, 1_000, 5), "production": Tier(500, 5_000, 50)}


@dataclass(slots=True)
class SimulatorSettings:
    """May be changed while the simulator runs; the next request obeys.

    Sheet references name the place in the fact sheet that a switch keeps open.
    """

    subscription_keys: tuple[str, ...] = ("5f0c94d2b6e14a7f8d3b1c90e7a2546f", "9be3d07a41f84c26a5c8f6d21e0b7793")
    """Primary and secondary; either works."""
    subscription_days: int | None = None
    """How long the keys live, as those of the development product do; for ever when not given."""
    subscription_expired: bool = False
    app_short_name: str = "SimulatedDunning"
    webhook_url: str | None = None
    """Where changes of a koppelsleutel are told, for the whole app."""

    scopes: tuple[str, ...] = SCOPES
    scopes_as_list: bool = False
    """The claim in the token is a list instead of one string (sheet 1.1)."""
    token_refusal_status: int = 400
    token_description: bool = False
    """Whether a refusal has an `error_description` (sheet 1.1)."""

    tier: Literal["development", "production"] = "development"
    minute_limit: int | None = None
    """Instead of the tier's; as is `hour_limit`."""
    hour_limit: int | None = None
    at_once_limit: int | None = None
    retry_after: bool = True
    hour_is_quota: bool = False
    """Answer the hourly limit as an exhausted quota, a 403 (sheet 2)."""

    order: Literal["by_id", "moving", "restless"] = "by_id"
    """No order is promised: by id, moving with every change of a row, or different at every call (sheet 3.2)."""
    orderby: Literal["seen", "everywhere", "nowhere"] = "seen"
    """Where `$orderby` is obeyed; "seen" are relaties and the two kinds of money bookings (sheet 3.2)."""
    unfilterable: frozenset[str] = frozenset({"verkoopfacturen/OpenstaandSaldo"})
    """Fields known but refused in a `$filter`; nobody shows that this one works (sheet 3.3)."""

    server_zone: str = "Europe/Amsterdam"
    """The zone that timestamps do not tell (sheet 4)."""
    fraction_digits: int | None = None
    """How many digits a second's fraction has; from 0 to 7, different by row, when not given."""
    decimals: Literal["mixed", "two", "four"] = "mixed"
    nothing: Literal["mixed", "null", "absent", "nil"] = "mixed"
    """How a reference to nothing is written (sheet 4)."""
    drop_nulls: bool = True
    """Leave out some of the other fields that have no value, as some answers do."""

    payment_moves_modified: Literal["never", "always", "random"] = "random"
    """Whether `modifiedOn` of a verkoopfactuur moves with its settlement (sheet 7, 9.6)."""
    memorial_sign: Literal[1, -1] = 1
    """Sign of `bedrag` on a memorial's line that settles an invoice (sheet 5.5)."""
    unlinked_on_receivables: bool = False
    """Book money linked to no invoice straight on the receivables account instead of on unknown payments
    (sheet 13.7): then the open items do not come to the account's balance."""
    inactive_by_id: bool = False
    """Whether an inactive relation can be read by its id (sheet 5.1)."""
    inactive_listed: bool = True
    """Whether lists hold inactive relations (sheet 5.1)."""
    invoice_on_booking: bool = True
    """`factuurAlsBijlageVerkoopboeking`: the invoice is kept with its booking (sheet 5.8)."""
    ubl_as: Literal["xml", "string", "list"] = "xml"
    """How `/ubl` answers (sheet 13.19)."""

    page_latency: float = 0.0
    """Seconds every API answer takes, on the simulator's clock."""

    @property
    def limits(self) -> Tier:
        tier = TIERS[self.tier]
        asked = self.minute_limit, self.hour_limit, self.at_once_limit
        return Tier(*(own if own is not None else usual for own, usual in zip(asked, tier, strict=True)))
