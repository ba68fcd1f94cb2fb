"""Next-page links: believed only when they stay where the page came from."""

import httpx

from connector.http import ForeignLink
from connector.network import origin_of, path_within

__all__ = ["ForeignLink", "next_link", "query_value"]


def next_link(page: str, link: str, within: str = "/") -> str:
    """The absolute form of a link found in the page at URL `page`; no request is made.

    Raises:
        ForeignLink: another scheme, host or port, a user name in it, or a path that does not begin with `within`.
    """
    base = httpx.URL(page)
    try:
        target = base.join(link)
    except httpx.InvalidURL as error:
        raise _foreign("is not a URL", base) from error
    if origin_of(target) != origin_of(base) or target.userinfo:
        raise _foreign(f"leads to another origin, {target.scheme}://{target.netloc.decode()}", base)
    if not path_within(target, (within,)):
        raise _foreign(f"leads outside {within}, to {target.path}", base)
    return str(target)


def query_value(link: str, name: str) -> str | None:
    """One parameter of a link, such as its skip token; None when absent."""
    value: str | None = httpx.URL(link).params.get(name)
    return value


def _foreign(what: str, page: httpx.URL) -> ForeignLink:
    return ForeignLink(
        f"a next-page link {what}; it was not requested",
        where=f"{page.host}{page.path}",
        fix="the rows so far are kept; report it, the package's answer cannot be trusted",
    )
