"""Eighteen months of somebody's books, invented but believable, the same for the same seed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from random import Random

from adapters.simulation.books import Administration, Books
from adapters.simulation.documents import FileKind
from adapters.simulation.identities import invent
from adapters.simulation.ledger import cents
from adapters.simulation.matching import Item
from adapters.simulation.memory import no_garbage_collection
from adapters.simulation.relations import AddressKind, Customer, Role

_HISTORY = timedelta(days=540)
_TEXTS = ("Onderhoud", "Advies", "Levering materialen", "Abonnement", "Reparatie", "Projectwerk", "Consult")
_CONDITIONS = ("30", "30", "30", "14", "14", "60", "K2", "00")
_HABITS = ("prompt",) * 62 + ("late",) * 22 + ("lump",) * 7 + ("parts",) * 5 + ("never",) * 4
_EXCHANGE = {"USD": Decimal("0.92"), "GBP": Decimal("1.17")}


class HistoryClock:
    """Stands at some moment of the past; every reading is a little later than the one before."""

    def __init__(self, day: date) -> None:
        self.turn_to(day)

    def turn_to(self, day: date) -> None:
        self._now = datetime.combine(day, time(8, 30), UTC)

    def now(self) -> datetime:
        self._now += timedelta(milliseconds=37)
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(slots=True)
class _Debtor:
    customer: Customer
    habit: str
    waiting: list[Item]


def generate(
    *, seed: int, customers: int, invoices: int, today: date, country: str = "NL", foreign_currency: bool = True
) -> Books:
    """Books with this many customers and invoices, up to and including `today`.

    Without `foreign_currency` customers abroad are invoiced in the administration's own.

    Afterwards the books stand at noon of that day; give them a running clock of your own as `books.clock`.
    """
    rng = Random(seed)
    start = today - _HISTORY
    clock = HistoryClock(start)
    books = Books(
        seed=seed,
        clock=clock,
        administration=Administration(100_000 + seed % 800_000, "Voorbeeld Groothandel B.V.", country),
    )
    with no_garbage_collection():
        debtors = [
            _register(books, rng, number, start, foreign_currency=foreign_currency) for number in range(customers)
        ]
        suppliers = [_supplier(books, rng, number) for number in range(1 + customers // 100)]
        if debtors:
            _live(books, rng, clock, debtors, suppliers, invoices=invoices, today=today)
    clock.turn_to(today)
    return books


def _register(books: Books, rng: Random, number: int, start: date, *, foreign_currency: bool) -> _Debtor:
    who = invent(rng, number, consumer=rng.random() < 0.25)
    abroad = not who.consumer and rng.random() < 0.06
    collected = not abroad and rng.random() < 0.12
    relations, at = books.relations, books.clock.now()
    customer = relations.add(
        who.name,
        condition=relations.conditions["IN" if collected else rng.choice(_CONDITIONS)],
        receivable=books.ledger.accounts["1310" if abroad else "1300"],
        at=at,
        consumer=who.consumer,
        email=who.email,
        phone=who.phone,
        language="EN" if abroad else "NL",
        currency=rng.choice(("USD", "GBP", "EUR")) if abroad and foreign_currency else books.administration.currency,
        coc_number=who.coc_number,
        vat_number=who.vat_number,
    )
    land = rng.choice(("BE", "DE", "FR")) if abroad else books.administration.country
    place = {"postcode": who.postcode, "city": who.city, "country": land}
    relations.add_address(customer, AddressKind.VISIT, street=who.street, **place, at=at)
    if rng.random() < 0.2:
        postbox = f"Postbus {rng.randrange(1, 9000)}"
        relations.add_address(customer, AddressKind.INVOICE, street=postbox, **place, at=at)
    if not who.consumer:
        email = f"{who.first_name.lower()}@klant{number}.example"
        relations.add_contact(
            customer,
            first_name=who.first_name,
            last_name=who.last_name,
            email=email,
            phone=who.phone,
            at=at,
        )
    account = relations.add_bank_account(customer, who.iban, who.bic, at)
    if collected:
        relations.add_mandate(account, f"M{customer.number}", start, at)
    return _Debtor(customer, "collected" if collected else rng.choice(_HABITS), [])


def _supplier(books: Books, rng: Random, number: int) -> Customer:
    who = invent(rng, 1_000_000 + number)
    return books.relations.add(
        who.name,
        condition=books.relations.conditions["30"],
        receivable=books.ledger.accounts["1300"],
        at=books.clock.now(),
        role=Role.SUPPLIER,
        email=who.email,
        phone=who.phone,
        vat_number=who.vat_number,
    )


def _live(
    books: Books,
    rng: Random,
    clock: HistoryClock,
    debtors: list[_Debtor],
    suppliers: list[Customer],
    *,
    invoices: int,
    today: date,
) -> None:
    """Book invoices day by day, and what customers do about them on the days they do it."""
    start = today - _HISTORY
    days = sorted(start + timedelta(days=rng.randrange(_HISTORY.days + 1)) for _ in range(invoices))
    due: list[tuple[date, int, _Debtor, Item]] = []
    for order, day in enumerate(days):
        _settle_until(books, rng, clock, due, day)
        clock.turn_to(day)
        # squaring makes a few customers buy much more than the rest
        debtor = debtors[int(rng.random() ** 2 * len(debtors))]
        item = _invoice(books, rng, debtor.customer, day)
        heappush(due, (_payment_day(rng, debtor, item), order, debtor, item))
        if order % 20 == 0:
            books.sales.purchase(rng.choice(suppliers), Decimal(rng.randrange(100, 900_000)) / 100, on=day)
        if order % 997 == 996:
            books.cash.suspense(Decimal(rng.randrange(1_000, 90_000)) / 100, on=day)
    _settle_until(books, rng, clock, due, today)


def _settle_until(
    books: Books,
    rng: Random,
    clock: HistoryClock,
    due: list[tuple[date, int, _Debtor, Item]],
    day: date,
) -> None:
    while due and due[0][0] <= day:
        on, _, debtor, item = heappop(due)
        clock.turn_to(on)
        _settle(books, rng, debtor, item, on)


def _invoice(books: Books, rng: Random, customer: Customer, day: date) -> Item:
    net = cents(Decimal(round(rng.lognormvariate(5.6, 1.1) * 100) + 500) / 100)
    abroad = customer.receivable.code == "1310"
    rate = _EXCHANGE.get(customer.currency, Decimal(1))
    files = (FileKind.PDF, FileKind.UBL) if customer.number % 9 == 0 else (FileKind.PDF,)
    return books.sales.invoice(
        customer,
        net,
        on=day,
        vat=0 if abroad else rng.choice((21, 21, 21, 9)),
        journal="71" if customer.consumer else "70",
        currency=customer.currency,
        rate=rate,
        text=rng.choice(_TEXTS),
        reference=f"PO-{rng.randrange(10_000, 99_999)}" if rng.random() < 0.4 else None,
        order_number=rng.randrange(1, 10**6) if rng.random() < 0.3 else None,
        blocked=cents(net / 4) if not abroad and rng.random() < 0.01 else None,
        files=files,
    )


def _payment_day(rng: Random, debtor: _Debtor, item: Item) -> date:
    delay = {"prompt": rng.randrange(-8, 6), "collected": 0, "never": 400}.get(debtor.habit)
    if delay is None:
        delay = rng.randrange(5, 60)
    return max(item.line.entry.on, item.due_date + timedelta(days=delay))


def _settle(books: Books, rng: Random, debtor: _Debtor, item: Item, on: date) -> None:
    """What one customer does when the day has come, and how the bookkeeper books it."""
    if item.open <= 0:
        return
    cash, customer, chance = books.cash, debtor.customer, rng.random()
    journal = "21" if customer.number % 3 == 0 else "20"
    if debtor.habit == "lump":
        debtor.waiting.append(item)
        if len(debtor.waiting) >= rng.randrange(2, 6):
            of = [(waiting, waiting.open) for waiting in debtor.waiting if waiting.open > 0]
            cash.receive(customer, sum((part for _, part in of), Decimal(0)), of=of, on=on, journal=journal)
            debtor.waiting.clear()
    elif chance < 0.02:
        books.sales.credit_note(item, cents(item.total * rng.choice((1, 1, 2)) / 2), on=on)
    elif chance < 0.025 and item.line.entry.currency == books.administration.currency:
        cash.receive(customer, item.open, on=on, journal=journal)
    elif chance < 0.03:
        cash.write_off(item)
    elif debtor.habit == "parts" and item.open > 2:
        half = cents(item.open / 2)
        cash.receive(customer, half, of=[(item, half)], on=on, journal=journal)
    elif debtor.habit == "collected":
        cash.send_direct_debit([item])
        if chance < 0.93:
            cash.collect(item)
    else:
        _pay(books, rng, item, on, journal)


def _pay(books: Books, rng: Random, item: Item, on: date, journal: str) -> None:
    condition = item.customer.condition
    within = condition.discount_days and on <= item.line.entry.on + timedelta(days=condition.discount_days)
    discount = cents(item.open * condition.discount_percentage / 100) if within else Decimal("0.00")
    rate = item.line.entry.rate
    if rate != 1:
        rate += Decimal(rng.randrange(-30, 31)) / 1000
    books.cash.receive(
        item.customer,
        item.open - discount,
        of=[(item, item.open)],
        on=on,
        journal=journal,
        rate=rate,
        discount=discount,
    )
