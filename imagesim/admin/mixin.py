""":class:`ItemStateMixin`, for the shop's own ModelAdmin, and the page "Similar items" that it adds."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from time import monotonic
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage, Error
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, models, transaction
from django.forms import Media
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from imagesim import images
from imagesim.admin.base import Styled, admin_url, admins_of, badge, change_url, page, queued_message, reason, thumbnail
from imagesim.circuit_breaker import log_repeated
from imagesim.exceptions import BadImage, ImagesimError, NotIndexed, NotRegistered, mask_credentials
from imagesim.images.quality import MIN_SIDE, Quality, measure
from imagesim.images.remote import RemoteImage
from imagesim.indexing.documents import queryset_of
from imagesim.indexing.outbox import touch
from imagesim.items.registry import registry
from imagesim.models import ItemImage, ItemState
from imagesim.pages.widgets import of_its_kind
from imagesim.retrieval import search
from imagesim.types import Hit

logger = logging.getLogger(__name__)

LIMIT = 24

PICTURES = 10
SECONDS = 2.0
"""How long a save may open pictures to check them: further ones are left to the sync."""

PIXELS = 25_000_000
"""Of a picture with more pixels, only the header is read."""


class ItemStateMixin:
    """Add the column "visual search" and the action "reindex selected" to the ModelAdmin of a registered model.

    ``class ProductAdmin(ItemStateMixin, admin.ModelAdmin)``. The column takes one query per page and comes after the
    first column, unless ``list_display`` places it elsewhere. To show it in the form as well, name ``visual_search`` in
    ``readonly_fields``. The page of an item links to one of similar items, and a save reports bad pictures.
    """

    model: type[Any]  # as in ModelAdmin
    admin_site: admin.AdminSite

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        found: list[CheckMessage] = super().check(**kwargs)  # type: ignore[misc]
        if self.model not in registry:
            message = f"ItemStateMixin is used for {self.model._meta.label}, which is not registered with imagesim."
            hint = "Register it in a similarity.py with @imagesim.register, or remove the mixin."
            found.append(Error(message, hint=hint, obj=self.__class__, id="imagesim.E401"))
        return found

    @property
    def media(self) -> Media:
        return super().media + Media(Styled)  # type: ignore[misc, no-any-return]

    # The column and the action of the list.

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        shown = list(super().get_list_display(request))  # type: ignore[misc]
        return shown if "visual_search" in shown else [*shown[:1], "visual_search", *shown[1:]]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist: ChangeList = super().get_changelist_instance(request)  # type: ignore[misc]
        attach_states(changelist.result_list, links=_may_see_states(request))
        return changelist

    def has_reindex_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("imagesim.reindex_itemstate")

    @admin.display(description=gettext_lazy("visual search"))
    def visual_search(self, item: models.Model) -> SafeString:
        if not hasattr(item, "_imagesim_state"):
            attach_states([item])
        state: ItemState | None = getattr(item, "_imagesim_state", None)
        linked = state is not None and getattr(item, "_imagesim_linked", False)
        return badge(state, change_url(self.admin_site, state) if state and linked else "")

    @admin.action(
        description=gettext_lazy("Reindex selected %(verbose_name_plural)s for visual search"), permissions=["reindex"]
    )
    def reindex_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        own: Any = self
        try:
            own.message_user(request, queued_message(touch(queryset.order_by())), messages.SUCCESS)
        except NotRegistered as error:
            own.message_user(request, str(error), messages.ERROR)

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        """Add the action to the ``actions`` of the shop's class, only on lists, and unless the class disabled actions.

        ``action_location`` is an enumeration of Django 6.1 and later; a class of another package that does not know it
        has no actions elsewhere than on lists, as in Django.
        """
        inherited: Any = super().get_actions  # type: ignore[misc]
        if action_location is not None and action_location.name != "CHANGE_LIST":
            knows = "action_location" in inspect.signature(inherited).parameters
            return inherited(request, action_location=action_location) if knows else {}
        found: dict[str, Any] = inherited(request)
        disabled = self.actions is None or IS_POPUP_VAR in request.GET  # type: ignore[attr-defined]
        if not disabled and self.has_reindex_permission(request):
            found["reindex_selected"] = self.get_action("reindex_selected")  # type: ignore[attr-defined]
        return found

    # The page of an item: its badge, the link to similar items, and the messages after a save.

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        item = super().get_object(request, object_id, from_field)  # type: ignore[misc]
        if item is not None:
            attach_states([item], links=_may_see_states(request))
        return item

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
        request._imagesim_saved = form.instance  # type: ignore[attr-defined]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]
        saved = getattr(request, "_imagesim_saved", None)  # and committed, unless requests are atomic
        if saved is not None:
            warn_of_pictures(request, saved)
        return response

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, obj: Any = None, **kwargs: Any
    ) -> HttpResponse:
        """Add a link to similar items, whatever template the page has."""
        form: HttpResponse = super().render_change_form(request, context, *args, obj=obj, **kwargs)  # type: ignore[misc]
        if obj is None or not isinstance(form, TemplateResponse) or self.model not in registry:
            return form
        more = {
            "imagesim_page": form.resolve_template(form.template_name),
            "imagesim_similar_url": admin_url(self.admin_site, self._similar_name, quote(obj.pk)),
        }
        form.context_data = {**(form.context_data or {}), **more}
        form.template_name = "admin/imagesim/item_page.html"
        return form

    # The page of similar items.

    @property
    def _similar_name(self) -> str:
        return f"{self.model._meta.app_label}_{self.model._meta.model_name}_imagesim_similar"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.similar_view)
        own = path("<path:object_id>/similar/", view, name=self._similar_name)
        return [own, *super().get_urls()]  # type: ignore[misc]

    def similar_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        own: Any = self
        item = own.get_object(request, unquote(object_id))
        if not own.has_view_permission(request, item):
            raise PermissionDenied
        if item is None or self.model not in registry:
            answer: HttpResponse = own._get_obj_does_not_exist_redirect(request, own.opts, object_id)
            return answer
        found, why_none = similar_items(self.admin_site, request, item, item._imagesim_state)
        context = {
            "title": _("Similar items"),
            "subtitle": str(item),
            "object": item,
            "item_id": quote(item.pk),
            "badge": self.visual_search(item),
            "similar": found,
            "why_none": why_none,
        }
        return page(self, request, "admin/imagesim/similar.html", context)


def attach_states(items: Iterable[Any], *, links: bool = False) -> None:
    """Load the states of a page of items of one model in one query; with ``links``, the badges are linked to them."""
    items = list(items)
    if not items or type(items[0]) not in registry:
        return
    declared = registry.for_item(items[0])
    pks = [declared.pk_of(item) for item in items if item.pk is not None]
    states = {state.object_pk: state for state in ItemState.objects.filter(model=declared.label, object_pk__in=pks)}
    for item in items:
        item._imagesim_state = states.get(declared.pk_of(item)) if item.pk is not None else None
        item._imagesim_linked = links


def _may_see_states(request: HttpRequest) -> bool:
    return request.user.has_perm("imagesim.view_itemstate")


def similar_items(
    site: AdminSite, request: HttpRequest, item: models.Model, state: ItemState | None
) -> tuple[list[dict[str, str]], str]:
    """Return the items that visitors see as similar and the user may view, best first, and if there are none, why.

    Never raises an error of the index or of the shop's code for the item: this page is where staff look for the cause.
    """
    try:
        hits = search.similar_to(item, limit=LIMIT, **of_its_kind(item, {}))
    except NotIndexed as error:
        return [], reason(state, item) or str(error)
    except ImagesimError as error:
        return [], _("The index cannot answer now: %(reason)s") % {"reason": mask_credentials(error)}
    except DatabaseError:
        raise
    except Exception as error:
        key = registry.for_item(item).key_of(item)  # not its name, which may have line breaks
        log_repeated(logger, logging.ERROR, "similar", "The items similar to %s were not found", key, exc_info=True)
        return [], f"{type(error).__name__}: {error}"
    shown = [_shown(site, hit) for hit in _visible(site, request, hits)]
    if shown:
        return shown, ""
    if hits:
        return [], _("There are similar items, but none that you may see.")
    return [], _("Nothing in the index is similar enough to it.")


def _visible(site: AdminSite, request: HttpRequest, hits: Iterable[Hit]) -> list[Hit]:
    """Return the hits that the user's own lists of these models contain. One query per list."""
    by_model: dict[Any, list[Hit]] = {}
    for hit in hits:
        by_model.setdefault(registry.for_item(hit.item).model, []).append(hit)
    allowed: set[tuple[Any, Any]] = set()
    for model, found in by_model.items():
        wanted = [hit.item.pk for hit in found]
        for own in admins_of(site, model):
            if own.has_view_permission(request):
                pks = own.get_queryset(request).filter(pk__in=wanted).values_list("pk", flat=True)
                allowed |= {(model, pk) for pk in pks}
    return [hit for hit in hits if (registry.for_item(hit.item).model, hit.item.pk) in allowed]


def _shown(site: AdminSite, hit: Hit) -> dict[str, str]:
    """Return a hit as the page shows it. ``url`` is empty if the admin has no page of the item."""
    return {
        "name": str(hit.item),
        "url": change_url(site, hit.item),
        "picture": thumbnail(hit.item, hit.image.name),
        "relevance": _("%(percent)s %% relevant") % {"percent": number_format(round(100 * hit.relevance))},
        "rules": ", ".join(hit.rules),
    }


# The messages after a save: which pictures of the item are missing, broken, tiny or blurred.


def warn_of_pictures(request: HttpRequest, item: models.Model) -> None:
    """Add a message for each bad picture of the item that was just saved. Never raises."""
    try:
        items = registry.for_item(item)
        stored = queryset_of(items)
        with transaction.atomic(using=stored.db):  # a failing query must not break the request's transaction
            saved = items.for_reading(stored.filter(pk=item.pk)).first()
            found = list(problems(saved)) if saved is not None else []
    except Exception:  # of the shop's code, or of its storage's client
        log_repeated(logger, logging.WARNING, "check", "The pictures of a saved item were not checked", exc_info=True)
        return
    for problem in found:
        messages.warning(request, problem, fail_silently=True)


def problems(item: models.Model) -> Iterator[str]:
    """Yield a sentence for each bad picture of an item, or one if it has none and should be found.

    Pictures on other servers are not fetched; a storage that cannot be reached is not a problem of a picture.
    """
    items = registry.for_item(item)
    every = list(items.get_images(item))
    if not every and items.should_index(item):
        yield _("“%(item)s” has no picture, so nobody finds it by its looks.") % {"item": item}
    pictures = [file for file in every if not isinstance(file, RemoteImage)]
    if not pictures:
        return
    state = {"state__model": items.label, "state__object_pk": items.pk_of(item), "error": ""}
    known = set(ItemImage.objects.filter(**state).values_list("name", flat=True))
    until = monotonic() + SECONDS
    for file in sorted(pictures, key=lambda file: str(file.name) in known)[:PICTURES]:  # new ones first
        if monotonic() > until:
            return
        if problem := _problem(file):
            name = PurePosixPath(str(file.name)).name
            yield _("Picture “%(picture)s”: %(reason)s") % {"picture": name, "reason": problem}


def _problem(file: Any) -> str:
    try:
        data = images.read(file)
        width, height = images.dimensions(data)
        quality = measure(data) if width * height <= PIXELS else Quality(width, height, 0.0)
    except BadImage as error:
        return str(error)
    except FileNotFoundError:
        return _("The storage does not have its file.")
    except OSError:
        return ""
    if quality.is_tiny:
        return _("It has %(width)d × %(height)d pixels; use one with at least %(least)d on its short side.") % {
            "width": width,
            "height": height,
            "least": MIN_SIDE,
        }
    return _("It looks blurred; use a sharper one.") if quality.is_blurred else ""
