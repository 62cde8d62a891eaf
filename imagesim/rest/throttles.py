"""How often a visitor may ask, from ``IMAGESIM["REST_THROTTLES"]``: a rate for each scope, None for no limit."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from imagesim.conf import get_settings
from imagesim.exceptions import ConfigurationError


class VisualSearchThrottle(SimpleRateThrottle):
    """One count for each scope and visitor: the user where one is signed in, else the address.

    Behind proxies set DRF's ``NUM_PROXIES``, or every visitor has the proxy's address.
    """

    def __init__(self) -> None:
        """The rate is known once the view is."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        self.scope = view.visual_search_scope  # type: ignore[attr-defined]
        self.rate = get_settings().REST_THROTTLES.get(self.scope)
        try:
            self.num_requests, self.duration = self.parse_rate(self.rate)
        except (ValueError, KeyError) as error:
            raise ConfigurationError(
                f"IMAGESIM['REST_THROTTLES'][{self.scope!r}] is {self.rate!r}; it must be like '30/min', or None."
            ) from error
        return super().allow_request(request, view)

    def get_cache_key(self, request: Request, view: Any) -> str:
        user = getattr(request, "user", None)
        ident = user.pk if user is not None and user.is_authenticated else self.get_ident(request)
        return self.cache_format % {"scope": f"imagesim_{self.scope}", "ident": ident}
