"""The network address that tells one visitor from another."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings

IPV6_PREFIX = 64
"""The bits of an IPv6 address that identify a visitor: a subscriber gets at least that many addresses."""


def number_of_proxies() -> int | None:
    """Return ``REST_FRAMEWORK["NUM_PROXIES"]``; None if it is not set."""
    number: int | None = getattr(settings, "REST_FRAMEWORK", {}).get("NUM_PROXIES")
    return number


def forwarded_for(request: Any) -> list[str]:
    """Return the addresses in ``X-Forwarded-For``, in order: the last proxy's entry comes last."""
    header = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return [part.strip() for part in header.split(",") if part.strip()]


@lru_cache(1024)
def is_global(address: str) -> bool:
    """Return whether it is a public internet address: not a private one, such as a proxy's, and not a UNIX socket."""
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def address_of(request: Any) -> str:
    """Return the visitor's address, for IPv6 that of its network; what the server reports if that is not an address.

    With ``REST_FRAMEWORK["NUM_PROXIES"]`` set to n it is the n-th from the right in ``X-Forwarded-For``: each proxy
    appends the address that its request came from, and a visitor can invent anything further left. Without the setting,
    or with fewer addresses than proxies, the header is ignored.
    """
    address: str = request.META.get("REMOTE_ADDR") or ""
    proxies = number_of_proxies() or 0
    forwarded = forwarded_for(request)
    if 0 < proxies <= len(forwarded):
        address = forwarded[-proxies]
    try:
        parsed = ip_address(address)
    except ValueError:  # a UNIX socket, or a proxy that adds the port
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, IPV6_PREFIX), strict=False).network_address)
    return str(parsed)
