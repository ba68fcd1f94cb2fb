"""Fields of the registers: customers and what hangs on them, ledger accounts, journals, conditions."""

from adapters.exactonline.simulator.encoding import padded
from adapters.exactonline.simulator.tables import Columns
from adapters.exactonline.simulator.world import World
from adapters.simulation.ledger import AccountKind, JournalKind
from adapters.simulation.relations import AddressKind, Customer, Role

GL_TYPES = {
    AccountKind.CASH: 10,
    AccountKind.BANK: 12,
    AccountKind.IN_TRANSIT: 32,
    AccountKind.RECEIVABLE: 20,
    AccountKind.PAYABLE: 22,
    AccountKind.VAT: 24,
    AccountKind.SUSPENSE: 90,
    AccountKind.EQUITY: 50,
    AccountKind.REVENUE: 110,
    AccountKind.COSTS: 111,
    AccountKind.WRITE_OFF: 120,
    AccountKind.DISCOUNT: 120,
    AccountKind.EXCHANGE_DIFFERENCE: 120,
}
JOURNAL_TYPES = {
    JournalKind.CASH: 10,
    JournalKind.BANK: 12,
    JournalKind.SALES: 20,
    JournalKind.PURCHASE: 22,
    JournalKind.GENERAL: 90,
}
ADDRESS_TYPES = {
    AddressKind.VISIT: 1,
    AddressKind.POSTAL: 2,
    AddressKind.INVOICE: 3,
    AddressKind.DELIVERY: 4,
}
_STATUSES = {Role.CUSTOMER: "C", Role.SUPPLIER: "A", Role.PROSPECT: "P", Role.OWN: "A"}
_BALANCE_KINDS = {
    AccountKind.REVENUE,
    AccountKind.COSTS,
    AccountKind.WRITE_OFF,
    AccountKind.DISCOUNT,
    AccountKind.EXCHANGE_DIFFERENCE,
}


def accounts(world: World) -> Columns:
    def visit(customer: Customer, part: str) -> str | None:
        address = customer.address(AddressKind.VISIT)
        return getattr(address, part) if address else None

    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Code": lambda row: padded(row.number),
        "Name": lambda row: row.name,
        "SearchCode": lambda row: row.name.upper()[:20],
        "Status": lambda row: _STATUSES[row.role],
        "IsSales": lambda row: row.role is Role.CUSTOMER,
        "IsSupplier": lambda row: row.role is Role.SUPPLIER,
        "IsPurchase": lambda row: row.role is Role.SUPPLIER,
        "IsMailing": lambda _: 0,
        "IsAnonymised": lambda _: 0,
        "Type": lambda row: "D" if row.role is Role.OWN else "A",
        "Blocked": lambda row: row.blocked,
        "StartDate": lambda row: local(row.created).date(),
        "Email": lambda row: row.email or None,
        "Phone": lambda row: row.phone or None,
        "Website": lambda row: row.website,
        "AddressLine1": lambda row: visit(row, "street"),
        "Postcode": lambda row: visit(row, "postcode"),
        "City": lambda row: visit(row, "city"),
        "Country": lambda row: f"{visit(row, 'country') or '':<3}",
        "ChamberOfCommerce": lambda row: row.coc_number,
        "VATNumber": lambda row: row.vat_number,
        "Language": lambda row: f"{row.language:<10}",
        "MainContact": lambda row: row.main_contact.id if row.main_contact else None,
        "PaymentConditionSales": lambda row: row.condition.code,
        "PaymentConditionSalesDescription": lambda row: row.condition.name,
        "SalesCurrency": lambda row: row.currency,
        "CreditLineSales": lambda row: row.credit_limit,
        "GLAR": lambda row: row.receivable.id,
        "InvoicingMethod": lambda _: 2,
        "Created": lambda row: local(row.created),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[2].version(row.id),
    }


def contacts(world: World) -> Columns:
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Account": lambda row: row.customer.id,
        "AccountName": lambda row: row.customer.name,
        "AccountIsCustomer": lambda row: row.customer.role is Role.CUSTOMER,
        "FirstName": lambda row: row.first_name,
        "LastName": lambda row: row.last_name,
        "FullName": lambda row: f"{row.first_name} {row.last_name}",
        "Email": lambda row: row.email,
        "BusinessEmail": lambda row: row.email,
        "Phone": lambda row: row.phone,
        "BusinessPhone": lambda row: row.phone,
        "Language": lambda row: f"{row.customer.language:<10}",
        "IsMainContact": lambda row: row.main,
        "IsMailingExcluded": lambda _: False,
        "IsAnonymised": lambda _: 0,
        "Created": lambda row: local(row.modified),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[5].version(row.id),
    }


def addresses(world: World) -> Columns:
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Account": lambda row: row.customer.id,
        "AccountName": lambda row: row.customer.name,
        "Type": lambda row: ADDRESS_TYPES[row.kind],
        "Main": lambda row: row.main,
        "AddressLine1": lambda row: row.street,
        "Postcode": lambda row: row.postcode,
        "City": lambda row: row.city,
        "Country": lambda row: f"{row.country:<3}",
        "Created": lambda row: local(row.modified),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[3].version(row.id),
    }


def bank_accounts(world: World) -> Columns:
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Account": lambda row: row.customer.id,
        "AccountName": lambda row: row.customer.name,
        "BankAccount": lambda row: row.iban,
        "IBAN": lambda row: row.iban,
        "BICCode": lambda row: row.bic,
        "BankAccountHolderName": lambda row: row.holder,
        "Main": lambda row: row.main,
        "Blocked": lambda _: False,
        "Type": lambda _: "A",
        "Created": lambda row: local(row.modified),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
    }


def mandates(world: World) -> Columns:
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Account": lambda row: row.customer.id,
        "BankAccount": lambda row: row.bank_account.id,
        "Reference": lambda row: row.reference,
        "Main": lambda _: 1,
        "PaymentType": lambda _: 1,
        "Type": lambda _: 0,
        "FirstSend": lambda _: 1,
        "SignatureDate": lambda row: row.signed,
        "CancellationDate": lambda row: row.cancelled,
        "Created": lambda row: local(row.modified),
        "Modified": lambda row: local(row.modified),
        "Division": lambda _: world.division,
    }


def gl_accounts(world: World) -> Columns:
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Code": lambda row: row.code,
        "Description": lambda row: row.name,
        "Type": lambda row: GL_TYPES[row.kind],
        "TypeDescription": lambda row: row.kind.value.replace("_", " "),
        "BalanceType": lambda row: "W" if row.kind in _BALANCE_KINDS else "B",
        "BalanceSide": lambda row: "C" if row.kind in {AccountKind.REVENUE, AccountKind.PAYABLE} else "D",
        "IsBlocked": lambda _: False,
        "Matching": lambda row: row.kind in {AccountKind.RECEIVABLE, AccountKind.PAYABLE},
        "SearchCode": lambda row: row.name.upper(),
        "Created": lambda row: local(row.created),
        "Modified": lambda row: local(row.created),
        "Division": lambda _: world.division,
        "Timestamp": lambda row: world.feeds[7].version(row.id),
    }


def journals(world: World) -> Columns:
    local = world.clock.local
    return {
        "ID": lambda row: row.id,
        "Code": lambda row: row.code,
        "Description": lambda row: row.name,
        "Type": lambda row: JOURNAL_TYPES[row.kind],
        "Currency": lambda _: world.books.administration.currency,
        "GLAccount": lambda row: row.account.id if row.account else None,
        "GLAccountCode": lambda row: row.account.code if row.account else None,
        "GLAccountDescription": lambda row: row.account.name if row.account else None,
        "GLAccountType": lambda row: GL_TYPES[row.account.kind] if row.account else None,
        "BankAccountIBAN": lambda row: row.iban,
        "BankAccountBICCode": lambda row: row.bic,
        "PaymentInTransitAccount": lambda row: (
            world.books.ledger.account(AccountKind.IN_TRANSIT).id if row.iban else None
        ),
        "IsBlocked": lambda _: False,
        "AllowVAT": lambda _: False,
        "PaymentServiceProvider": lambda _: 0,
        "Created": lambda row: local(row.created),
        "Modified": lambda row: local(row.created),
        "Division": lambda _: world.division,
    }


def payment_conditions(world: World) -> Columns:
    return {
        "ID": lambda row: row.id,
        "Code": lambda row: row.code,
        "Description": lambda row: row.name,
        "PaymentDays": lambda row: row.days,
        "PaymentEndOfMonths": lambda _: 0,
        "PaymentMethod": lambda row: "I" if row.collected else "B",
        "Percentage": lambda _: 100,
        "DiscountPercentage": lambda row: row.discount_percentage,
        "DiscountPaymentDays": lambda row: row.discount_days,
        "DiscountCalculation": lambda row: "I" if row.discount_days else None,
        "PaymentDiscountType": lambda row: "B" if row.discount_days else None,
        "Division": lambda _: world.division,
    }
