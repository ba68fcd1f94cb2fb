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
    """Folders for grants that are not in the database yet; the first that takes one gets it."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def write(self, sealed: SealedGrant) -> None:
        """Durable when it returns: file and folder are synced. Raises OSError when no folder takes it."""
        *others, last = self._folders
        for folder in others:
            with contextlib.suppress(OSError):
                _write(folder, sealed)
                return
        _write(last, sealed)

    def hindrance(self) -> str | None:
        """Why nothing could be put aside; None when all is well."""
        reasons = [_hindrance(folder) for folder in self._folders]
        return None if None in reasons else "; ".join(filter(None, reasons))

    def files(self) -> list[Path]:
        return [path for folder in self._folders for path in folder.glob("*")]

    def connections(self) -> set[int]:
        """Whose grants lie here."""
        return {int(path.name.split("-")[1]) for folder in self._folders for path in folder.glob("token-*-*.json")}

    def read(self, connection_id: int) -> list[SealedGrant]:
        """The grants of one connection, oldest generation first."""
        found = []
        for path in [path for folder in self._folders for path in folder.glob(f"token-{connection_id}-*.json")]:
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
        for folder in self._folders:
            with contextlib.suppress(OSError):
                _path(folder, sealed).unlink()


def _write(folder: Path, sealed: SealedGrant) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(folder, sealed)
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(sealed))
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    parent = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _hindrance(folder: Path) -> str | None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None if os.access(folder, os.W_OK) else f"{folder} cannot be written"


def _path(folder: Path, sealed: SealedGrant) -> Path:
    return folder / f"token-{sealed.connection_id}-{sealed.generation}.json"
