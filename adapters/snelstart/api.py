"""The calls: pages of a collection, single items, and what the answers look like (sheet 3.1, 3.2)."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from adapters.snelstart import wire
from connector.decoding import essential, guid
from connector.errors import SourceDown
from connector.http import BadRequest, Client, Response

PAGE: Final = 500
PASSES: Final = 12
"""How often a collection is read whose rows move between pages, until nothing new turns up."""


class Api:
    """One administration behind its base URL, such as https://b2bapi.snelstart.nl/v2."""

    def __init__(self, http: Client, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        self._http = http

    async def call(self, path: str, params: Mapping[str, str] | None = None) -> Response:
        return await self._http.get(f"{self._base}/{path}", params)

    async def item(self, path: str) -> dict[str, Any] | None:
        """None: it does not exist (any more). The status alone says so (sheet 13.11)."""
        try:
            answer = await self.call(path)
        except BadRequest as error:
            if error.status == 404:
                return None
            raise
        return wire.item(answer.json(), answer.where)

    async def whole(self, path: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """A list that knows no pages: whatever is asked, all of it comes."""
        answer = await self.call(path, params)
        return wire.items(answer.json(), answer.where)

    async def page(self, path: str, condition: str = "", *, skip: int = 0, top: int = 0) -> list[dict[str, Any]]:
        """`$top` is always sent: the stated defaults contradict one another (sheet 13.16)."""
        params = {"$top": str(top or PAGE), "$skip": str(skip)} | ({"$filter": condition} if condition else {})
        return await self.whole(path, params)

    async def changes(self, path: str, condition: str) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages until one is not full. What a page lacked comes with the overlap of the next read."""
        skip = 0
        seen: set[str] = set()
        while True:
            items = await self.page(path, condition, skip=skip)
            yield items
            keys = set(_keys(items))
            if len(items) < PAGE or keys <= seen:  # a server that does not turn the page would never come to an end
                return
            seen |= keys
            skip += PAGE

    async def sweep(self, path: str, condition: str = "") -> AsyncIterator[list[dict[str, Any]]]:
        """Every item once, as far as a collection without an order can promise it.

        Only an empty page is the end: a short one may have lost its tail (sheet 13.17). When an item comes twice, rows
        have moved between the pages and others may have slipped by, so all is read once more, until a pass brings
        nothing new.
        """
        seen: set[str] = set()
        for _ in range(PASSES):
            skip, fresh, repeated = 0, 0, False
            here: set[str] = set()
            while items := await self.page(path, condition, skip=skip):
                keys = _keys(items)
                repeated = repeated or len(here | set(keys)) < len(here) + len(keys)
                if here.issuperset(keys):
                    break
                here.update(keys)
                new = [item for key, item in dict(zip(keys, items, strict=True)).items() if key not in seen]
                seen.update(keys)
                fresh += len(new)
                if new:
                    yield new
                skip += PAGE
            if not repeated or not fresh:
                return
        raise SourceDown(
            f"the rows of {path} move from page to page, so that it cannot be told whether all of them came",
            where=f"{self._base}/{path}",
            fix="nothing to do: it is tried again in the next cycle",
        )


def _keys(items: list[dict[str, Any]]) -> list[str]:
    return [str(essential(item, "id", guid)) for item in items]
