"""Show staff the shop as visitors in a variant see it, before the experiment starts or while it runs, without counting
them.

A signed cookie in the staff's own browser names the variant and the user. Searches and pages follow it only while that
user is logged in and may see experiments. Visitors have no such cookie, so nothing more is done for them.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.translation import gettext as _

from imagesim.experiments.models import Variant
from imagesim.indexing import jobs
from imagesim.insight.middleware import is_of_admin
from imagesim.retrieval import variants

COOKIE = "imagesim_preview"
SALT = "imagesim.experiments.preview"
PERMISSIONS = ("imagesim_experiments.view_experiment", "imagesim_experiments.change_experiment")
"""Either of them, as in Django's admin."""
MAX_AGE = 24 * 60 * 60
"""Seconds after which a preview ends by itself, unless the browser is closed before."""

_BODY_END = re.compile(rb"</body\s*>", re.IGNORECASE)


def may_see(user: Any) -> bool:
    return bool(user.is_staff) and any(map(user.has_perm, PERMISSIONS))


def begin(response: HttpResponse, request: HttpRequest, variant: Variant) -> None:
    """Make this browser show the shop as visitors in the variant see it."""
    shown = {"variant": str(variant), "experiment": str(variant.experiment), "pk": variant.experiment_id}
    value = signing.dumps([variant.pk, str(request.user.pk), shown], salt=SALT)
    response.set_cookie(COOKIE, value, secure=request.is_secure(), httponly=True, samesite="Lax")


def end(response: HttpResponseBase) -> None:
    response.delete_cookie(COOKIE, samesite="Lax")


def search_of(variant: Variant) -> variants.Variant | None:
    """Return how a search differs for visitors in the variant; None if the variant cannot be searched now."""
    backing_index = jobs.standby_index() if variant.standby else ""
    if variant.standby and not backing_index:
        return None
    try:
        return variants.Variant(variant.key, variant.arguments(), backing_index)
    except ValidationError:
        return None


class Preview:
    """The preview that a request's cookie names. The database is read once, for a search or for the bar on a page."""

    def __init__(self, request: HttpRequest, pk: int, user_pk: str, shown: dict[str, str]) -> None:
        self._request = request
        self._pk, self._user_pk, self._shown = pk, user_pk, shown

    @classmethod
    def of(cls, request: HttpRequest) -> Preview | None:
        value = request.COOKIES.get(COOKIE)
        if not value:
            return None
        try:
            return cls(request, *signing.loads(value, salt=SALT, max_age=MAX_AGE))
        except signing.BadSignature:
            return None

    def variant(self, where: str) -> variants.Variant | None:
        """Return how a search in this place differs; None if it does not."""
        if is_of_admin(self._request):
            return None
        return self._search if self._row and where in self._row.experiment.places else None

    def end(self) -> None:
        """Search the shop as it is, and end the preview with this response, because the user has logged out."""
        self._row = self._search = None

    def lost(self) -> None:
        """Search the shop as it is from now on, because the index of the variant is gone."""
        self._search = None

    @cached_property
    def _row(self) -> Variant | None:
        """The variant; None if the user is a different one, or may no longer see it."""
        user = getattr(self._request, "user", None)
        if user is None or str(user.pk) != self._user_pk or not may_see(user):
            return None
        return Variant.objects.select_related("experiment").filter(pk=self._pk).first()

    @cached_property
    def _search(self) -> variants.Variant | None:
        return search_of(self._row) if self._row else None

    def mark(self, response: HttpResponseBase) -> HttpResponseBase:
        """Add a bar to a page of the shop that says that this is a preview, and keep the response out of all caches.
        End the preview if the user may no longer see it, or is no longer logged in."""
        add_never_cache_headers(response)
        is_page = response.get("Content-Type", "").startswith("text/html") and not is_of_admin(self._request)
        was_asked = "_row" in vars(self)
        if (is_page or was_asked) and self._row is None:
            end(response)
            return response
        if not is_page or not isinstance(response, HttpResponse) or response.has_header("Content-Encoding"):
            return response
        ends = list(_BODY_END.finditer(response.content))
        if ends:
            at = ends[-1].start()
            response.content = response.content[:at] + self._bar().encode(response.charset) + response.content[at:]
            if response.has_header("Content-Length"):
                response["Content-Length"] = str(len(response.content))
        return response

    def _bar(self) -> str:
        text = _(
            "Preview: you see the shop as visitors in variant %(variant)s of “%(experiment)s” do. Nothing is counted."
        )
        if self._search is None:
            text = _("Variant %(variant)s of “%(experiment)s” cannot be previewed now: you see the shop as it is.")
        try:
            url = reverse("admin:imagesim_experiments_report", args=[self._shown["pk"]])
        except NoReverseMatch:  # the admin is not among the URLs
            url = ""
        nonce = getattr(self._request, "_csp_nonce", "")  # of Django and django-csp; false if the page uses none
        return format_html(
            '<link rel="stylesheet"{} href="{}"><div class="imagesim-preview" role="status">{} {}</div>',
            format_html(' nonce="{}"', nonce) if nonce else "",
            static("imagesim_experiments/preview.css"),
            text % self._shown,
            format_html('<a href="{}">{}</a>', url, _("End the preview")) if url else "",
        )
