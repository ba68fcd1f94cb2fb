"""The switches of the simulator: who may call, what is enforced, and what is still anybody's guess."""

from dataclasses import dataclass


@dataclass(slots=True)
class SimulatorSettings:
    """May be changed while the simulator runs; the next request obeys.

    Sheet references name the place in the fact sheet that a switch keeps open.
    """

    client_id: str = "simulated-client"
    client_secret: str = "simulated-secret"  # noqa: S105 - nothing real is behind it
    webhook_secret: str = "simulated-webhook-secret"  # noqa: S105 - same
    redirect_uris: tuple[str, ...] = ()
    """Allowed redirect URIs; none given allows any on the loopback interface."""
    auto_approve: bool = False
    """Answer the authorize request with a redirect at once instead of a consent page."""

    division: int | None = None
    """The number of the books' division; the administration's own code when not given."""
    other_divisions: tuple[int, ...] = ()
    """More divisions of the same user, with nothing in them."""
    granted: frozenset[int] | None = None
    """Divisions the app may see; every one when not given."""
    division_blocking_status: int = 0
    server_zone: str = "Europe/Amsterdam"

    minute_limit: int = 60
    day_limit: int = 5000
    token_day_limit: int = 200
    error_limit: int = 10
    block_status: int = 403
    """How the error block presents itself is not documented (sheet 9)."""

    mandatory_filter: bool = True
    select_on_sync: bool = False
    byte_order_mark: bool = False
    plain_envelope: bool = True
    """Answer a first page with a small `$top` as `{"d": [...]}` (sheet 3.1)."""
    duplicate_ids: bool = False
    """Let sync feeds hand out a row twice, the older state first (sheet 4)."""
    shuffle_sync: bool = False
    """Order within a sync page is not promised (sheet 14)."""

    receivable_sign: int = -1
    """Sign of an open invoice's AmountDC in Receivables and PaymentTerms (sheet 8.4)."""
    transaction_sign: int = 1
    """Sign of an invoice's TransactionAmountDC."""
    receivables_list_sign: int = 1
    """Sign of an open invoice's Amount in ReceivablesList; the sources disagree (sheet 8.4)."""
    replace_terms_on_edit: bool = True
    split_keeps_matched: bool = False
    """Which slice of a partially matched term keeps its id: the matched one, or else the rest (sheet 14)."""
    opening_rows: bool = True
    """Whether ReportingBalance carries balances forward in opening rows (sheet 16.5)."""

    old_refresh_token_lives: bool = False
    """Whether a superseded refresh token works until its successor is used (sheet 2.2, disputed)."""
    access_token_survives: bool = True
    """Whether the old access token outlives a refresh (sheet 16.10)."""

    page_latency: float = 0.0
    """Seconds every API answer takes, on the simulator's clock."""
