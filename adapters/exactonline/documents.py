"""Which documents belong to which item. Pure."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from adapters.exactonline.items import Item
from connector.adapter import Fields
from connector.domain.records import Document, DocumentKind

_SALES_INVOICE = 10
_PATH = re.compile(r"https?://[^/?#]+(/docs/[^#]*)").match


class Documents:
    """The documents of one account.

    A processed invoice does not name its document; the document names the invoice by number, or the booking by id.
    Only what was attached to a booking by hand is named there (sheet 11).
    """

    def __init__(self, rows: Mapping[str, Sequence[Fields]]) -> None:
        self._files: defaultdict[str, list[Fields]] = defaultdict(list)
        for attachment in rows.get("attachment", ()):
            self._files[attachment["Document"]].append(attachment)
        self._documents = {one["ID"]: one for one in rows.get("document", ()) if one["ID"] in self._files}
        self._by_entry: defaultdict[str, list[Fields]] = defaultdict(list)
        self._by_number: defaultdict[int, list[Fields]] = defaultdict(list)
        for one in self._documents.values():
            if entry := one.get("FinancialTransactionEntryID"):
                self._by_entry[entry].append(one)
            if (number := one.get("SalesInvoiceNumber")) is not None:
                self._by_number[number].append(one)

    def of(self, item: Item) -> tuple[Document, ...]:
        if not self._documents or item.line is None:
            return ()
        line = item.line
        found = [*self._by_entry.get(line.get("EntryID", ""), ())]
        if item.type in {20, 21} and (number := line.get("InvoiceNumber")) is not None:
            found += self._by_number.get(number, ())
        if (manual := self._documents.get(line.get("Document", ""))) is not None:
            found.append(manual)
        unique = {one["ID"]: one for one in found}
        made = [
            _made(file, printed=one.get("Type") == _SALES_INVOICE)
            for key, one in unique.items()
            for file in self._files[key]
        ]
        return tuple(document for document in made if document is not None)


def _made(file: Fields, *, printed: bool) -> Document | None:
    """None where the address is not understood: the file cannot be fetched."""
    if (handle := _handle(file)) is None:
        return None
    name, size = file.get("FileName"), file.get("FileSize")
    return Document(
        kind=_kind(name or "", printed=printed),
        handle=handle,
        file_name=name,
        size=None if size is None else int(float(size)),
    )


def _kind(name: str, *, printed: bool) -> DocumentKind:
    match name.rpartition(".")[2].lower():
        case "pdf" if printed:
            return "invoice_pdf"
        case "xml":
            return "ubl"
        case _:
            return "attachment"


def _handle(file: Fields) -> str | None:
    """The path on the site: the origin in the address is not believed when the file is fetched."""
    found = _PATH(file.get("Url", ""))
    return None if found is None else found[1]
