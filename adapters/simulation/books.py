"""The books of one administration, and how they are opened."""

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from adapters.simulation.cash import Cash
from adapters.simulation.changes import ChangeLog, Ids
from adapters.simulation.corrections import Corrections
from adapters.simulation.documents import Documents
from adapters.simulation.ledger import AccountKind, JournalKind, Ledger
from adapters.simulation.matching import Matching
from adapters.simulation.relations import PaymentCondition, Relations
from adapters.simulation.sales import Sales
from adapters.simulation.truth import truth
from connector.clock import Clock

CHART = (
    ("0500", "Eigen vermogen", AccountKind.EQUITY),
    ("1000", "Kas", AccountKind.CASH),
    ("1100", "ING zakelijke rekening", AccountKind.BANK),
    ("1110", "Rabobank zakelijke rekening", AccountKind.BANK),
    ("1290", "Gelden onderweg", AccountKind.IN_TRANSIT),
    ("1300", "Debiteuren", AccountKind.RECEIVABLE),
    ("1310", "Debiteuren buitenland", AccountKind.RECEIVABLE),
    ("1500", "Af te dragen btw", AccountKind.VAT),
    ("1520", "Te vorderen btw", AccountKind.VAT),
    ("1600", "Crediteuren", AccountKind.PAYABLE),
    ("2990", "Vraagposten", AccountKind.SUSPENSE),
    ("4000", "Inkoopkosten", AccountKind.COSTS),
    ("4910", "Afgeboekte vorderingen", AccountKind.WRITE_OFF),
    ("4960", "Koersverschillen", AccountKind.EXCHANGE_DIFFERENCE),
    ("8000", "Omzet", AccountKind.REVENUE),
    ("8900", "Verleende betalingskorting", AccountKind.DISCOUNT),
)

JOURNALS = (
    ("00", "Beginbalans", JournalKind.GENERAL, None, None, None),
    ("10", "Kasboek", JournalKind.CASH, "1000", None, None),
    ("20", "ING", JournalKind.BANK, "1100", "NL91INGB0417164300", "INGBNL2A"),
    ("21", "Rabobank", JournalKind.BANK, "1110", "NL39RABO0300065264", "RABONL2U"),
    ("60", "Inkoopboek", JournalKind.PURCHASE, "1600", None, None),
    ("70", "Verkoopboek", JournalKind.SALES, "1300", None, None),
    ("71", "Verkoopboek webwinkel", JournalKind.SALES, "1300", None, None),
    ("90", "Memoriaal", JournalKind.GENERAL, None, None, None),
    ("93", "Betalingsverschillen", JournalKind.GENERAL, None, None, None),
    ("95", "Koersverschillen", JournalKind.GENERAL, None, None, None),
)

CONDITIONS = (
    PaymentCondition("", "00", "Contant", 0),
    PaymentCondition("", "14", "14 dagen", 14),
    PaymentCondition("", "30", "30 dagen netto", 30),
    PaymentCondition("", "60", "60 dagen netto", 60),
    PaymentCondition("", "K2", "30 dagen, 2% korting binnen 8 dagen", 30, 8, 2),
    PaymentCondition("", "IN", "Automatische incasso 14 dagen", 14, collected=True),
)


class Administration(NamedTuple):
    """Whose books these are. Dates are days in `zone`."""

    code: int
    name: str
    country: str = "NL"
    currency: str = "EUR"
    zone: str = "Europe/Amsterdam"
    coc_number: str = "34185291"
    vat_number: str = "NL810433941B01"


class Books:
    """Ledger, relations, items and documents of one administration, and the acts that change them."""

    def __init__(self, *, seed: int, clock: Clock, administration: Administration) -> None:
        self.clock = clock
        self.seed = seed
        self.administration = administration
        self.changes = ChangeLog()
        ids = Ids(seed)
        self.ledger = Ledger(ids, self.changes, administration.currency)
        at = clock.now()
        for code, name, kind in CHART:
            self.ledger.open_account(code, name, kind, at)
        for code, name, journal, account, iban, bic in JOURNALS:
            self.ledger.open_journal(code, name, journal, at, account=account, iban=iban, bic=bic)
        self.relations = Relations(ids, self.changes)
        for condition in CONDITIONS:
            self.relations.add_condition(condition)
        self.matching = Matching(self.changes, self.ledger, self.ledger.journals["95"])
        self.documents = Documents(ids, self.changes)
        self.sales = Sales(self)
        self.cash = Cash(self)
        self.corrections = Corrections(self)

    @property
    def today(self) -> date:
        return self.clock.now().astimezone(ZoneInfo(self.administration.zone)).date()

    @property
    def receivable_balance(self) -> Decimal:
        """What the control accounts say, whether or not a line names its customer."""
        return self.ledger.balance(AccountKind.RECEIVABLE)

    def truth(self) -> dict[str, Any]:
        """What a mirror of these books has to equal; see `truth` for its shape."""
        return truth(self)
