"""The master keys: their sources, their file, and a new one put in front. D13: the fault catalogue."""

import os
import stat
from pathlib import Path

import pytest

from connector.errors import ConfigurationError
from connector.master_keys import CREDENTIAL, VARIABLE, Keyring, MasterKey, add_key, generate_key_file, load_keys


def test_a_generated_key_file_is_private_and_loads(tmp_path: Path) -> None:
    file = tmp_path / "key"
    generate_key_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (key,) = load_keys(file, {})
    assert len(key.key) == 32
    assert str(key.key) not in repr(key)
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_key_file(file)
    assert load_keys(file, {}) == [key]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """D13."""
    file = tmp_path / "key"
    generate_key_file(file)
    file.chmod(mode)
    with pytest.raises(ConfigurationError) as raised:
        load_keys(file, {})
    assert f"{mode:04o}" in raised.value.what
    assert raised.value.where == str(file)
    assert raised.value.fix == f"chmod 600 {file}"


def test_the_sources_are_tried_in_order(tmp_path: Path) -> None:
    def line(name: str) -> str:
        generate_key_file(tmp_path / name)
        return (tmp_path / name).read_text()

    in_file, in_variable, in_credential = line("a"), line("b"), line("c")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / CREDENTIAL).write_text(in_credential)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"), VARIABLE: in_variable}
    assert load_keys(tmp_path / "a", environ)[0].kid == in_credential.split()[0]
    environ = {VARIABLE: in_variable}
    assert load_keys(tmp_path / "a", environ)[0].kid == in_file.split()[0]
    environ = {VARIABLE: in_variable}
    assert load_keys(None, environ)[0].kid == in_variable.split()[0]
    assert VARIABLE not in environ
    with pytest.raises(ConfigurationError, match="there is no master key"):
        load_keys(None, environ)


@pytest.mark.parametrize(
    "text", ["", "# only a comment", "k1", "k1 c2hvcnQ", f"k1 {'A' * 43}\nk1 {'A' * 43}", "k.1 " + "A" * 43]
)
def test_a_malformed_key_file_says_so_without_showing_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigurationError) as raised:
        load_keys(file, {})
    assert "A" * 43 not in str(raised.value)
    assert raised.value.fix


def test_an_unreadable_key_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_keys(tmp_path / "missing", {})
    binary = tmp_path / "binary"
    binary.write_bytes(os.urandom(64) + b"\xff\xfe")
    binary.chmod(0o600)
    with pytest.raises(ConfigurationError, match="not a text file"):
        load_keys(binary, {})


def test_the_variable_stands_in_for_a_file_that_is_not_there_and_is_gone_in_any_case(tmp_path: Path) -> None:
    generate_key_file(tmp_path / "elsewhere")
    line = (tmp_path / "elsewhere").read_text()
    environ = {VARIABLE: line}
    assert load_keys(tmp_path / "missing", environ)[0].kid == line.split()[0]
    assert environ == {}
    generate_key_file(tmp_path / "there")
    environ = {VARIABLE: line}
    assert load_keys(tmp_path / "there", environ)[0].kid != line.split()[0]
    assert environ == {}


def test_a_new_key_goes_in_front_and_nothing_else_changes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    generate_key_file(file)
    file.write_text(f"# from the notary\n{file.read_text()}")
    before = file.read_text()
    kid = add_key(file, {})
    assert file.read_text().endswith(before)
    assert load_keys(file, {})[0].kid == kid
    assert len(load_keys(file, {})) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_a_key_file_that_is_not_in_use_or_not_private_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(ConfigurationError, match="does not come from the key file"):
        add_key(file, {})
    generate_key_file(file)
    before = file.read_bytes()
    (tmp_path / CREDENTIAL).write_bytes(before)
    with pytest.raises(ConfigurationError, match="does not come from the key file"):
        add_key(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by other users"):
        add_key(file, {})
    assert file.read_bytes() == before


def test_a_keyring_finds_a_key_that_was_added_later_and_survives_a_source_that_is_gone() -> None:
    old, new = MasterKey("old", bytes(32)), MasterKey("new", bytes(range(32)))
    source = [old]

    def read() -> list[MasterKey]:
        if not source:
            raise ConfigurationError("gone")
        return list(source)

    keyring = Keyring(read)
    assert (keyring.first, keyring.cipher("new")) == ("old", None)
    source.insert(0, new)
    assert keyring.cipher("new") is not None
    assert (keyring.first, keyring.names) == ("new", ["new", "old"])
    source.clear()
    assert keyring.cipher("other") is None
    assert keyring.first == "new"
