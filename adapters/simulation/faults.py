"""Things that go wrong on request, for one call or for some: the part that is the same on every package's wire."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ELSEWHERE = "https://elsewhere.example"
_ON_THE_WIRE = frozenset({"status", "html", "redirect", "drop", "reset", "slow", "huge"})


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


Spoiler = Callable[[Fault, Answer, str], Answer]
"""(fault, answer, address of the request) -> what is sent instead"""
Refuse = Callable[[int, str | None], Any]
"""(status, text) -> the body that the package refuses with; None leaves the words to it"""


class Faults:
    """The faults that are still to happen, oldest first.

    A package adds its own kinds: `spoilers` change what was answered, `before` happens before it is answered.
    """

    def __init__(
        self,
        refuse: Refuse,
        *,
        spoilers: Mapping[str, Spoiler],
        before: Mapping[str, Callable[[Fault], None]] | None = None,
    ) -> None:
        self._refuse = refuse
        self._spoilers = {**_SPOILERS, **spoilers}
        self._before = before or {}
        self._waiting: list[Fault] = []

    @property
    def kinds(self) -> frozenset[str]:
        return _ON_THE_WIRE | self._spoilers.keys() | self._before.keys()

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
        if kind not in self.kinds:
            raise ValueError(f"no fault {kind!r}; there are: {', '.join(sorted(self.kinds))}")
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

    def instead(self, fault: Fault) -> Answer | None:
        """What is answered without asking the application, if the fault is of that sort."""
        params = fault.params
        if fault.kind == "status":
            status = fault.status or 500
            headers = {"content-type": "application/json", **params.get("headers", {})}
            return Answer(status, headers, json.dumps(self._refuse(status, params.get("text"))).encode())
        if fault.kind == "html":
            page = b"<html><head><title>Maintenance</title></head><body>We are being updated</body></html>"
            return Answer(fault.status or 503, {"content-type": "text/html"}, page)
        if fault.kind == "redirect":
            location = params.get("location", f"{ELSEWHERE}/login")
            return Answer(fault.status or 302, {"location": location}, b"")
        return None

    def prepare(self, fault: Fault) -> None:
        """Do what the fault does before the application is asked."""
        if fault.kind in self._before:
            self._before[fault.kind](fault)

    def spoil(self, fault: Fault, answer: Answer, url: str) -> Answer:
        """What the application answered, after the fault has been at it."""
        spoiler = self._spoilers.get(fault.kind)
        return answer if spoiler is None else spoiler(fault, answer, url)


def _truncate(fault: Fault, answer: Answer, _: str) -> Answer:
    share = float(fault.params.get("share", 0.6))
    return replace(answer, body=answer.body[: int(len(answer.body) * share)])


def _empty(fault: Fault, answer: Answer, _: str) -> Answer:
    return replace(answer, status=fault.status or answer.status, body=b"")


def _invalid_utf8(_: Fault, answer: Answer, __: str) -> Answer:
    middle = answer.body.rfind(b'"')
    return replace(answer, body=answer.body[:middle] + b"\xc3\x28" + answer.body[middle:])


_SPOILERS: dict[str, Spoiler] = {"truncate": _truncate, "empty": _empty, "invalid_utf8": _invalid_utf8}
