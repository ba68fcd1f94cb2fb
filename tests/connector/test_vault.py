"""Encryption at rest: an envelope, bound to its place, precise about keys. D numbers: the fault catalogue."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connector.errors import ConfigurationError
from connector.master_keys import Keyring, MasterKey
from connector.store.data_keys import StoredDataKeys
from connector.store.engine import Store
from connector.vault import Place, Undecipherable, Vault, Wrapped

OLD, NEW = MasterKey("old", bytes(32)), MasterKey("new", bytes(range(32)))
PLACE = Place("token", 7, "refresh")

# Few values, so that two places often differ in one part only; and joined parts that read the same.
words = st.sampled_from(["token", "meta", "a", 'a", 1, "b', "|", ""])
places = st.builds(Place, words, st.integers(1, 3), words)


class Shelf(dict[tuple[int, int], Wrapped]):
    """Data keys in memory; the first of two with one number stays."""

    def newest(self, connection_id: int) -> Wrapped | None:
        return max((one for one in self.values() if one.connection_id == connection_id), default=None)

    def get(self, connection_id: int, number: int = 1) -> Wrapped | None:  # type: ignore[override]  # not a dict's
        return super().get((connection_id, number))

    def add(self, wrapped: Wrapped) -> None:
        self.setdefault((wrapped.connection_id, wrapped.number), wrapped)


def vault(keys: Sequence[MasterKey] = (NEW,), shelf: Shelf | None = None) -> Vault:
    return Vault(Keyring(lambda: keys), Shelf() if shelf is None else shelf)


@given(text=st.text(), place=places)
def test_what_goes_in_comes_out(text: str, place: Place) -> None:
    ours = vault()
    stored = ours.encrypt(text, place)
    assert ours.decrypt(stored, place) == text
    assert stored.startswith("v1.d1.")
    assert len(stored.split(".")) == 4


@given(text=st.text(), here=places, there=places)
def test_a_ciphertext_is_worthless_in_another_place(text: str, here: Place, there: Place) -> None:
    """D14."""
    assume(here != there)
    ours = vault()
    ours.prepare([here.connection_id, there.connection_id])
    with pytest.raises(Undecipherable, match="copied from another row"):
        ours.decrypt(ours.encrypt(text, here), there)


@given(data=st.data())
def test_a_changed_ciphertext_never_decrypts(data: st.DataObject) -> None:
    """D14: bit flips, truncation, swapped parts; of a value, and of the data key it needs."""
    shelf = Shelf()
    stored = vault([NEW], shelf).encrypt("secret", PLACE)
    wrapped = shelf[7, 1]
    of_key = data.draw(st.booleans())
    right = wrapped.key_ct if of_key else stored
    position = data.draw(st.integers(0, len(right) - 1))
    changed = data.draw(
        st.sampled_from([right[:position], right + ".x", right + "A"])
        | st.characters(codec="ascii").map(lambda c: right[:position] + c + right[position + 1 :])
    )
    assume(changed != right)
    if of_key:
        shelf[7, 1] = wrapped._replace(key_ct=changed)
    try:
        plain = vault([NEW], shelf).decrypt(stored if of_key else changed, PLACE)
    except (Undecipherable, ConfigurationError):
        return
    # The last character of unpadded base64 has bits that mean nothing.
    assert plain == "secret"
    assert changed[:-1] == right[:-1] or changed.split(".")[3] == right.split(".")[3]


def test_a_data_key_is_worthless_for_another_connection() -> None:
    shelf = Shelf()
    ours = vault([NEW], shelf)
    ours.prepare([7, 8])
    stored = ours.encrypt("secret", PLACE)
    shelf[8, 1] = shelf[7, 1]._replace(connection_id=8)
    with pytest.raises(Undecipherable, match="copied from another row") as raised:
        vault([NEW], shelf).decrypt(stored, Place("token", 8, "refresh"))
    assert raised.value.where == "data_key.d1 of connection 8"


def test_equal_texts_are_stored_differently() -> None:
    ours = vault()
    assert ours.encrypt("secret", PLACE) != ours.encrypt("secret", PLACE)


def test_the_first_master_key_wraps_and_all_unwrap() -> None:
    shelf = Shelf()
    stored = vault([OLD], shelf).encrypt("secret", PLACE)
    both = vault([NEW, OLD], shelf)
    assert both.decrypt(stored, PLACE) == "secret"
    rewrapped = both.rewrapped(shelf[7, 1])
    assert rewrapped is not None
    assert (shelf[7, 1].master, rewrapped.master) == ("old", "new")
    assert both.rewrapped(rewrapped) is None
    assert vault([NEW], Shelf({(7, 1): rewrapped})).decrypt(stored, PLACE) == "secret"


def test_a_master_key_that_is_not_there_is_named_and_is_not_corruption() -> None:
    shelf = Shelf()
    stored = vault([OLD], shelf).encrypt("secret", PLACE)
    with pytest.raises(ConfigurationError, match=r"master key old.*not configured"):
        vault([NEW], shelf).decrypt(stored, PLACE)


def test_a_data_key_that_is_not_there_is_said() -> None:
    stored = vault().encrypt("secret", PLACE)
    with pytest.raises(Undecipherable, match="no data key any more"):
        vault().decrypt(stored, PLACE)


def test_a_new_data_key_encrypts_and_the_old_one_still_decrypts() -> None:
    shelf = Shelf()
    ours = vault([NEW], shelf)
    before = ours.encrypt("secret", PLACE)
    ours.renew(7)
    after = ours.encrypt("secret", PLACE)
    assert (before.split(".")[1], after.split(".")[1]) == ("d1", "d2")
    assert (ours.is_current(before, PLACE), ours.is_current(after, PLACE)) == (False, True)
    for each in (ours, vault([NEW], shelf)):
        assert [each.decrypt(stored, PLACE) for stored in (before, after)] == ["secret", "secret"]


def test_one_bad_data_key_does_not_keep_the_others_from_being_prepared() -> None:
    shelf = Shelf()
    vault([NEW], shelf).prepare([7])
    shelf[7, 1] = shelf[7, 1]._replace(key_ct="v1.new.AAAA.AAAA")
    ours = vault([NEW], shelf)
    ours.prepare([7, 8])
    assert ours.encrypt("secret", Place("token", 8, "access"))
    with pytest.raises(Undecipherable):
        ours.encrypt("secret", PLACE)
    assert shelf[7, 1].key_ct == "v1.new.AAAA.AAAA", "it may be restored from a backup"


def test_two_processes_that_need_the_first_data_key_get_the_same(store: Store) -> None:
    one, other = (Vault(Keyring(lambda: [NEW]), StoredDataKeys(store)) for _ in range(2))
    assert StoredDataKeys(store).newest(7) is None
    stored = one.encrypt("secret", PLACE)
    assert other.decrypt(stored, PLACE) == "secret"
    assert other.decrypt(other.encrypt("secret", PLACE), PLACE) == "secret"
    # The slower one made its key before it saw that there is one.
    late = StoredDataKeys(store)
    late.add(Wrapped(7, 1, "v1.new.AAAA.AAAA"))
    assert Vault(Keyring(lambda: [NEW]), late).decrypt(stored, PLACE) == "secret"


def test_a_value_can_be_encrypted_inside_a_transaction(store: Store) -> None:
    ours = Vault(Keyring(lambda: [NEW]), StoredDataKeys(store))
    ours.prepare([7])
    with store.write():
        assert ours.encrypt("secret", PLACE)


def test_the_canary_tells_a_wrong_key_from_a_corrupt_row(store: Store) -> None:
    """D13: the same name, another key."""

    def check(*keys: MasterKey) -> None:
        Vault(Keyring(lambda: keys), StoredDataKeys(store)).check_key()

    check(OLD)
    check(OLD)
    with pytest.raises(ConfigurationError, match="not the one this database was written with"):
        check(MasterKey("old", NEW.key))
    with pytest.raises(ConfigurationError, match="master key old, which is not configured"):
        check(NEW)
    check(NEW, OLD)
