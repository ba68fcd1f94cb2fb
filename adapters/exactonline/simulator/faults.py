"""What goes wrong on request in Exact Online's own way: its errors, its tokens, its pages (sheet 12.10)."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from adapters.exactonline.simulator.encoding import error_body
from adapters.simulation.faults import ELSEWHERE, Answer, Fault, Faults, Spoiler

GATEWAY_TEXT = "Failed to execute the ExtractVariables: ExtractAccessToken"


def faults() -> Faults:
    return Faults(_refuse, spoilers=_SPOILERS)


def _refuse(status: int, text: str | None) -> Any:
    return error_body(text or ("A problem has occurred." if status >= 500 else "Bad Request"))


def _lost_token(fault: Fault, _: Answer, __: str) -> Answer:
    """The gateway fails after the token was consumed."""
    return Answer(fault.status or 500, {"content-type": "text/plain"}, GATEWAY_TEXT.encode())


def _error_with_token(fault: Fault, answer: Answer, _: str) -> Answer:
    """A refusal that hands out new tokens all the same."""
    body = {"error": "access_denied", "error_description": "Rate limit exceeded", **json.loads(answer.body)}
    return replace(answer, status=fault.status or 400, body=json.dumps(body).encode())


def _on_rows(change: Callable[[Fault, list[dict[str, Any]], dict[str, Any], str], None]) -> Spoiler:
    """A fault that rewrites the rows of a page, or the envelope around them."""

    def rewrite(fault: Fault, answer: Answer, url: str) -> Answer:
        try:
            body = json.loads(answer.body.removeprefix(b"\xef\xbb\xbf"))
        except ValueError:
            return answer
        inner = body.get("d")
        if isinstance(inner, list):
            body["d"] = inner = {"results": inner}
        if not isinstance(inner, dict) or "results" not in inner:
            return answer
        change(fault, inner["results"], inner, url)
        return replace(answer, body=json.dumps(body).encode())

    return rewrite


def _foreign_next(fault: Fault, _: list[dict[str, Any]], envelope: dict[str, Any], url: str) -> None:
    path = url.split("://", 1)[-1].partition("/")[2]
    envelope["__next"] = fault.params.get("location", f"{ELSEWHERE}/{path}")


def _loop_next(_: Fault, __: list[dict[str, Any]], envelope: dict[str, Any], url: str) -> None:
    envelope["__next"] = url


def _wrong_division(fault: Fault, rows: list[dict[str, Any]], _: dict[str, Any], __: str) -> None:
    for row in rows:
        row["Division"] = int(fault.params.get("division", 999_999))


def _bad_row(fault: Fault, rows: list[dict[str, Any]], _: dict[str, Any], __: str) -> None:
    """One row, the first unless told, with nonsense where an amount or a date should be."""
    place = int(fault.params.get("row", 0))
    if place >= len(rows):
        return
    row = rows[place]
    likely = ("AmountDC", "AmountFC", "DueDate", "Date", "Status", "Name")
    name = fault.params.get("field") or next((name for name in likely if name in row), "ID")
    row[name] = fault.params.get("value", {"unexpected": True})


def _missing_field(fault: Fault, rows: list[dict[str, Any]], _: dict[str, Any], __: str) -> None:
    for row in rows:
        row.pop(str(fault.params.get("field", "ID")), None)


def _repeat_rows(_: Fault, rows: list[dict[str, Any]], __: dict[str, Any], ___: str) -> None:
    rows.extend([dict(row) for row in rows])


def _reverse_rows(_: Fault, rows: list[dict[str, Any]], __: dict[str, Any], ___: str) -> None:
    rows.reverse()


def _no_rows(_: Fault, rows: list[dict[str, Any]], envelope: dict[str, Any], __: str) -> None:
    """A page that claims there is nothing, as a broken query or right would."""
    rows.clear()
    envelope.pop("__next", None)


_SPOILERS: dict[str, Spoiler] = {
    "lose_token_response": _lost_token,
    "error_with_token": _error_with_token,
    "foreign_next": _on_rows(_foreign_next),
    "loop_next": _on_rows(_loop_next),
    "wrong_division_rows": _on_rows(_wrong_division),
    "bad_row": _on_rows(_bad_row),
    "missing_field": _on_rows(_missing_field),
    "repeat_rows": _on_rows(_repeat_rows),
    "reverse_rows": _on_rows(_reverse_rows),
    "no_rows": _on_rows(_no_rows),
}
