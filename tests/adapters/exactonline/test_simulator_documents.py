"""Invoice documents: found by number, fetched with a token (sheet 11)."""

from tests.adapters.exactonline.simulated import simulated


async def test_an_invoices_pdf_is_found_by_its_number_and_fetched_with_the_token() -> None:
    async with simulated() as client:
        entry = next(iter(client.books.documents.documents.values())).entry
        found = await client.rows("documents/Documents", filter=f"SalesInvoiceNumber eq {entry.number}")
        document = next(row for row in found if row["Account"] == entry.lines[0].customer.id)  # type: ignore[union-attr] # a sales entry has one
        assert (document["Type"], document["Subject"]) == (10, f"Invoice: {entry.number}")
        assert document["FinancialTransactionEntryID"] != entry.id  # it is the invoice's id
        files = await client.rows("documents/DocumentAttachments", filter=f"Document eq guid'{document['ID']}'")
        pdf = next(row for row in files if row["FileName"] == f"inv{entry.number}.PDF")
        assert pdf["Attachment"] is None
        answer = await client.http.get(f"{pdf['Url']}&Download=1")
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.content.startswith(b"%PDF-")
        assert len(answer.content) == pdf["FileSize"]


async def test_without_the_token_or_the_download_flag_it_is_a_login_page() -> None:
    async with simulated() as client:
        attachment = next(iter(client.books.documents.attachments))
        url = f"/docs/SysAttachment.aspx?ID={attachment}&_Division_={client.simulator.division}"
        assert (await client.http.get(url)).headers["content-type"].startswith("text/html")
        del client.http.headers["Authorization"]
        assert (await client.http.get(f"{url}&Download=1")).headers["content-type"].startswith("text/html")


async def test_an_e_invoice_stands_beside_the_pdf() -> None:
    async with simulated() as client:
        document = next(one for one in client.books.documents.documents.values() if len(one.attachments) == 2)
        path = "documents/DocumentAttachments"
        rows = await client.rows(path, filter=f"Document eq guid'{document.id}'")
        assert sorted(row["FileName"].rpartition(".")[2] for row in rows) == ["PDF", "XML"]
        xml = next(row for row in rows if row["FileName"].endswith("XML"))
        answer = await client.http.get(f"{xml['Url']}&Download=1")
        assert answer.text.startswith("<?xml")


async def test_ledger_lines_do_not_name_their_document() -> None:
    async with simulated() as client:
        rows = await client.rows("bulk/Financial/TransactionLines", filter="Type eq 20", select="Document")
        assert {row["Document"] for row in rows} == {None}


async def test_a_deleted_entry_takes_its_document_along() -> None:
    async with simulated() as client:
        document = next(iter(client.books.documents.documents.values()))
        client.simulator.bookkeeper.perform("delete_entry", item=document.entry.lines[0].id)
        deleted = await client.rows("sync/Deleted", filter="Timestamp gt 1")
        keys = {row["EntityType"]: row["EntityKey"] for row in deleted}
        assert keys[6] == document.id
        assert keys[4] in {attachment.id for attachment in document.attachments}
