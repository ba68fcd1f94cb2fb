"""Invoice documents: a PDF for every invoice, an e-invoice beside it for who wants one."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from xml.sax.saxutils import escape

from adapters.simulation.changes import Action, ChangeLog, Ids, Subject
from adapters.simulation.ledger import Entry
from adapters.simulation.relations import Customer


class FileKind(StrEnum):
    PDF = "pdf"
    UBL = "xml"


@dataclass(slots=True, eq=False)
class Attachment:
    id: str
    document: "Document"
    kind: FileKind

    @property
    def name(self) -> str:
        return f"inv{self.document.entry.number}.{self.kind.value.upper()}"

    def content(self) -> bytes:
        """The file itself, made when asked for."""
        return _pdf(self.document) if self.kind is FileKind.PDF else _ubl(self.document)


@dataclass(slots=True, eq=False)
class Document:
    id: str
    number: int
    entry: Entry
    customer: Customer
    created: datetime
    attachments: tuple[Attachment, ...] = ()

    @property
    def subject(self) -> str:
        return f"Invoice: {self.entry.number}"


class Documents:
    """Documents by id and by the entry they show; attachments by id."""

    def __init__(self, ids: Ids, changes: ChangeLog) -> None:
        self._ids = ids
        self._changes = changes
        self.documents: dict[str, Document] = {}
        self.of_entry: dict[str, Document] = {}
        self.attachments: dict[str, Attachment] = {}

    def add(self, entry: Entry, customer: Customer, kinds: tuple[FileKind, ...], at: datetime) -> Document:
        document = Document(self._ids.new(), len(self.documents) + 1, entry, customer, at)
        document.attachments = tuple(Attachment(self._ids.new(), document, kind) for kind in kinds)
        self.documents[document.id] = self.of_entry[entry.id] = document
        for attachment in document.attachments:
            self.attachments[attachment.id] = attachment
        self._changes.record(Subject.DOCUMENT, Action.ADDED, document, at)
        return document

    def remove(self, document: Document, at: datetime) -> None:
        del self.documents[document.id], self.of_entry[document.entry.id]
        for attachment in document.attachments:
            del self.attachments[attachment.id]
        self._changes.record(Subject.DOCUMENT, Action.REMOVED, document, at)


def _pdf(document: Document) -> bytes:
    """One page with one line of text, and a cross-reference table that readers accept."""
    text = f"Factuur {document.entry.number} - {document.customer.name}"
    safe = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").encode("latin-1", "replace")
    stream = b"BT /F1 18 Tf 72 770 Td (" + safe + b") Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
            b" /Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        body += b"%010d 00000 n \n" % offset
    body += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(body)


def _ubl(document: Document) -> bytes:
    entry = document.entry
    name = escape(document.customer.name)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"'
        ' xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"'
        ' xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2">'
        f"<cbc:ID>{entry.number}</cbc:ID><cbc:IssueDate>{entry.on}</cbc:IssueDate>"
        f"<cbc:DocumentCurrencyCode>{entry.currency}</cbc:DocumentCurrencyCode>"
        f"<cac:AccountingCustomerParty><cac:Party><cac:PartyName><cbc:Name>{name}</cbc:Name>"
        "</cac:PartyName></cac:Party></cac:AccountingCustomerParty>"
        f'<cac:LegalMonetaryTotal><cbc:PayableAmount currencyID="{entry.currency}">{entry.lines[0].amount}'
        "</cbc:PayableAmount></cac:LegalMonetaryTotal></Invoice>\n"
    ).encode()
