"""How bookings show up in terms, lines and reports (sheet 8)."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exactonline.simulator import SimulatorSettings, create
from adapters.simulation import Books, generate
from tests.adapters.exactonline.simulated import Client, simulated, small_books
from tests.clocks import ManualClock

ALL = "bulk/Cashflow/Receivables"


def one_customer() -> Books:
    return small_books(customers=1, invoices=0)


async def terms_of(client: Client, item: str) -> list[dict[str, Any]]:
    rows = await client.rows(ALL, filter=f"TransactionID eq guid'{item}'", select="*")
    return sorted(rows, key=lambda row: row["Status"])


async def invoice(client: Client, amount: str = "100") -> str:
    return client.simulator.bookkeeper.perform("invoice", amount=amount).ids[0]


async def test_an_open_invoice_is_negative_in_its_term_and_positive_in_the_ledger() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        [term] = await terms_of(client, item)
        assert (term["AmountDC"], term["TransactionAmountDC"], term["Status"]) == (-121, 121, 20)
        [line] = await client.rows("financialtransaction/TransactionLines", filter=f"ID eq guid'{item}'")
        assert (line["AmountDC"], line["LineNumber"], line["Type"]) == (121, 0, 20)
        assert term["TransactionEntryID"] == line["EntryID"]
        assert term["EntryID"] not in {line["EntryID"], term["ID"]}
        report = await client.rows("read/financial/ReceivablesList")
        assert [row["Amount"] for row in report] == [121]
        client.simulator.settings.receivable_sign = 1
        client.simulator.settings.receivables_list_sign = -1
        assert (await terms_of(client, item))[0]["AmountDC"] == 121
        assert (await client.rows("read/financial/ReceivablesList"))[0]["Amount"] == -121


async def test_full_payment_closes_both_terms_and_leaves_the_report() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        receipt = client.simulator.bookkeeper.perform("pay", item=item).ids[1]
        [paid], [money] = await terms_of(client, item), await terms_of(client, receipt)
        assert (paid["Status"], paid["IsFullyPaid"], money["Status"]) == (50, True, 50)
        assert paid["LastPaymentDate"] == money["InvoiceDate"] == "/Date(1795132800000)/"
        assert money["TransactionType"] == 40
        assert money["InvoiceNumber"] == paid["InvoiceNumber"]  # matched with exactly one invoice
        assert await client.rows("read/financial/ReceivablesList") == []


async def test_partial_payment_splits_the_term() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        [whole] = await terms_of(client, item)
        client.simulator.bookkeeper.perform("pay_partly", item=item, amount="21")
        rest, part = await terms_of(client, item)
        assert (rest["AmountDC"], rest["Status"], part["AmountDC"], part["Status"]) == (-100, 20, -21, 50)
        assert rest["ID"] == whole["ID"]
        assert part["EntryID"] != rest["EntryID"]
        assert {row["TransactionAmountDC"] for row in (rest, part)} == {121}


async def test_which_slice_keeps_the_id_is_a_switch() -> None:
    async with simulated(one_customer(), split_keeps_matched=True) as client:
        item = await invoice(client)
        [whole] = await terms_of(client, item)
        client.simulator.bookkeeper.perform("pay_partly", item=item, amount="21")
        assert (await terms_of(client, item))[1]["ID"] == whole["ID"]


async def test_a_payment_on_account_stands_open_with_the_opposite_sign() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        receipt = client.simulator.bookkeeper.perform("pay_on_account", amount="50").ids[0]
        [money] = await terms_of(client, receipt)
        assert (money["AmountDC"], money["Status"], money["InvoiceNumber"]) == (50, 20, None)
        assert [row["Status"] for row in await terms_of(client, item)] == [20]
        report = await client.rows("read/financial/ReceivablesList")
        assert sorted(row["Amount"] for row in report) == [-50, 121]


async def test_money_on_suspense_is_nothing_on_a_debtor_until_it_is_allocated() -> None:
    async with simulated(one_customer()) as client:
        client.simulator.bookkeeper.perform("pay_suspense", amount="40")
        assert await client.rows(ALL, filter="Status lt 50", select="ID") == []
        lines = await client.rows("sync/Financial/TransactionLines", filter="Timestamp gt 1")
        assert [(row["LineNumber"], row["AmountDC"], row["Account"]) for row in lines] == [
            (0, 40, None),
            (1, -40, None),
        ]
        client.simulator.bookkeeper.perform("allocate")
        [term] = await client.rows(ALL, filter="Status lt 50", select="AmountDC")
        assert term["AmountDC"] == 40


async def test_the_two_lines_of_a_receipt_name_each_other() -> None:
    async with simulated(one_customer()) as client:
        receipt = client.simulator.bookkeeper.perform("pay", item=await invoice(client)).ids[1]
        lines = await client.rows("bulk/Financial/TransactionLines", filter="Type eq 40", select="ID,OffsetID")
        bank, debtor = sorted(lines, key=lambda row: row["ID"] == receipt)
        assert (bank["OffsetID"], debtor["OffsetID"]) == (receipt, bank["ID"])


async def test_a_lump_sum_names_no_invoice() -> None:
    async with simulated(one_customer()) as client:
        items = [await invoice(client), await invoice(client, "50")]
        receipt = client.simulator.bookkeeper.perform("pay_many").ids[0]
        money = await terms_of(client, receipt)
        assert {row["InvoiceNumber"] for row in money} == {None}
        assert sum(row["AmountDC"] for row in money) == 181.5
        for item in items:
            assert [row["Status"] for row in await terms_of(client, item)] == [50]


async def test_a_credit_note_is_type_21_and_a_negative_invoice_is_type_20() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        credit = client.simulator.bookkeeper.perform("credit_note", item=item, amount="21").ids[1]
        [term] = await terms_of(client, credit)
        assert (term["TransactionType"], term["TransactionAmountDC"], term["AmountDC"]) == (21, -21, 21)
        negative = client.simulator.bookkeeper.perform("negative_invoice", amount="10").ids[0]
        [term] = await terms_of(client, negative)
        assert (term["TransactionType"], term["TransactionAmountDC"], term["Status"]) == (20, -12.1, 20)


async def test_a_write_off_at_matching_is_type_83_and_by_journal_type_90() -> None:
    async with simulated(one_customer()) as client:
        for by_journal, kind in ((False, 83), (True, 90)):
            item = await invoice(client)
            done = client.simulator.bookkeeper.perform("write_off", item=item, by_journal=by_journal)
            [closed], [lost] = await terms_of(client, item), await terms_of(client, done.ids[1])
            assert (closed["Status"], lost["Status"], lost["TransactionType"]) == (50, 50, kind)
            assert closed["LastPaymentDate"] is None  # no cash
            entry = lost["TransactionEntryID"]
            lines = await client.rows("financialtransaction/TransactionLines", filter=f"EntryID eq guid'{entry}'")
            assert sum(Decimal(str(row["AmountDC"])) for row in lines) == 0
            assert len(lines) == (3 if by_journal else 2)


async def test_unmatching_opens_the_term_again() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        receipt = client.simulator.bookkeeper.perform("pay", item=item).ids[1]
        client.simulator.bookkeeper.perform("unmatch", item=item)
        for found in (*await terms_of(client, item), *await terms_of(client, receipt)):
            assert (found["Status"], found["IsFullyPaid"], found["EndDate"]) == (20, False, None)


async def test_unmatching_a_write_off_takes_its_entry_back() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        lost = client.simulator.bookkeeper.perform("write_off", item=item).ids[1]
        await terms_of(client, lost)
        client.simulator.bookkeeper.perform("unmatch", item=item)
        assert await terms_of(client, lost) == []
        deleted = await client.rows("sync/Deleted", filter="Timestamp gt 1")
        assert sorted(row["EntityType"] for row in deleted) == [1, 1, 10]


async def test_end_date_is_the_latest_invoice_date_not_the_day_of_matching() -> None:
    async with simulated(one_customer()) as client:
        item = client.simulator.bookkeeper.perform("back_date_invoice", days=45).ids[0]
        credit = client.simulator.bookkeeper.perform("negative_invoice").ids[0]
        client.books.matching.items[credit].line.entry.on = date(2026, 10, 10)
        client.simulator.bookkeeper.perform("match")
        ends = [row["EndDate"] for row in await terms_of(client, item) if row["Status"] == 50]
        assert ends == ["/Date(1791590400000)/"]


async def test_a_direct_debit_goes_from_30_to_40_and_back() -> None:
    books = generate(seed=3, customers=40, invoices=0, today=date(2026, 11, 20))
    customer = next(one for one in books.relations.customers.values() if one.mandate)
    async with simulated(books) as client:
        keeper = client.simulator.bookkeeper
        item = keeper.perform("invoice", customer=customer.id, amount="100").ids[0]
        keeper.perform("direct_debit_select", item=item)
        assert [row["Status"] for row in await terms_of(client, item)] == [30]
        keeper.perform("direct_debit_send", item=item)
        [term] = await terms_of(client, item)
        assert (term["Status"], term["PaymentMethod"]) == (40, "I")
        assert customer.mandate is not None
        assert term["DirectDebitMandateReference"] == customer.mandate.reference
        assert term["EndToEndID"]
        assert (await client.rows("read/financial/ReceivablesList"))[0]["AmountInTransit"] == 121
        keeper.perform("direct_debit_return", item=item)
        assert [row["Status"] for row in await terms_of(client, item)] == [20]
        keeper.perform("direct_debit_send", item=item)
        keeper.perform("direct_debit_collect", item=item)
        assert [row["Status"] for row in await terms_of(client, item)] == [50]
        keeper.perform("direct_debit_return", item=item)
        assert [row["Status"] for row in await terms_of(client, item)] == [20]


async def test_cash_discount_is_on_the_receipts_line() -> None:
    async with simulated(one_customer()) as client:
        item = await invoice(client)
        receipt = client.simulator.bookkeeper.perform("pay_with_discount", item=item).ids[1]
        [line] = await client.rows("financialtransaction/TransactionLines", filter=f"ID eq guid'{receipt}'")
        assert (line["AmountDC"], line["PaymentDiscountAmount"]) == (-121, 2.42)


async def test_a_rate_difference_is_type_82_and_has_no_foreign_amount() -> None:
    async with simulated(one_customer()) as client:
        item = client.simulator.bookkeeper.perform("invoice_in_dollars", amount="100").ids[0]
        found = client.books.matching.items[item]
        client.books.cash.receive(found.customer, found.open, of=[(found, found.open)], rate=Decimal("0.95"))
        rows = await client.rows(ALL, filter="TransactionType eq 82", select="*")
        assert [(row["AmountDC"], row["AmountFC"], row["Status"]) for row in rows] == [(-3, 0, 50)]
        [term] = await terms_of(client, item)
        assert (term["AmountDC"], term["AmountFC"], term["Currency"]) == (-92, -100, "USD")


async def test_an_opening_balance_may_have_no_invoice_number() -> None:
    async with simulated(one_customer()) as client:
        item = client.simulator.bookkeeper.perform("opening_balance", amount="75").ids[0]
        [term] = await terms_of(client, item)
        assert (term["TransactionType"], term["InvoiceNumber"], term["AmountDC"]) == (10, None, -75)


async def test_a_blocked_part_is_a_second_term_of_the_same_booking() -> None:
    async with simulated(one_customer()) as client:
        customer = next(iter(client.books.relations.customers.values()))
        item = client.books.sales.invoice(customer, Decimal(100), blocked=Decimal(25))
        rows = await terms_of(client, item.id)
        assert sorted(row["AmountDC"] for row in rows) == [-96, -25]
        client.simulator.bookkeeper.perform("pay_partly", item=item.id, amount="100")
        rows = await terms_of(client, item.id)
        assert sum(row["AmountDC"] for row in rows if row["Status"] == 20) == -21


async def test_a_line_without_an_account_has_no_term() -> None:
    async with simulated(one_customer()) as client:
        client.books.sales.unassigned(Decimal(10))
        assert await client.rows(ALL, filter="Status lt 60", select="ID") == []
        truth = await client.truth()
        assert truth["unassigned_balance"] == "10.00"


async def test_line_numbers_mean_header_only_in_sales_and_bank() -> None:
    async with simulated() as client:
        client.simulator.bookkeeper.perform("opening_balance")
        lines = await client.rows("bulk/Financial/TransactionLines", filter="Type ge 0", select="*")
        by_type = {kind: {row["LineNumber"] for row in lines if row["Type"] == kind} for kind in (10, 20, 40)}
        assert by_type[20] == {0, 1, 9999}
        assert by_type[40] >= {0, 1}
        assert 0 not in by_type[10]
        receivable = {row["LineNumber"] for row in lines if row["Type"] == 40 and row["Account"]}
        assert 0 not in receivable  # the bank's side comes first


async def test_the_control_balance_can_be_read_with_and_without_opening_rows() -> None:
    async with simulated() as client:
        accounts = await client.rows("financial/GLAccounts", filter="Type eq 20", select="ID")
        assert len(accounts) == 2
        account = accounts[0]["ID"]
        query = f"GLAccount eq guid'{account}'"
        rows = await client.rows("financial/ReportingBalance", filter=f"{query} and ReportingYear eq 2026")
        with_opening = sum(Decimal(str(row["Amount"])) for row in rows)
        assert {row["ReportingPeriod"] for row in rows} >= {0}
        client.simulator.settings.opening_rows = False
        client.simulator.bookkeeper.perform("change_email")  # so that the report is made anew
        every = await client.rows("financial/ReportingBalance", filter=query)
        assert sum(Decimal(str(row["Amount"])) for row in every) == with_opening
        lines = [line for line in client.books.ledger.lines.values() if line.account.id == account]
        assert with_opening == sum(line.base for line in lines)


async def test_the_overview_counts_invoices_only() -> None:
    async with simulated(one_customer()) as client:
        await invoice(client)
        client.simulator.bookkeeper.perform("back_date_invoice", amount="10", days=90)
        client.simulator.bookkeeper.perform("pay_on_account", amount="5")
        [row] = await client.rows("read/financial/OutstandingInvoicesOverview")
        assert (row["OutstandingReceivableInvoiceCount"], row["OutstandingReceivableInvoiceAmount"]) == (2, 133.1)
        assert (row["OverdueReceivableInvoiceCount"], row["OverdueReceivableInvoiceAmount"]) == (1, 12.1)


async def test_sales_entries_hold_every_invoice_and_credit_note() -> None:
    async with simulated() as client:
        rows = await client.rows("salesentry/SalesEntries", select="EntryID,Type,AmountDC,EntryNumber")
        kinds = {"sales", "credit_note"}
        entries = [entry for entry in client.books.ledger.entries.values() if entry.kind.value in kinds]
        assert {row["EntryID"] for row in rows} == {entry.id for entry in entries}


async def test_entry_numbers_of_two_journals_overlap() -> None:
    async with simulated() as client:
        rows = await client.rows("salesentry/SalesEntries", select="EntryNumber,Journal")
        numbers = {
            journal: {row["EntryNumber"] for row in rows if row["Journal"] == journal} for journal in ("70", "71")
        }
        assert numbers["70"] & numbers["71"]


@pytest.mark.parametrize("keeps_matched", [True, False])
@pytest.mark.parametrize("replaces", [True, False])
@given(seed=st.integers(0, 10_000))
def test_open_terms_always_come_to_the_open_items(keeps_matched: bool, replaces: bool, seed: int) -> None:
    clock = ManualClock()
    books = generate(seed=seed, customers=6, invoices=20, today=clock.now().date())
    switches = SimulatorSettings(split_keeps_matched=keeps_matched, replace_terms_on_edit=replaces)
    world = create(books, clock, switches).world
    keeper = create(books, clock, switches).bookkeeper
    for step in range(25):
        keeper.random_action()
        if step % 3 == 0:
            world.catch_up()
    world.catch_up()
    for item in books.matching.items.values():
        terms = world.terms.of_line[item.id]
        still_open = [term for term in terms if term.match is None]
        assert sum(term.amount for term in terms) == item.total
        assert sum(term.base for term in terms) == item.line.base
        assert sum(term.amount for term in still_open) == item.open
        assert sum(term.base for term in still_open) == item.base_open
        assert {term.match for term in terms if term.match} == set(item.matches)
    shown = {term.id for term in world.terms.all.values()}
    assert shown == {key for _, key in world.feeds[10].after(0)}
    assert set(world.terms.open) == {key for key in shown if world.terms.all[key].status < 50}
    assert {key for _, key in world.feeds[1].after(0)} == set(books.ledger.lines)
