"""Whether the division is the right one, is open for us, and keeps the time that we think. Pure."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.exactonline.wire import whole
from connector.adapter import Identity, References
from connector.decoding import essential, text
from connector.errors import ConfigurationError, PermissionLost, SourceDown, WrongAdministration

_STATUS = {0: "inactive", 2: "archived"}
_BLOCKING = {
    1: "a backup or restore",
    2: "a conversion",
    3: "a conversion",
    4: "a conversion",
    5: "copying data",
    6: "copying data",
}


def pick(items: list[dict[str, Any]], division: str, where: str) -> dict[str, Any]:
    """The item of our division, if the user may use it now.

    Raises:
        PermissionLost: not granted, inactive or archived.
        WrongAdministration: another division came in its place.
        SourceDown: a restore, conversion or copy is going on; it ends by itself.
        SchemaDrift: its state cannot be read.
    """
    if not items:
        raise not_granted(division, where)
    found = next((item for item in items if str(item.get("Code")) == division), None)
    if found is None:
        raise WrongAdministration(
            f"Exact Online answered for division {items[0].get('Code')}",
            where=f"{where}, division {division} is configured",
            fix="correct `administration` in the configuration, or sign in as a user of the right division",
        )
    if (state := _STATUS.get(essential(found, "Status", whole, 1))) is not None:
        raise PermissionLost(
            f"division {division} is {state}",
            where=where,
            fix="activate the division in Exact Online, or remove this connection from the configuration",
        )
    if blocking := essential(found, "BlockingStatus", whole, 0):
        raise SourceDown(
            f"division {division} is closed for {_BLOCKING.get(blocking, 'maintenance')}",
            where=where,
            fix="nothing to do: reading goes on when Exact Online opens it again",
        )
    return found


def check_rows(items: list[dict[str, Any]], division: str, where: str) -> None:
    """Raises WrongAdministration: an item says that it belongs to another division."""
    for item in items:
        if str(item.get("Division", division)) != division:
            raise WrongAdministration(
                f"an item of division {item['Division']} came in an answer for division {division}",
                where=f"{where}, item {item.get('ID')}",
                fix="report it: nothing of this page was stored",
            )


def not_granted(division: str, where: str) -> PermissionLost:
    return PermissionLost(
        f"the user did not grant access to division {division}, or lost it",
        where=where,
        fix="sign in again and choose this division on the consent page",
    )


def identity(item: dict[str, Any], division: str, time_zone: str) -> Identity:
    return Identity(
        administration=division,
        name=essential(item, "Description", text, division) or division,
        currency=essential(item, "Currency", text, "EUR") or "EUR",
        time_zone=time_zone,
        country=essential(item, "Country", text, "") or "",
    )


def zone(name: str) -> ZoneInfo:
    """Raises ConfigurationError: there is no such time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"there is no time zone {name!r}", where="time_zone", fix="use a name such as Europe/Amsterdam"
        ) from error


def check_clock(me: dict[str, Any], time_zone: str) -> None:
    """Compare today's offset of the server with the configured zone, at the server's own time.

    Raises:
        ConfigurationError: they differ, so that times of change would be misread.
    """
    local, offset = me.get("ServerTime"), me.get("ServerUtcOffset")
    if not isinstance(local, str) or offset is None:
        return
    at, seconds = essential(me, "ServerTime", datetime.fromisoformat), essential(me, "ServerUtcOffset", whole)
    expected = {zone(time_zone).utcoffset(at.replace(fold=fold)) for fold in (0, 1)}
    if timedelta(seconds=seconds) not in expected:
        raise ConfigurationError(
            f"the server's clock is {seconds // 60} minutes from UTC, which it never is in {time_zone} at {local}",
            where="time_zone",
            fix="set time_zone to that of the country site, Europe/Amsterdam for most",
        )


def scope(references: References) -> str:
    """What row versions belong to: they are all given out anew when a division moves (sheet 4).

    It also changes when deletions may have been missed (`epoch`), so that every feed is read from the beginning.
    """
    division = next(iter(references.get("division", ())), {})
    epoch = next(iter(references.get("epoch", ())), {})
    parts = (division.get("DivisionMoveDate"), division.get("DivisionHRLinkUnlinkDate"), epoch.get("Since"))
    return "|".join(part or "" for part in parts)
