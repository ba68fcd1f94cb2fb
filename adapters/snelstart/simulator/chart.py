"""Ledger accounts and journals as SnelStart has them: a journal is a ledger account with a function (sheet 5.7)."""

from datetime import datetime
from typing import Final

from adapters.simulation.books import Books
from adapters.simulation.changes import Ids
from adapters.simulation.ledger import AccountKind, LedgerAccount

FUNCTIONS: Final = {
    AccountKind.RECEIVABLE: "DagboekVerkoop",
    AccountKind.PAYABLE: "DagboekInkoop",
    AccountKind.BANK: "DagboekBank",
    AccountKind.CASH: "DagboekKas",
    AccountKind.SUSPENSE: "OnbekendeBetalingen",
    AccountKind.IN_TRANSIT: "Kruisposten",
    AccountKind.VAT: "BtwAfTeDragenHoog",
    AccountKind.REVENUE: "VerkopenOmzetHoog",
    AccountKind.COSTS: "InkopenKostenAlleBtwTarieven",
    AccountKind.WRITE_OFF: "OninbareVorderingen",
    AccountKind.DISCOUNT: "Betalingskorting",
    AccountKind.EXCHANGE_DIFFERENCE: "Diversen",
    AccountKind.EQUITY: "Diversen",
}
PROFIT_AND_LOSS: Final = frozenset({
    AccountKind.REVENUE, AccountKind.COSTS, AccountKind.WRITE_OFF, AccountKind.DISCOUNT,
    AccountKind.EXCHANGE_DIFFERENCE,
})  # fmt: skip
_JOURNALS: Final = {
    AccountKind.CASH: "Kas",
    AccountKind.BANK: "Bank",
    AccountKind.RECEIVABLE: "Verkoop",
    AccountKind.PAYABLE: "Inkoop",
}


class Chart:
    """Accounts by id, and the journals that belong to some of them under ids of their own (sheet 13.13)."""

    def __init__(self, books: Books, ids: Ids) -> None:
        at: datetime = books.clock.now()
        self.memorial = LedgerAccount(ids.new(), "1990", "Memoriaal", AccountKind.EQUITY, at)
        self.opening = LedgerAccount(ids.new(), "1995", "Beginbalans", AccountKind.EQUITY, at)
        accounts = [*books.ledger.accounts.values(), self.memorial, self.opening]
        self.accounts = {account.id: account for account in accounts}
        self.kinds = {account.id: _JOURNALS[account.kind] for account in accounts if account.kind in _JOURNALS}
        self.kinds |= {self.memorial.id: "Memoriaal", self.opening.id: "Balans"}
        self.journals = {ids.new(): self.accounts[account] for account in self.kinds}
        self._journal_of = {account.id: key for key, account in self.journals.items()}
        self._owed_vat = books.ledger.account(AccountKind.VAT)
        self.unknown_payments = books.ledger.account(AccountKind.SUSPENSE)

    def journal(self, account: LedgerAccount) -> str:
        """The id of the journal that an account is."""
        return self._journal_of[account.id]

    def function(self, account: LedgerAccount) -> str:
        if account is self.memorial:
            return "DagboekMemoriaal"
        if account.kind is AccountKind.VAT and account is not self._owed_vat:
            return "BtwTeVorderenHoog"
        return "DagboekBalans" if account is self.opening else FUNCTIONS[account.kind]
