"""Things that go wrong on request, for one call or for some: the wire's bad days (sheet 12.10)."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

GATEWAY_TEXT = "Failed to execute the ExtractVariables: ExtractAccessToken"
ELSEWHERE = "https://elsewhere.example"


@dataclass(slots=True)
class Fault:
    """`match` is looked for in the path and query; the first `after` hits pass, the next `times` go wrong.

    Without `times` every later hit goes wrong, until cleared.
    """

    match: str
    kind: str
    status: int | None = None
    times: int | None = 1
    after: int = 0
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response, to be spoilt before it is sent."""

    status: int
    headers: dict[str, str]
    body: bytes


class Faults:
    """The faults that are still to happen, oldest first."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(
        self,
        match: str,
        kind: str,
        *,
        status: int | None = None,
        times: int | None = 1,
        after: int = 0,
        **params: Any,
    ) -> Fault:
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(sorted(KINDS))}")
        fault = Fault(match, kind, status, times, after, params)
        self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        self._waiting.clear()

    def take(self, target: str) -> Fault | None:
        """The fault that this request runs into."""
        for fault in self._waiting:
            if fault.match not in target:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
            return fault
        return None


def instead(fault: Fault) -> Answer | None:
    """What is answered without asking the application, if the fault is of that sort."""
    params = fault.params
    if fault.kind == "status":
        status = fault.status or 500
        text = params.get("text", "A problem has occurred." if status >= 500 else "Bad Request")
        body = json.dumps({"error": {"code": "", "message": {"lang": "", "value": text}}})
        headers = {"content-type": "application/json", **params.get("headers", {})}
        return Answer(status, headers, body.encode())
    if fault.kind == "html":
        page = b"<html><head><title>Maintenance</title></head><body>Exact Online is being updated</body></html>"
        return Answer(fault.status or 503, {"content-type": "text/html"}, page)
    if fault.kind == "redirect":
        location = params.get("location", f"{ELSEWHERE}/login")
        return Answer(fault.status or 302, {"location": location}, b"")
    return None


def spoil(fault: Fault, answer: Answer, url: str) -> Answer:
    """What the application answered, after the fault has been at it."""
    return _SPOILERS[fault.kind](fault, answer, url)


def _truncate(fault: Fault, answer: Answer, _: str) -> Answer:
    share = float(fault.params.get("share", 0.6))
    return replace(answer, body=answer.body[: int(len(answer.body) * share)])


def _empty(fault: Fault, answer: Answer, _: str) -> Answer:
    return replace(answer, status=fault.status or answer.status, body=b"")


def _lost_token(fault: Fault, _: Answer, __: str) -> Answer:
    """The gateway fails after the token was consumed."""
    return Answer(fault.status or 500, {"content-type": "text/plain"}, GATEWAY_TEXT.encode())


def _error_with_token(fault: Fault, answer: Answer, _: str) -> Answer:
    """A refusal that hands out new tokens all the same."""
    body = {"error": "access_denied", "error_description": "Rate limit exceeded", **json.loads(answer.body)}
    return replace(answer, status=fault.status or 400, body=json.dumps(body).encode())


def _invalid_utf8(_: Fault, answer: Answer, __: str) -> Answer:
    middle = answer.body.rfind(b'"')
    return replace(answer, body=answer.body[:middle] + b"\xc3\x28" + answer.body[middle:])


def _on_rows(change: Callable[[Fault, list[dict[str, Any]], dict[str, Any], str], None]) -> "Spoiler":
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


Spoiler = Callable[[Fault, Answer, str], Answer]
_SPOILERS: dict[str, Spoiler] = {
    "truncate": _truncate,
    "empty": _empty,
    "lose_token_response": _lost_token,
    "error_with_token": _error_with_token,
    "invalid_utf8": _invalid_utf8,
    "foreign_next": _on_rows(_foreign_next),
    "loop_next": _on_rows(_loop_next),
    "wrong_division_rows": _on_rows(_wrong_division),
    "bad_row": _on_rows(_bad_row),
    "missing_field": _on_rows(_missing_field),
    "repeat_rows": _on_rows(_repeat_rows),
    "reverse_rows": _on_rows(_reverse_rows),
    "no_rows": _on_rows(_no_rows),
}
KINDS = frozenset(_SPOILERS) | {"status", "html", "redirect", "drop", "reset", "slow", "huge"}
