"""Single items by their ids, with as few calls as their collections allow."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from adapters.snelstart import query
from adapters.snelstart.api import PAGE, Api
from adapters.snelstart.kinds import collection
from adapters.snelstart.rows import Chart, Decoded, decode, mandates
from connector.adapter import BadRow, Row
from connector.decoding import essential, guid
from connector.errors import Stopped
from connector.http import BadRequest


class Finder:
    """What is absent from an answer does not exist (any more)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def by_id(self, kind: str, keys: Collection[str], chart: Chart) -> Decoded:
        paths = [f"{collection(kind)}/{key}" for key in sorted(keys)]
        return decode(kind, [item for path in paths if (item := await self._api.item(path)) is not None], chart)

    async def relations(self, keys: Collection[str], chart: Chart) -> Decoded:
        """By filter, because an inactive relation may not be found by its id (sheet 5.1); by id what is left."""
        answer = Decoded()
        for chunk in query.chunks(sorted(keys)):
            items = await self._api.page("relaties", query.among("Id", chunk))
            answer.add(decode("relation", _only(items, keys), chart))
        return await self._complete("relation", keys, answer, chart)

    async def invoices(self, keys: Collection[str], chart: Chart, *, stored: int) -> Decoded:
        """One by one, unless reading all of them takes fewer calls; `stored`: how many are known (sheet 13.8)."""
        answer = Decoded()
        if len(keys) > 2 + stored // PAGE:
            async for items in self._api.sweep("verkoopfacturen"):
                answer.add(decode("invoice", _only(items, keys), chart))
        return await self._complete("invoice", keys, answer, chart)

    async def mandates(self, relations: Sequence[str]) -> Sequence[Row | BadRow]:
        """One call for each relation."""
        found = []
        for relation in relations:
            try:
                listed = await self._api.whole(f"relaties/{relation}/doorlopendeincassomachtigingen")
            except BadRequest as error:
                if error.status != 404:
                    raise
            else:
                found.append(mandates(relation, listed))
        return found

    async def _complete(self, kind: str, keys: Collection[str], answer: Decoded, chart: Chart) -> Decoded:
        answer.add(await self.by_id(kind, answer.missing(keys), chart))
        return answer


async def printed(api: Api, sale: str) -> dict[str, Any]:
    """The PDF that is kept with a booking.

    Raises:
        Stopped: there is none.
    """
    listed = await api.whole(f"documenten/Verkoopboekingen/{sale}")
    names = {str(essential(one, "id", guid)): str(one.get("fileName", "")) for one in listed}
    key = next((one for one, name in sorted(names.items()) if name.lower().endswith(".pdf")), None)
    found = await api.item(f"documenten/{key}") if key is not None else None
    if found is None:
        raise Stopped(
            "SnelStart holds no printed invoice for this booking",
            where=f"verkoopboekingen/{sale}",
            fix="nothing to do here; the creditor can attach the PDF to the booking in SnelStart",
        )
    return found


def _only(items: Sequence[Mapping[str, Any]], keys: Collection[str]) -> list[Mapping[str, Any]]:
    """A filter may be ignored without a word, so it is applied here too (sheet 3.3)."""
    return [item for item in items if essential(item, "id", guid) in keys]
