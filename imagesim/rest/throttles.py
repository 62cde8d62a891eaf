"""How often a visitor may search, from ``IMAGESIM["REST_THROTTLES"]``: a rate per scope, None for no limit."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import ScopedRateThrottle

from imagesim.conf import get_settings
from imagesim.exceptions import ConfigurationError

IPV6_PREFIX = 64
"""Bits of an IPv6 address that tell visitors apart: a subscriber is given at least that many addresses."""


class VisitorThrottle(ScopedRateThrottle):
    """One count per scope and visitor, in the default cache."""

    cache_format = "imagesim.throttle.%(scope)s.%(ident)s"

    def get_rate(self) -> str | None:
        return get_settings().REST_THROTTLES.get(self.scope or "")

    def parse_rate(self, rate: Any) -> Any:
        try:
            return super().parse_rate(rate)
        except (ValueError, KeyError) as error:
            raise ConfigurationError(
                f"IMAGESIM['REST_THROTTLES'][{self.scope!r}] is {rate!r}; it must be like '30/min', or None."
            ) from error

    def get_cache_key(self, request: Request, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": visitor(request)}


def visitor(request: HttpRequest | Request) -> str:
    """Who sent the request: ``user-7`` where one is signed in, else ``address-203.0.113.5``."""
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return f"user-{quote(str(user.pk), safe='')}"
    return f"address-{_address(request)}"


def _address(request: HttpRequest | Request) -> str:
    """The visitor's address; of IPv6 the network.

    With ``REST_FRAMEWORK["NUM_PROXIES"]`` set to n it is the n-th from the right in ``X-Forwarded-For``: each proxy
    adds the address that it was asked from, and what stands further left may be the visitor's invention. Without the
    setting, or with fewer addresses than proxies, the header is ignored.
    """
    address: str = request.META.get("REMOTE_ADDR") or ""
    proxies = api_settings.NUM_PROXIES or 0
    header = request.META.get("HTTP_X_FORWARDED_FOR", "")
    forwarded = [part.strip() for part in header.split(",") if part.strip()]
    if 0 < proxies <= len(forwarded):
        address = forwarded[-proxies]
    try:
        parsed = ip_address(address)
    except ValueError:  # a UNIX socket, or a proxy that adds the port
        return quote(address[:100], safe="")
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, IPV6_PREFIX), strict=False).network_address)
    return str(parsed)
