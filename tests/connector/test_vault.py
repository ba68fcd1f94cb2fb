"""Encryption at rest: bound to its place, precise about keys. D numbers: the fault catalogue."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connector.errors import ConfigurationError
from connector.store.engine import Store
from connector.store.tokens import TokenStore
from connector.vault import CREDENTIAL, VARIABLE, MasterKey, Place, Undecipherable, Vault, generate_key_file, load_keys

OLD, NEW = MasterKey("old", bytes(32)), MasterKey("new", bytes(range(32)))
PLACE = Place("token", 7, "refresh")

# Few values, so that two places often differ in one part only; and joined parts that read the same.
words = st.sampled_from(["token", "meta", "a", 'a", 1, "b', "|", ""])
places = st.builds(Place, words, st.integers(0, 2), words)


@given(text=st.text(), place=places)
def test_what_goes_in_comes_out(text: str, place: Place) -> None:
    vault = Vault([NEW, OLD])
    stored = vault.encrypt(text, place)
    assert vault.decrypt(stored, place) == text
    assert stored.startswith("v1.new.")
    assert len(stored.split(".")) == 4


@given(text=st.text(), here=places, there=places)
def test_a_ciphertext_is_worthless_in_another_place(text: str, here: Place, there: Place) -> None:
    """D14."""
    assume(here != there)
    vault = Vault([NEW])
    with pytest.raises(Undecipherable, match="copied from another row"):
        vault.decrypt(vault.encrypt(text, here), there)


@given(data=st.data())
def test_a_changed_ciphertext_never_decrypts(data: st.DataObject) -> None:
    """D14: bit flips, truncation, swapped parts."""
    vault = Vault([NEW])
    stored = vault.encrypt("secret", PLACE)
    position = data.draw(st.integers(0, len(stored) - 1))
    changed = data.draw(
        st.sampled_from([stored[:position], stored + ".x", stored + "A"])
        | st.characters(codec="ascii").map(lambda c: stored[:position] + c + stored[position + 1 :])
    )
    assume(changed != stored)
    try:
        plain = vault.decrypt(changed, PLACE)
    except (Undecipherable, ConfigurationError):
        return
    # The last character of unpadded base64 has bits that mean nothing.
    assert plain == "secret"
    assert changed[:-1] == stored[:-1] or changed.split(".")[3] == stored.split(".")[3]


def test_equal_texts_are_stored_differently() -> None:
    vault = Vault([NEW])
    assert vault.encrypt("secret", PLACE) != vault.encrypt("secret", PLACE)


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    stored = Vault([OLD]).encrypt("secret", PLACE)
    both = Vault([NEW, OLD])
    assert both.decrypt(stored, PLACE) == "secret"
    assert not both.is_current(stored)
    assert both.is_current(both.encrypt("secret", PLACE))


def test_a_missing_key_is_named_and_is_not_corruption() -> None:
    with pytest.raises(ConfigurationError, match=r"master key old.*not configured"):
        Vault([NEW]).decrypt(Vault([OLD]).encrypt("secret", PLACE), PLACE)


def test_the_canary_tells_a_wrong_key_from_a_corrupt_row(store: Store) -> None:
    """D13: the same name, another key."""
    right = TokenStore(store, Vault([OLD]))
    right.check_key()
    right.check_key()
    with pytest.raises(ConfigurationError, match="not the one this database was written with"):
        TokenStore(store, Vault([MasterKey("old", NEW.key)])).check_key()
    with pytest.raises(ConfigurationError, match="master key old, which is not configured"):
        TokenStore(store, Vault([NEW])).check_key()
    TokenStore(store, Vault([NEW, OLD])).check_key()


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
    del environ["CREDENTIALS_DIRECTORY"]
    assert load_keys(tmp_path / "a", environ)[0].kid == in_file.split()[0]
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
