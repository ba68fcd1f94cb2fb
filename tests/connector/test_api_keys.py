"""API keys: shown once, stored as a hash, worthless when revoked or expired."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from connector.errors import ConfigurationError
from connector.secrets import redact
from connector.store import api_keys
from connector.store.api_keys import TABLE, Scope
from connector.store.engine import Store
from tests.clocks import ManualClock

NOW = ManualClock().now()


def test_a_key_is_stored_as_a_hash_and_known_again(store: Store) -> None:
    key = api_keys.create(store, "dashboard", Scope.READ, now=NOW).reveal()
    other = api_keys.create(store, "other", Scope.ADMIN, now=NOW).reveal()
    assert key != other
    with store.read() as connection:
        stored = str(connection.execute(sa.select(TABLE)).all())
    assert key not in stored
    assert key.removeprefix(api_keys.prefix_of(key)) not in stored
    known = api_keys.authenticate(store, key, NOW)
    assert known is not None
    assert (known.name, known.scope, known.prefix) == ("dashboard", Scope.READ, api_keys.prefix_of(key))
    assert api_keys.authenticate(store, f"{api_keys.prefix_of(key)}{other[18:]}", NOW) is None
    assert api_keys.authenticate(store, "", NOW) is None
    assert api_keys.authenticate(store, "\udcff", NOW) is None


def test_its_use_is_noted_once_a_minute(store: Store) -> None:
    key = api_keys.create(store, "dashboard", Scope.READ, now=NOW).reveal()
    for seconds, noted in ((0, 0), (30, 0), (60, 60)):
        api_keys.authenticate(store, key, NOW + timedelta(seconds=seconds))
        (one,) = api_keys.everyone(store)
        assert one.last_used_at == NOW + timedelta(seconds=noted)


def test_it_ends_when_it_expires_or_is_revoked(store: Store) -> None:
    assert not api_keys.any_usable(store, NOW)
    brief = api_keys.create(store, "brief", Scope.READ, now=NOW, expires_at=NOW + timedelta(days=1)).reveal()
    assert api_keys.any_usable(store, NOW)
    assert api_keys.authenticate(store, brief, NOW + timedelta(days=1)) is None
    assert not api_keys.any_usable(store, NOW + timedelta(days=1))
    assert api_keys.revoke(store, "brief")
    assert not api_keys.revoke(store, "brief")
    assert api_keys.authenticate(store, brief, NOW) is None


def test_a_name_is_given_once(store: Store) -> None:
    key = api_keys.create(store, "dashboard", Scope.READ, now=NOW).reveal()
    with pytest.raises(ConfigurationError, match='there is an API key "dashboard"'):
        api_keys.create(store, "dashboard", Scope.ADMIN, now=NOW)
    assert api_keys.authenticate(store, key, NOW) is not None


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_includes_those_before_it(scope: Scope) -> None:
    order = [Scope.READ, Scope.OPERATE, Scope.ADMIN]
    assert [needed for needed in order if scope.allows(needed)] == order[: order.index(scope) + 1]


def test_a_key_is_masked_wherever_it_is_printed(store: Store) -> None:
    key = "connector_0123abcd_" + "aB3_-" * 8 + "xyz"
    assert redact(f"curl -H 'X: {key}' and {key}") == "curl -H 'X: connector_0123abcd_***' and connector_0123abcd_***"
