"""Encryption at rest, in an envelope: values under a data key of their connection, data keys under the master key.

AES-256-GCM both times, in the form `v1.key.nonce.ciphertext`. The associated data names version, table, connection,
field and key, so that a ciphertext which was copied to another row does not decrypt there.
"""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connector.errors import ConfigurationError, Stopped
from connector.master_keys import KEY_BYTES, NAME, Keyring, decoded, encoded

NOBODY: Final = 0
"""The connection of the canary: a data key that encrypts nothing and tells whether the master key is right."""

_VERSION: Final = "v1"
_NONCE_BYTES: Final = 12
_DATA_KEY: Final = re.compile(r"d[1-9][0-9]{0,8}")


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


class Wrapped(NamedTuple):
    """A data key as it is stored. A connection's keys are numbered from 1; the last one encrypts."""

    connection_id: int
    number: int
    key_ct: str

    @property
    def place(self) -> Place:
        return Place("data_key", self.connection_id, _name(self.number))

    @property
    def master(self) -> str:
        """The name of the master key that it was wrapped with."""
        return _split(self.key_ct)[0]


class DataKeys(Protocol):
    """Where wrapped data keys are kept."""

    def newest(self, connection_id: int) -> Wrapped | None: ...

    def get(self, connection_id: int, number: int) -> Wrapped | None: ...

    def add(self, wrapped: Wrapped) -> None:
        """Keep one for good; a key that has this number already stays."""
        ...


class Vault:
    """Encrypts and decrypts; data keys are unwrapped once and kept in memory."""

    def __init__(self, keyring: Keyring, data_keys: DataKeys) -> None:
        self._keyring = keyring
        self._data_keys = data_keys
        self._ciphers: dict[tuple[int, int], AESGCM] = {}
        self._newest: dict[int, int] = {}

    @property
    def masters(self) -> Sequence[str]:
        """The names of the master keys, the one that wraps first."""
        return self._keyring.names

    def prepare(self, connection_ids: Sequence[int]) -> None:
        """Make the data keys that are missing. Not inside a transaction: `encrypt` may be, and then waits for nobody.

        A data key that does not unwrap is left as it is; whoever needs it hears of it.
        """
        for connection_id in connection_ids:
            number = self._number(connection_id)
            try:
                self._cipher(connection_id, number)
            except (ConfigurationError, Undecipherable):
                continue

    def encrypt(self, plaintext: str, place: Place) -> str:
        number = self._number(place.connection_id)
        return _seal(self._cipher(place.connection_id, number), _name(number), plaintext.encode(), place)

    def decrypt(self, stored: str, place: Place) -> str:
        """The plaintext.

        Raises:
            ConfigurationError: the master key that its data key was wrapped with is not configured.
            Undecipherable: the value or its data key is damaged or belongs elsewhere.
        """
        number = _number(_split(stored)[0])
        if number is None:
            raise _undecipherable(place)
        return _open(self._cipher(place.connection_id, number), stored, place).decode()

    def is_current(self, stored: str, place: Place) -> bool:
        """Whether the value was encrypted with the data key that encrypts now."""
        return _split(stored)[0] == _name(self._number(place.connection_id))

    def renew(self, connection_id: int) -> None:
        """Give a connection a new data key, which encrypts from now on; the earlier ones still decrypt."""
        self._add(connection_id, self._number(connection_id) + 1)

    def master_of(self, wrapped: Wrapped) -> str:
        """The name of the master key under which a data key is, proved by unwrapping it.

        Raises:
            ConfigurationError: that master key is not configured.
            Undecipherable: the data key is damaged or belongs elsewhere.
        """
        self._unwrap(wrapped)
        return wrapped.master

    def rewrapped(self, wrapped: Wrapped) -> Wrapped | None:
        """The same data key under the master key that wraps now; None when it is already.

        Raises:
            ConfigurationError, Undecipherable: as `master_of`.
        """
        key = self._unwrap(wrapped)
        return None if wrapped.master == self._keyring.first else self._wrap(wrapped, key)

    def check_key(self) -> None:
        """Tell a wrong master key from a corrupt row; the first call on a new database leaves the canary.

        Raises:
            ConfigurationError: this is not the key the database was written with.
        """
        canary = self._data_keys.newest(NOBODY) or self._add(NOBODY, 1)
        try:
            self._unwrap(canary)
        except Undecipherable as error:
            raise ConfigurationError(
                "the master key is not the one this database was written with",
                where="master key",
                fix="put the right key file back; nothing in the database was changed",
            ) from error

    def _number(self, connection_id: int) -> int:
        """Of the data key that encrypts for a connection; it gets its first one here."""
        number = self._newest.get(connection_id)
        if number is None:
            wrapped = self._data_keys.newest(connection_id) or self._add(connection_id, 1)
            number = self._newest[connection_id] = wrapped.number
        return number

    def _cipher(self, connection_id: int, number: int) -> AESGCM:
        cipher = self._ciphers.get((connection_id, number))
        if cipher is None:
            wrapped = self._data_keys.get(connection_id, number)
            if wrapped is None:
                raise _undecipherable(Place("data_key", connection_id, _name(number)), "has no data key any more")
            cipher = self._ciphers[connection_id, number] = AESGCM(self._unwrap(wrapped))
        return cipher

    def _add(self, connection_id: int, number: int) -> Wrapped:
        """A new data key; when another process was faster, its key."""
        self._data_keys.add(self._wrap(Wrapped(connection_id, number, ""), secrets.token_bytes(KEY_BYTES)))
        self._newest.pop(connection_id, None)
        added = self._data_keys.get(connection_id, number)
        assert added is not None
        return added

    def _wrap(self, wrapped: Wrapped, key: bytes) -> Wrapped:
        master = self._keyring.first
        cipher = self._keyring.cipher(master)
        assert cipher is not None
        return wrapped._replace(key_ct=_seal(cipher, master, key, wrapped.place))

    def _unwrap(self, wrapped: Wrapped) -> bytes:
        kid, place = wrapped.master, wrapped.place
        cipher = self._keyring.cipher(kid) if NAME.fullmatch(kid) else None
        if cipher is None and kid:
            raise ConfigurationError(
                f"the database was written with master key {kid}, which is not configured",
                where=str(place),
                fix="add that key to the key file; nothing in the database was changed",
            )
        if cipher is None:
            raise _undecipherable(place)
        return _open(cipher, wrapped.key_ct, place)


def _seal(cipher: AESGCM, kid: str, plaintext: bytes, place: Place) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = cipher.encrypt(nonce, plaintext, _associated(place, kid))
    return ".".join((_VERSION, kid, encoded(nonce), encoded(sealed)))


def _open(cipher: AESGCM, stored: str, place: Place) -> bytes:
    kid, nonce, sealed = _split(stored)
    try:
        return cipher.decrypt(decoded(nonce), decoded(sealed), _associated(place, kid))
    except (ValueError, InvalidTag) as error:
        raise _undecipherable(place) from error


def _split(stored: str) -> tuple[str, str, str]:
    """Key, nonce and ciphertext; empty ones when this is not our form."""
    parts = stored.split(".")
    if len(parts) != 4 or parts[0] != _VERSION or not NAME.fullmatch(parts[1]):
        return "", "", ""
    return parts[1], parts[2], parts[3]


def _name(number: int) -> str:
    return f"d{number}"


def _number(name: str) -> int | None:
    return int(name[1:]) if _DATA_KEY.fullmatch(name) else None


def _associated(place: Place, kid: str) -> bytes:
    return json.dumps([_VERSION, place.table, place.connection_id, place.field, kid]).encode()


def _undecipherable(place: Place, reason: str = "is damaged or was copied from another row") -> Undecipherable:
    return Undecipherable(
        f"a stored secret cannot be decrypted: it {reason}",
        where=str(place),
        fix="restore the row from a backup, or sign in to the package again",
    )
