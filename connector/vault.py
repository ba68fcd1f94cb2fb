"""Encryption at rest: AES-256-GCM, each value bound to the place where it is stored.

Stored form `v1.kid.nonce.ct`. The associated data names version, table, connection, field and key, so a ciphertext
that was copied to another row does not decrypt there. Of several keys the first encrypts and all decrypt.
"""

import base64
import binascii
import json
import os
import re
import secrets
import stat
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connector.errors import ConfigurationError, Stopped

VARIABLE: Final = "CONNECTOR_MASTER_KEY"
CREDENTIAL: Final = "connector-master-key"

_VERSION: Final = "v1"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_CANARY: Final = "the key is right"


class Undecipherable(Stopped):
    """A stored value does not decrypt: damaged, or copied from another place. It is left as it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is stored; the same ciphertext is worthless anywhere else."""

    table: str
    connection_id: int
    field: str

    def __str__(self) -> str:
        return f"{self.table}.{self.field} of connection {self.connection_id}"


_CANARY_PLACE: Final = Place("meta", 0, "canary")


@dataclass(frozen=True, slots=True)
class MasterKey:
    kid: str
    key: bytes = field(repr=False)


class Vault:
    """Encrypts with the first key, decrypts with any."""

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        if not keys:
            raise ConfigurationError("there is no master key", where="vault", fix="run `connector init` to make one")
        self._first = keys[0].kid
        self._ciphers = {key.kid: AESGCM(key.key) for key in keys}

    def encrypt(self, plaintext: str, place: Place) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._first]
        sealed = cipher.encrypt(nonce, plaintext.encode(), _associated(place, self._first))
        return ".".join((_VERSION, self._first, _text(nonce), _text(sealed)))

    def decrypt(self, stored: str, place: Place) -> str:
        """The plaintext.

        Raises:
            ConfigurationError: the key it was encrypted with is not among the configured keys.
            Undecipherable: the value is damaged or belongs elsewhere.
        """
        parts = stored.split(".")
        version, kid, nonce, sealed = parts if len(parts) == 4 else ("", "", "", "")
        cipher = self._ciphers.get(kid)
        if version == _VERSION and _KID.fullmatch(kid) and cipher is None:
            raise ConfigurationError(
                f"the database was written with master key {kid}, which is not configured",
                where=str(place),
                fix="add that key to the key file; nothing in the database was changed",
            )
        try:
            if version == _VERSION and cipher is not None:
                return cipher.decrypt(_bytes(nonce), _bytes(sealed), _associated(place, kid)).decode()
        except (ValueError, InvalidTag):
            pass
        raise Undecipherable(
            "a stored secret cannot be decrypted: it is damaged or was copied from another row",
            where=str(place),
            fix="restore the row from a backup, or sign in to the package again",
        )

    def is_current(self, stored: str) -> bool:
        """Whether the value was encrypted with the key that encrypts now."""
        return stored.startswith(f"{_VERSION}.{self._first}.")

    def canary(self) -> str:
        """A known text, to be stored with the database."""
        return self.encrypt(_CANARY, _CANARY_PLACE)

    def check_canary(self, stored: str) -> None:
        """Tell a wrong key from a corrupt row, once, at start.

        Raises:
            ConfigurationError: this is not the key the database was written with.
        """
        try:
            self.decrypt(stored, _CANARY_PLACE)
        except Undecipherable as error:
            raise ConfigurationError(
                "the master key is not the one this database was written with",
                where="master key",
                fix="put the right key file back; nothing in the database was changed",
            ) from error


def load_keys(file: Path | None, environ: MutableMapping[str, str] = os.environ) -> list[MasterKey]:
    """The master keys: from the systemd credential, else the file, else the environment variable.

    The variable is removed from the environment once it is read.

    Raises:
        ConfigurationError: no key, an unreadable one, or a file that other users can read.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and (credential := Path(directory, CREDENTIAL)).is_file():
        return _parse(credential.read_text(), str(credential))
    if file is not None:
        return _parse(_read_private(file), str(file))
    if value := environ.pop(VARIABLE, None):
        return _parse(value, VARIABLE)
    raise ConfigurationError(
        "there is no master key",
        where=f"systemd credential {CREDENTIAL}, key file, {VARIABLE}",
        fix="run `connector init` to make a key file, and back it up apart from the database",
    )


def generate_key_file(path: Path) -> None:
    """Write a new master key, readable by its owner only; an existing file is never touched."""
    line = f"k{secrets.token_hex(4)} {_text(secrets.token_bytes(_KEY_BYTES))}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigurationError(
            "the key file exists already", where=str(path), fix="keep it: without it the stored tokens are lost"
        ) from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(line)
        stream.flush()
        os.fsync(descriptor)


def _read_private(file: Path) -> str:
    try:
        with file.open() as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigurationError(
                    f"the key file can be read by other users (mode {mode:04o})",
                    where=str(file),
                    fix=f"chmod 600 {file}",
                )
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigurationError(
            f"the key file cannot be read: {reason}",
            where=str(file),
            fix="run `connector init` to make one, or correct its path and owner",
        ) from error


def _parse(text: str, where: str) -> list[MasterKey]:
    """One key a line: `kid base64`; blank lines and lines with # are left out."""
    lines = [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    keys: list[MasterKey] = []
    for number, line in enumerate(lines, 1):
        kid, _, encoded = line.partition(" ")
        try:
            key = _bytes(encoded.strip())
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES or not _KID.fullmatch(kid) or kid in {known.kid for known in keys}:
            raise ConfigurationError(
                f"key {number} is not `name base64-of-32-bytes` with a name of its own",
                where=where,
                fix="restore the file as `connector init` wrote it",
            )
        keys.append(MasterKey(kid, key))
    if not keys:
        raise ConfigurationError("there is no key in it", where=where, fix="run `connector init` to make one")
    return keys


def _associated(place: Place, kid: str) -> bytes:
    return json.dumps([_VERSION, place.table, place.connection_id, place.field, kid]).encode()


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
