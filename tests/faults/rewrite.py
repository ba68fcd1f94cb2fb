"""Changes what a simulator answers on its way out: rows, raw bytes, headers."""

import json
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

Item = dict[str, Any]

_VERBATIM = re.compile(r'"@@(.*?)@@"')


def verbatim(text: str) -> str:
    """A value that stands in the JSON exactly like this, without quotes."""
    return f"@@{text}@@"


@dataclass(kw_only=True)
class Rule:
    """What happens to the answers of requests whose path and query contain `match`."""

    match: str
    change: Callable[[bytes], bytes]
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = None
    after: int = 0


class Rewriter:
    """Stands before an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.rules: list[Rule] = []

    def rows(self, match: str, change: Callable[[list[Item]], list[Item]], **rest: Any) -> None:
        """Change the items of a page; an envelope without items stays as it is."""

        def on_body(body: bytes) -> bytes:
            answer = json.loads(body.removeprefix(b"\xef\xbb\xbf"))
            inner = answer.get("d")
            if isinstance(inner, list):
                answer["d"] = change(inner)
            elif isinstance(inner, dict) and "results" in inner:
                inner["results"] = change(inner["results"])
            return _VERBATIM.sub(r"\1", json.dumps(answer)).encode()

        self.rules.append(Rule(match=match, change=on_body, **rest))

    def set(self, match: str, name: str, value: Any, *, where: Callable[[Item], bool] = bool, **rest: Any) -> None:
        """One field of the first item of each page that is such an item."""

        def on_rows(items: list[Item]) -> list[Item]:
            for item in filter(where, items):
                item[name] = value
                break
            return items

        self.rows(match, on_rows, **rest)

    def hide(self, match: str, *keys: str, **rest: Any) -> None:
        """As if the items with these ids were not there."""
        self.rows(match, lambda items: [item for item in items if str(item.get("ID")).lower() not in keys], **rest)

    def body(self, match: str, change: Callable[[bytes], bytes], **rest: Any) -> None:
        self.rules.append(Rule(match=match, change=change, **rest))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        rules = [rule for rule in self.rules if rule.match in target and _concerned(rule)]
        if not rules:
            await self._app(scope, receive, send)
            return
        started: MutableMapping[str, Any] = {}
        body = b""

        async def keep(message: MutableMapping[str, Any]) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start":
                started = message
            else:
                body += message.get("body", b"")

        await self._app(scope, receive, keep)
        headers = {name: value for name, value in started["headers"] if name != b"content-length"}
        if started["status"] == 200:
            for rule in rules:
                body = rule.change(body)
                headers |= {name.encode(): value.encode() for name, value in rule.headers.items()}
        headers[b"content-length"] = str(len(body)).encode()
        await send({**started, "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": body})


def _concerned(rule: Rule) -> bool:
    if rule.after > 0:
        rule.after -= 1
        return False
    if rule.times is None:
        return True
    rule.times -= 1
    return rule.times >= 0
