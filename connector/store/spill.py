"""Where a token grant rests when the database does not take it: one encrypted file per grant, written durably.

A successful token answer is the only key to the connection; losing it means a person has to sign in again.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from connector.errors import Stopped
from connector.store.tokens import SealedGrant


class Spill:
    """A folder of grants that are not in the database yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, sealed: SealedGrant) -> None:
        """Durable when it returns: file and folder are synced. Raises OSError when the disk does not take it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(sealed)
        draft = path.with_suffix(".draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.encode(sealed))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def hindrance(self) -> str | None:
        """Why nothing could be put aside here; None when all is well."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            return f"{self._folder}: {error.strerror}"
        return None if os.access(self._folder, os.W_OK) else f"{self._folder} cannot be written"

    def connections(self) -> set[int]:
        """Whose grants lie here."""
        return {int(path.name.split("-")[1]) for path in self._folder.glob("token-*-*.json")}

    def read(self, connection_id: int) -> list[SealedGrant]:
        """The grants of one connection, oldest generation first."""
        found = []
        for path in self._folder.glob(f"token-{connection_id}-*.json"):
            with contextlib.suppress(FileNotFoundError):
                try:
                    found.append(msgspec.json.decode(path.read_bytes(), type=SealedGrant))
                except msgspec.MsgspecError as error:
                    raise Stopped(
                        "a token that was put aside cannot be read",
                        where=str(path),
                        fix="move the file away and sign in to the package again",
                    ) from error
        return sorted(found, key=lambda sealed: sealed.generation)

    def remove(self, sealed: SealedGrant) -> None:
        """Drop a grant that is stored; a file that cannot be removed is stale and does no harm."""
        with contextlib.suppress(OSError):
            self._path(sealed).unlink()

    def _path(self, sealed: SealedGrant) -> Path:
        return self._folder / f"token-{sealed.connection_id}-{sealed.generation}.json"
