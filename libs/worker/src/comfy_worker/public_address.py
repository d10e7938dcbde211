"""Addresses that strangers name: only those of public hosts may be asked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

URL_LENGTH = 8192
"""Characters of an address; a presigned one of S3 with a session token has some 2,000."""

SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
"""IANA's special-purpose addresses; libs/business has the same list."""

PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")


def is_public_address(address: str) -> bool:
    """Whether an IP address is that of a public host."""
    try:
        ip = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if ip.version == 6 and ip not in PUBLIC_IPV6:
        return False
    return not any(ip in network for network in SPECIAL if network.version == ip.version)


def url_problem(value: object, *, allow_private: bool = False, length: int = URL_LENGTH) -> str | None:
    """Why an address must not be asked; None when it may. Names are judged again when they are resolved.

    `allow_private` is for networks of one's own, and for tests: also http, and hosts that are not public.
    """
    if not isinstance(value, str) or len(value) > length or not value.isascii() or not value.isprintable():
        return f"it is no text of up to {length} printable ASCII characters"
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        return "it is no URL"
    if " " in value or "\\" in value or not host:
        return "it is no URL"
    if url.scheme != "https" and not (allow_private and url.scheme == "http"):
        return "it is not https"
    if url.username is not None or url.password is not None:
        return "it holds credentials"
    if not allow_private and _is_address(host) and not is_public_address(host):
        return "its address is not public"
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Names of public hosts only: what it answers is what is connected to."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError when one of them is not public."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = {entry[4][0]: entry[0] for entry in found}
        if not addresses or not all(is_public_address(str(address)) for address in addresses):
            raise OSError(f"{host} is not a public host")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address, kind in addresses.items()
        ]

    async def close(self) -> None:
        """Nothing is held."""
