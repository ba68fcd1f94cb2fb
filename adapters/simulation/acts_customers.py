"""Acts on the register of customers."""

from adapters.simulation.acts import Done
from adapters.simulation.books import Books
from adapters.simulation.choices import Choices
from adapters.simulation.identities import invent
from adapters.simulation.ledger import AccountKind, BookkeepingError
from adapters.simulation.relations import AddressKind


class CustomerActs:
    """New customers, and old ones that change, merge or go."""

    def __init__(self, books: Books, choose: Choices) -> None:
        self._books = books
        self._choose = choose

    def new_customer(self, name: str | None = None) -> Done:
        books, at = self._books, self._books.clock.now()
        who = invent(self._choose.rng, 2_000_000 + len(books.relations.customers))
        customer = books.relations.add(
            name or who.name,
            condition=books.relations.conditions["30"],
            receivable=books.ledger.account(AccountKind.RECEIVABLE),
            at=at,
            email=who.email,
            phone=who.phone,
            coc_number=who.coc_number,
            vat_number=who.vat_number,
        )
        books.relations.add_address(
            customer,
            AddressKind.VISIT,
            street=who.street,
            postcode=who.postcode,
            city=who.city,
            country=books.administration.country,
            at=at,
        )
        books.relations.add_bank_account(customer, who.iban, who.bic, at)
        return Done(f"registered {customer.name} as {customer.number}", (customer.id,))

    def change_address(self, customer: str | None = None) -> Done:
        who, new = self._choose.customer(customer), invent(self._choose.rng, 0)
        self._books.corrections.change_address(who, new.street, new.postcode, new.city)
        return Done(f"{who.name} moved to {new.street} in {new.city}", (who.id,))

    def change_email(self, customer: str | None = None, email: str | None = None) -> Done:
        who = self._choose.customer(customer)
        address = email or f"debiteuren{self._choose.rng.randrange(1000)}@klant{who.number}.example"
        self._books.corrections.change_email(who, address)
        return Done(f"{who.name} now reads {address}", (who.id,))

    def rename_customer(self, customer: str | None = None, name: str | None = None) -> Done:
        who, new = self._choose.customer(customer), name or invent(self._choose.rng, 0).name
        sentence = f"{who.name} is now called {new}"
        self._books.corrections.rename(who, new)
        return Done(sentence, (who.id,))

    def block_customer(self, customer: str | None = None) -> Done:
        who = self._choose.customer(customer)
        self._books.corrections.block(who, blocked=not who.blocked)
        return Done(f"{who.name} is {'blocked' if who.blocked else 'no longer blocked'}", (who.id,))

    def merge_customers(self, gone: str | None = None, kept: str | None = None) -> Done:
        leaving, staying = self._choose.customer(gone), self._choose.customer(kept)
        self._books.corrections.merge_customers(leaving, staying)
        return Done(f"{leaving.name} was merged into {staying.name}", (leaving.id, staying.id))

    def delete_customer(self, customer: str | None = None) -> Done:
        without = [one for one in self._choose.debtors() if not self._books.matching.of_customer.get(one.id)]
        if not customer and not without:
            raise BookkeepingError("every customer has bookings")
        who = self._choose.customer(customer) if customer else self._choose.rng.choice(without)
        self._books.corrections.delete_customer(who)
        return Done(f"deleted customer {who.name}", (who.id,))
