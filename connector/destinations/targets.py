"""Which addresses may be connected to: a URL that a client typed must not reach the machines beside ours.

The name is resolved for every connection, all its addresses are looked at, and the connection goes to one that was
looked at, so that no second answer of the name server can slip in between.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import httpx

PORTS: Final = (443, 8443)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(name, port) -> addresses; raises OSError when the name is not known."""


class RefusedTarget(httpx.TransportError):
    """The target is not on the public internet."""


def objection(url: httpx.URL, *, allow_private: bool) -> str | None:
    """What is wrong with a target's URL as it is written; None when nothing is."""
    rules = [
        (url.scheme in {"https", "http"} and bool(url.host), "it is not a web address"),
        (not url.userinfo, "it holds a user name or password"),
    ]
    if not allow_private:
        rules += [
            (url.scheme == "https", "it is not https"),
            ((url.port or 443) in PORTS, f"its port is not {' or '.join(map(str, PORTS))}"),
            (not _is_private_literal(url.host), "it is not on the public internet"),
        ]
    return next((what for kept, what in rules if not kept), None)


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return False


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Also an IPv4 address that is wrapped into an IPv6 address must be public."""
    if isinstance(address, IPv6Address):
        inner = _wrapped(address)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


async def resolve(name: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class CheckedTransport(httpx.AsyncHTTPTransport):
    """Connects to checked addresses; TLS and the Host header keep the name."""

    def __init__(self, *, allow_private: bool, tls: ssl.SSLContext, resolve: Resolve = resolve) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._allow_private = allow_private
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        refused: httpx.ConnectError | None = None
        for address in await self._addresses(url):
            request.url = url.copy_with(host=address)
            request.extensions = {**request.extensions, "sni_hostname": url.host}
            try:
                return await super().handle_async_request(request)
            except httpx.ConnectError as error:
                refused = error
            finally:
                request.url = url
        raise refused or httpx.ConnectError("the name has no address", request=request)

    async def _addresses(self, url: httpx.URL) -> Sequence[str]:
        port = url.port or {"http": 80}.get(url.scheme, 443)
        try:
            found = await self._resolve(url.host, port)
        except OSError as error:
            raise httpx.ConnectError("the name cannot be resolved") from error
        if not self._allow_private and not all(is_public(ip_address(address)) for address in found):
            raise RefusedTarget("the name leads to an address that is not on the public internet")
        return list(dict.fromkeys(found))
