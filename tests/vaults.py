"""A vault for tests that are about something else: its data keys need no database and are the same in every process."""

from connector.master_keys import Keyring, MasterKey
from connector.vault import Vault, Wrapped

MASTER = MasterKey("test", bytes(range(32)))


class OneDataKey:
    """One data key for everybody, wrapped when it is asked for."""

    def newest(self, connection_id: int) -> Wrapped:
        return self.get(connection_id, 1)

    def get(self, connection_id: int, number: int) -> Wrapped:
        return VAULT._wrap(Wrapped(connection_id, number, ""), bytes(32))

    def add(self, wrapped: Wrapped) -> None:
        raise AssertionError("there is one always")


VAULT = Vault(Keyring(lambda: [MASTER]), OneDataKey())
