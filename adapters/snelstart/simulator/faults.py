"""What goes wrong on request in SnelStart's own way: its errors, and its pages of bare rows (sheet 9.8)."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from adapters.simulation import Bookkeeper, BookkeepingError
from adapters.simulation.faults import Answer, Fault, Faults, Spoiler
from adapters.snelstart.simulator.encoding import NIL

_BY_GATEWAY: Final = {
    401: "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription.",
    403: "Out of call volume quota. Quota will be replenished in 00:41:07.",
    429: "Rate limit is exceeded. Try again in 17 seconds.",
}
Row = dict[str, Any]


def faults(bookkeeper: Bookkeeper) -> Faults:
    def act(fault: Fault) -> None:
        """Something is booked while a client reads, such as between two pages."""
        try:
            bookkeeper.perform(str(fault.params.get("name", "invoice")), **fault.params.get("args", {}))
        except BookkeepingError:
            return  # nothing fits any more: the client just reads on

    return Faults(_refuse, spoilers=_SPOILERS, before={"act": act})


def _refuse(status: int, text: str | None) -> Any:
    if status in _BY_GATEWAY:
        return {"statusCode": status, "message": text or _BY_GATEWAY[status]}
    if status == 400:
        return [{"errorCode": "ALG-0102", "message": text or "Onbekende fout", "details": None}]
    return {"Message": text or "An error has occurred."}


def _on_rows(change: Callable[[Fault, list[Row]], None]) -> Spoiler:
    """A fault that rewrites the rows of a list, or the one row of an answer by id."""

    def rewrite(fault: Fault, answer: Answer, _: str) -> Answer:
        try:
            body = json.loads(answer.body)
        except ValueError:
            return answer
        rows = body if isinstance(body, list) else [body]
        change(fault, rows)
        return replace(answer, body=json.dumps(rows if isinstance(body, list) else rows[0]).encode())

    return rewrite


def _bad_row(fault: Fault, rows: list[Row]) -> None:
    """One row, the first unless told, with nonsense where an amount or a date should be."""
    place = int(fault.params.get("row", 0))
    if place < len(rows):
        likely = ("openstaandSaldo", "bedragOntvangen", "saldo", "vervalDatum", "naam", "nummer")
        name = fault.params.get("field") or next((name for name in likely if name in rows[place]), "id")
        rows[place][name] = fault.params.get("value", {"unexpected": True})


def _missing_field(fault: Fault, rows: list[Row]) -> None:
    for row in rows:
        row.pop(str(fault.params.get("field", "id")), None)


def _nil_ids(fault: Fault, rows: list[Row]) -> None:
    """References to the nil UUID where something was meant."""
    for row in rows:
        row[str(fault.params.get("field", "relatie"))] = {"id": NIL, "uri": f"/relaties/{NIL}"}


def _repeat_rows(_: Fault, rows: list[Row]) -> None:
    rows.extend([dict(row) for row in rows])


def _reverse_rows(_: Fault, rows: list[Row]) -> None:
    rows.reverse()


def _drop_rows(fault: Fault, rows: list[Row]) -> None:
    """A page that is short although more follows: `rows` of its end are missing."""
    del rows[len(rows) - int(fault.params.get("rows", 1)) :]


def _no_rows(_: Fault, rows: list[Row]) -> None:
    """A page that claims there is nothing, as a broken query or right would."""
    rows.clear()


_SPOILERS: dict[str, Spoiler] = {
    "bad_row": _on_rows(_bad_row),
    "missing_field": _on_rows(_missing_field),
    "nil_ids": _on_rows(_nil_ids),
    "repeat_rows": _on_rows(_repeat_rows),
    "reverse_rows": _on_rows(_reverse_rows),
    "drop_rows": _on_rows(_drop_rows),
    "no_rows": _on_rows(_no_rows),
}
