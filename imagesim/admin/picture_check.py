"""Say at once, after a save in the admin, which pictures of the item are missing, broken, tiny or blurred."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import PurePosixPath
from time import monotonic
from typing import Any

from django.contrib import messages
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.exceptions import BadImage
from imagesim.images.quality import MIN_SIDE, Quality, measure
from imagesim.images.remote import RemoteImage
from imagesim.indexing.documents import queryset_of
from imagesim.models import ItemImage
from imagesim.registry import registry

logger = logging.getLogger(__name__)

PICTURES = 10
SECONDS = 2.0
"""A save is kept no longer by pictures to open: further ones are left to the sync."""

PIXELS = 25_000_000
"""Of a larger picture only the header is read."""


def warn(request: HttpRequest, item: models.Model) -> None:
    """Add a message for each bad picture of the item that was just saved. Never raises."""
    try:
        items = registry.for_item(item)
        stored = queryset_of(items)
        with transaction.atomic(using=stored.db):  # a query that fails does not break the request's transaction
            saved = items.for_reading(stored.filter(pk=item.pk)).first()
            found = list(problems(saved)) if saved is not None else []
    except Exception:  # of the shop's code, or of its storage's client
        log_repeated(logger, logging.WARNING, "check", "The pictures of a saved item were not checked", exc_info=True)
        return
    for problem in found:
        messages.warning(request, problem, fail_silently=True)


def problems(item: models.Model) -> Iterator[str]:
    """Yield a sentence for each bad picture of an item, or one if it has none and should be found.

    Pictures on other servers are not fetched; a storage that cannot be reached is no problem of a picture.
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
        if reason := _reason(file):
            name = PurePosixPath(str(file.name)).name
            yield _("Picture “%(picture)s”: %(reason)s") % {"picture": name, "reason": reason}


def _reason(file: Any) -> str:
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
