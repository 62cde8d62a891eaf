"""Who a visitor is, for experiments."""

from __future__ import annotations

from django.http import HttpRequest


def visitor_key(request: HttpRequest) -> str | None:
    """Return the key of the session, which is started if there is none: the demo has no cart that would start one."""
    if not request.session.session_key:
        request.session.create()
    return request.session.session_key
