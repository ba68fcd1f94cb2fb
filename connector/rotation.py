"""Changing the keys of what is stored, and proving that everything still decrypts.

Each step is a compare-and-swap of one row, in portions, beside a running daemon. Nothing is deleted: whatever does not
decrypt stays as it is and is named. A run that was cut short is finished by the next one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from connector.errors import ConfigurationError, ConnectorError
from connector.failpoints import failpoint
from connector.store import sealed
from connector.store.data_keys import StoredDataKeys
from connector.store.engine import Store
from connector.vault import NOBODY, Undecipherable, Vault

PORTION = 200

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(kw_only=True)
class Report:
    """What was gone through."""

    changed: int = 0
    """Data keys that were wrapped anew, or values that were encrypted anew."""
    masters: Counter[str] = field(default_factory=Counter)
    """Master key -> data keys that it protects, the canary among them; 0 when nothing needs it."""
    values: Counter[str] = field(default_factory=Counter)
    """Column -> values that decrypt."""
    problems: list[ConnectorError] = field(default_factory=list)

    @property
    def unused(self) -> list[str]:
        """Master keys that nothing needs any more; none as long as there are problems."""
        return [] if self.problems else [kid for kid, count in self.masters.items() if not count]

    def attempt(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What it gives; None, and a problem more, when something does not decrypt."""
        try:
            return work(*args, **kwargs)
        except (Undecipherable, ConfigurationError) as error:
            self.problems.append(error)
            return None


def rewrap(store: Store, vault: Vault) -> Report:
    """Put every data key under the master key that wraps now; the canary last."""
    data_keys, report = StoredDataKeys(store), Report()
    for portion in data_keys.portions(PORTION):
        found = [(old, report.attempt(vault.rewrapped, old)) for old in portion]
        report.changed += data_keys.replace([(old, new) for old, new in found if new is not None])
        failpoint("rekey.mid")
    return report


def renew(store: Store, vault: Vault) -> Report:
    """Give every connection a new data key, and encrypt its values anew.

    A process that runs meanwhile uses the former key until it starts again: both decrypt.
    """
    data_keys, report = StoredDataKeys(store), Report()
    owners = {one.connection_id for portion in data_keys.portions(PORTION) for one in portion} - {NOBODY}
    for connection_id in sorted(owners):
        vault.renew(connection_id)
    for column in sealed.COLUMNS:
        for values in sealed.portions(store, column, PORTION):
            old = [one for one in values if not vault.is_current(one.stored, one.place)]
            found = [(one, report.attempt(_again, vault, one)) for one in old]
            report.changed += sealed.replace(store, [(one, new) for one, new in found if new is not None])
    return report


def verify(store: Store, vault: Vault) -> Report:
    """Decrypt everything once."""
    report = Report(masters=Counter(dict.fromkeys(vault.masters, 0)))
    for keys in StoredDataKeys(store).portions(PORTION):
        found = [report.attempt(vault.master_of, one) for one in keys]
        report.masters.update(kid for kid in found if kid)
    for column in sealed.COLUMNS:
        for values in sealed.portions(store, column, PORTION):
            plain = [report.attempt(vault.decrypt, one.stored, one.place) for one in values]
            report.values[f"{column.table}.{column.name}"] += sum(one is not None for one in plain)
    return report


def _again(vault: Vault, value: sealed.Sealed) -> str:
    return vault.encrypt(vault.decrypt(value.stored, value.place), value.place)
