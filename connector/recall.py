"""What is stored of one connection, for an adapter that has to compare it with what it reads."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from connector.adapter import Fields
from connector.store import rows
from connector.store.engine import Store


@dataclass(frozen=True)
class Recall:
    """`connector.adapter.Stored` over the database; each question is one short read in a thread."""

    store: Store
    connection_id: int

    async def rows(self, kind: str, keys: Collection[str]) -> Mapping[str, Fields]:
        return await asyncio.to_thread(rows.of_keys, self.store, self.connection_id, kind, sorted(keys))

    async def parts(self, kind: str, of: Collection[str]) -> Mapping[str, Fields]:
        return await asyncio.to_thread(rows.parts, self.store, self.connection_id, kind, sorted(of))

    async def groups(self, groups: Collection[str]) -> Mapping[str, Mapping[str, Sequence[Fields]]]:
        return await asyncio.to_thread(self._groups, sorted(groups))

    async def open_groups(self, kind: str) -> Sequence[str]:
        return await asyncio.to_thread(rows.open_groups, self.store, self.connection_id, kind)

    async def count(self, kind: str) -> int:
        return await asyncio.to_thread(rows.count, self.store, self.connection_id, kind, open_only=False)

    def _groups(self, groups: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[Fields]]]:
        with self.store.read() as connection:
            return rows.of_groups(connection, self.connection_id, groups)
