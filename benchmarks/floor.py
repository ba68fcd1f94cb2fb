"""The floor: what the same pages cost when a script does the plainest thing for this one package and nothing else.

It fetches the recorded queries and their next pages, keeps the rows that matter, makes a plain record of each
customer, invoice and receipt, and posts what changed in signed batches. One transaction a page, bulk statements. It
has no leases, no settlements, no evidence, no budget and no order among events; whoever pays in parts is beyond it.

    python -m benchmarks.floor STORE STARTS ORIGIN RECEIVER PHASE
"""

import base64
import hashlib
import hmac
import sqlite3
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg

from benchmarks.measure import Meter
from benchmarks.phases import BY_NAME, PhaseClock
from benchmarks.subject import SECRET

BATCH = 200
SCHEMA = """
CREATE TABLE IF NOT EXISTS item (kind TEXT, key TEXT, digest BLOB, data BLOB, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS record (entity TEXT, key TEXT, customer TEXT, open INTEGER, body BLOB,
    PRIMARY KEY (entity, key));
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, body BLOB, sent BOOLEAN);
"""
KNOWN = "SELECT key, digest FROM item WHERE kind = ? AND key IN (SELECT value FROM json_each(?))"
ITEMS = """INSERT INTO item VALUES (?, ?, ?, ?)
    ON CONFLICT (kind, key) DO UPDATE SET digest = excluded.digest, data = excluded.data"""
RECORDS = """INSERT INTO record VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (entity, key) DO UPDATE SET customer = excluded.customer, open = excluded.open, body = excluded.body"""
OUTBOX = "INSERT INTO outbox (body, sent) VALUES (?, FALSE)"
UNSENT = f"SELECT id, body FROM outbox WHERE id > ? AND NOT sent ORDER BY id LIMIT {BATCH}"
SENT = "UPDATE outbox SET sent = TRUE WHERE id BETWEEN ? AND ?"

decode = msgspec.json.Decoder(float_hook=Decimal).decode
encode = msgspec.json.Encoder().encode


class Database:
    """The two drivers under one set of statements, each as durable as the program sets it."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            self.connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16000"):
                self.connection.execute(f"PRAGMA {pragma}")
            self.connection.executescript(SCHEMA)
        else:
            self.connection = psycopg.connect(url, autocommit=True)
            schema = SCHEMA.replace("BLOB", "BYTEA").replace("id INTEGER", "id BIGSERIAL")
            self.connection.execute(schema)
        self.cursor = self.connection.cursor()

    def rows(self, sql: str, *values: Any) -> list[Any]:
        found: list[Any] = self.cursor.execute(self._own(sql), values).fetchall()
        return found

    def many(self, sql: str, rows: list[Any]) -> None:
        if rows:
            self.cursor.executemany(self._own(sql), rows)

    def do(self, sql: str, *values: Any) -> None:
        self.cursor.execute(self._own(sql), values)

    def known(self, kind: str, keys: list[str]) -> dict[str, bytes]:
        if self.is_sqlite:
            return dict(self.rows(KNOWN, kind, encode(keys).decode()))
        return {
            key: bytes(digest)
            for key, digest in self.rows("SELECT key, digest FROM item WHERE kind = ? AND key = ANY(?)", kind, keys)
        }

    def _own(self, sql: str) -> str:
        return sql if self.is_sqlite else sql.replace("?", "%s")


class Floor:
    """One run over the given queries."""

    def __init__(self, database: Database, http: httpx.Client, receiver: str, clock: PhaseClock) -> None:
        self.database, self.http, self.receiver, self.clock = database, http, receiver, clock
        self.key = base64.b64decode(SECRET.removeprefix("whsec_"))
        self.accounts: dict[str, int] = {}
        self.learn([decode(data) for (data,) in database.rows("SELECT data FROM item WHERE kind = 'GLAccounts'")])
        self.now = clock.now().isoformat()
        self.rows = self.records = 0

    def pages(self, url: str) -> Iterator[list[dict[str, Any]]]:
        following: str | None = url
        while following:
            answer = decode(self.http.get(following).raise_for_status().content)["d"]
            yield answer["results"] if isinstance(answer, dict) else answer
            following = answer.get("__next") if isinstance(answer, dict) else None

    def read(self, url: str) -> None:
        kind = url.partition("?")[0].rpartition("/")[2]
        for items in self.pages(url):
            self.rows += len(items)
            self.store(kind, items)

    def learn(self, accounts: list[dict[str, Any]]) -> None:
        self.accounts |= {one["ID"]: one["Type"] for one in accounts if one["Type"] in {10, 12, 14, 16, 20}}

    def store(self, kind: str, items: list[dict[str, Any]]) -> None:
        if kind == "GLAccounts":
            self.learn(items)
        elif kind == "TransactionLines" and self.accounts:
            items = [item for item in items if item["GLAccount"] in self.accounts]
        rows, records, events = [], [], []
        for item in items:
            item.pop("__metadata", None)
            version = item.pop("Timestamp", None)
            data = encode(item)
            key = item.get("ID") or str(version or hashlib.md5(data).hexdigest())
            rows.append((kind, key, hashlib.md5(data).digest(), data))
        before = self.database.known(kind, [row[1] for row in rows])
        changed = [row for row in rows if before.get(row[1]) != row[2]]
        for item, row in zip(items, rows, strict=True):
            if before.get(row[1]) != row[2] and (made := self.record(kind, item)) is not None:
                records.append(made)
                events.append((self.event(made),))
        if changed:
            self.database.do("BEGIN")
            self.database.many(ITEMS, changed)
            self.database.many(RECORDS, records)
            self.database.many(OUTBOX, events)
            self.database.do("COMMIT")
            self.records += len(records)

    def record(self, kind: str, item: dict[str, Any]) -> tuple[str, str, str, int, bytes] | None:
        if kind == "Accounts":
            names = ("ID", "Code", "Name", "Email", "Phone", "AddressLine1", "Postcode", "City", "Country", "Language")
            return "customer", item["ID"], item["ID"], 0, encode({name: item[name] for name in names})
        if kind != "TransactionLines" or self.accounts.get(item["GLAccount"]) != 20 or not item["Account"]:
            return None
        entity = "payment" if item["Type"] == 40 else "invoice"
        body = {
            "external_id": item["ID"],
            "customer": item["Account"],
            "number": item["InvoiceNumber"],
            "date": item["Date"],
            "due_date": item["DueDate"],
            "currency": item["Currency"],
            "total": str(item["AmountFC"]),
            "base_total": str(item["AmountDC"]),
            "reference": item["YourRef"],
            "description": item["Description"],
            "order": item["OrderNumber"],
            "document": item["Document"],
        }
        return entity, item["ID"], item["Account"], int(item["AmountDC"] * 100), encode(body)

    def event(self, made: tuple[str, str, str, int, bytes]) -> bytes:
        entity, key, customer, _, body = made
        return encode(
            {
                "specversion": "1.0",
                "id": hashlib.sha256(body).hexdigest()[:32],
                "source": "floor",
                "type": f"ar.{entity}.upserted.v1",
                "subject": f"{entity}/{key}",
                "time": self.now,
                "datacontenttype": "application/json",
                "partitionkey": customer,
                "sequence": "1",
                "data": {"meta": {"entity_version": 1}, "record": msgspec.Raw(body)},
            }
        )

    def deliver(self) -> None:
        last = 0
        while waiting := self.database.rows(UNSENT, last):
            body = b"[" + b",".join(bytes(event) for _, event in waiting) + b"]"
            stamp = str(int(self.clock.now().timestamp()))
            signed = hmac.digest(self.key, b"floor." + stamp.encode() + b"." + body, "sha256")
            headers = {
                "webhook-id": "floor",
                "webhook-timestamp": stamp,
                "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
                "content-type": "application/cloudevents-batch+json",
            }
            answer = self.http.post(f"{self.receiver}/events", content=body, headers=headers).raise_for_status()
            assert len(decode(answer.content)["results"]) == len(waiting)
            last = waiting[-1][0]
            self.database.do(SENT, waiting[0][0], last)


def main() -> None:
    store, starts, origin, receiver, phase = sys.argv[1:]
    with httpx.Client(trust_env=False, headers={"Authorization": "Bearer access"}, timeout=60) as http:
        floor = Floor(Database(store), http, receiver, PhaseClock(BY_NAME[phase]))
        meter = Meter()
        for start in Path(starts).read_text().splitlines():
            floor.read(origin + start)
        floor.deliver()
        print(meter.read(records=floor.records))


if __name__ == "__main__":
    main()
