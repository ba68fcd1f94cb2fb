"""The master keys: where they come from, how one is made, and how the next one is put in front.

A source holds one key a line, `name base64`. The first one wraps, all unwrap.
"""

import base64
import binascii
import os
import re
import secrets
import stat
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connector.errors import ConfigurationError

VARIABLE: Final = "CONNECTOR_MASTER_KEY"
CREDENTIAL: Final = "connector-master-key"

KEY_BYTES: Final = 32
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True)
class MasterKey:
    kid: str
    key: bytes = field(repr=False)


class Keyring:
    """The master keys of this process. An unknown name is looked up at their source: a key may have been added."""

    def __init__(self, source: Callable[[], Sequence[MasterKey]]) -> None:
        self._source = source
        self._take(source())

    @property
    def first(self) -> str:
        """The name of the key that wraps."""
        return self._first

    @property
    def names(self) -> list[str]:
        return list(self._ciphers)

    def cipher(self, kid: str) -> AESGCM | None:
        if kid not in self._ciphers:
            self.reload()
        return self._ciphers.get(kid)

    def reload(self) -> None:
        """Read the source again; one that cannot be read now (a variable is read once) leaves things as they are."""
        try:
            keys = self._source()
        except ConfigurationError:
            return
        self._take(keys)

    def _take(self, keys: Sequence[MasterKey]) -> None:
        self._ciphers = {key.kid: AESGCM(key.key) for key in keys}
        self._first = keys[0].kid


def load_keys(file: Path | None, environ: MutableMapping[str, str] = os.environ) -> list[MasterKey]:
    """The master keys, at least one: from the systemd credential, else the file, else the environment variable.

    The variable is removed from the environment, so that nothing that is started or dumped later has it.

    Raises:
        ConfigurationError: no key, an unreadable one, or a file that other users can read.
    """
    variable = environ.pop(VARIABLE, None)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and (credential := Path(directory, CREDENTIAL)).is_file():
        return _parse(credential.read_text(), str(credential))
    if file is not None and (not variable or file.exists()):
        return _parse(_read_private(file), str(file))
    if variable:
        return _parse(variable, VARIABLE)
    raise ConfigurationError(
        "there is no master key",
        where=f"systemd credential {CREDENTIAL}, key file, {VARIABLE}",
        fix="run `connector init` to make a key file, and back it up apart from the database",
    )


def generate_key_file(path: Path) -> None:
    """Write a new master key, readable by its owner only; an existing file is never touched."""
    try:
        _write(path, _new_line())
    except FileExistsError as error:
        raise ConfigurationError(
            "the key file exists already", where=str(path), fix="keep it: without it the stored tokens are lost"
        ) from error


def add_key(path: Path, environ: MutableMapping[str, str] = os.environ) -> str:
    """Put a new master key in front of those in the file, which is replaced in one step; returns its name.

    Raises:
        ConfigurationError: the keys do not come from that file, or it cannot be read or written.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if (directory and Path(directory, CREDENTIAL).is_file()) or not path.exists():
        raise ConfigurationError(
            "the master key in use does not come from the key file",
            where=str(path),
            fix="put a new key in front where yours comes from, restart, and rotate without --new-key",
        )
    kept = _read_private(path)
    _parse(kept, str(path))
    line = _new_line()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    owner = path.stat()
    try:
        _write(draft, line + kept)
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(path)
        _sync(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigurationError(
            f"the key file cannot be written ({error.strerror})",
            where=str(path),
            fix="run the command as the owner of the file and its folder; the file is as it was",
        ) from error
    return line.split()[0]


def _new_line() -> str:
    return f"k{secrets.token_hex(4)} {encoded(secrets.token_bytes(KEY_BYTES))}\n"


def _write(path: Path, text: str) -> None:
    """A new file, durable when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    """Blank lines and lines with # are left out."""
    lines = [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    keys: list[MasterKey] = []
    for number, line in enumerate(lines, 1):
        kid, _, text_of_key = line.partition(" ")
        try:
            key = decoded(text_of_key.strip())
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES or not NAME.fullmatch(kid) or kid in {known.kid for known in keys}:
            raise ConfigurationError(
                f"key {number} is not `name base64-of-32-bytes` with a name of its own",
                where=where,
                fix="restore the file as `connector init` wrote it",
            )
        keys.append(MasterKey(kid, key))
    if not keys:
        raise ConfigurationError("there is no key in it", where=where, fix="run `connector init` to make one")
    return keys


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
