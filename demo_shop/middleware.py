"""A strict Content-Security-Policy for every response, under which imagesim and the shop must work."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# ``blob:`` is for the preview of the visitor's photo, ``data:`` for the icons of Django's admin.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
TRUSTED_TYPES = "require-trusted-types-for 'script'"
ADMIN = "/admin/"  # whose jQuery does not work with trusted types


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        policy = POLICY if request.path.startswith(ADMIN) else f"{POLICY}; {TRUSTED_TYPES}"
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware
