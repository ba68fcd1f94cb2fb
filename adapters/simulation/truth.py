"""The oracle: the receivable side of the books as plain data."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from adapters.simulation.ledger import cents
from adapters.simulation.matching import Item
from adapters.simulation.relations import AddressKind, Customer, Role

if TYPE_CHECKING:  # the books ask for their own truth
    from adapters.simulation.books import Books


def truth(books: "Books") -> dict[str, Any]:
    """Customers and receivable-side items by id, ready for JSON.

    Amounts are decimal strings, positive when the customer owes; `total` and `open` in the item's own
    currency, `base_total` and `base_open` in the administration's. The `base_open` of all items sum to
    `receivable_balance`. `unassigned_balance` is what stands on a control account without a customer, which
    no item can show. `settled_by` names, for an item, the items it was matched with and the amount each took.
    """
    matching = books.matching
    administration = books.administration
    balance = sum((item.base_open for item in matching.items.values()), Decimal("0.00"))
    debtors = [
        customer
        for customer in books.relations.customers.values()
        if customer.role is Role.CUSTOMER or matching.of_customer.get(customer.id)
    ]
    return {
        "administration": {
            "code": administration.code,
            "name": administration.name,
            "currency": administration.currency,
        },
        "customers": {customer.id: _customer(customer) for customer in debtors},
        "items": {item.id: _item(item) for item in matching.items.values()},
        "receivable_balance": _amount(balance),
        "unassigned_balance": _amount(books.receivable_balance - balance),
    }


def _customer(customer: Customer) -> dict[str, Any]:
    visit = customer.address(AddressKind.VISIT)
    invoice = customer.address(AddressKind.INVOICE)
    return {
        "number": str(customer.number),
        "name": customer.name,
        "email": customer.email or None,
        "phone": customer.phone or None,
        "street": visit.street if visit else None,
        "postcode": visit.postcode if visit else None,
        "city": visit.city if visit else None,
        "country": visit.country if visit else None,
        "invoice_city": invoice.city if invoice else None,
        "coc_number": customer.coc_number,
        "vat_number": customer.vat_number,
        "blocked": customer.blocked,
    }


def _item(item: Item) -> dict[str, Any]:
    entry = item.line.entry
    return {
        "customer": item.customer.id,
        "number": str(item.number),
        "kind": item.kind.value,
        "currency": entry.currency,
        "date": entry.on.isoformat(),
        "due_date": item.due_date.isoformat(),
        "total": _amount(item.total),
        "open": _amount(item.open),
        "base_total": _amount(item.line.base),
        "base_open": _amount(item.base_open),
        "settled_by": [
            {"item": part.item.id, "kind": part.item.kind.value, "amount": _amount(part.amount)}
            for match in item.matches
            for part in match.parts
            if part.item is not item
        ],
    }


def _amount(amount: Decimal) -> str:
    return str(cents(amount))
