"""Thumbnails for cards: made by the shop's thumbnail app, or on first request and stored.

The addresses of those made here are signed, so that only sizes and files that pages show can be requested.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from threading import Lock
from typing import Any

from django.apps import apps
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from imagesim import images
from imagesim.exceptions import BadImage
from imagesim.items import Items
from imagesim.registry import registry
from imagesim.retrieval.hydrate import load_items
from imagesim.runtime import runtime

WIDTHS = (160, 320, 640)
"""The widths in pixels; a requested width is rounded up to one of them."""

QUALITY = 80
WAIT_SECONDS = 2.0
"""The time to wait for the lock to make a thumbnail; after it, the original picture is shown."""

FOLDER = "imagesim-thumbnails"
YEAR = 365 * 24 * 3600

_signer = signing.Signer(salt="imagesim.thumbnails")  # without a time, so that an address stays the same


def srcset(items: Items[Any], item: Any, name: str) -> str:
    """Return the value of ``srcset`` of an ``<img>``; empty if there is only the original picture."""
    urls = {width: thumbnail_url(items, item, name, width) for width in WIDTHS}
    return ", ".join(f"{url} {width}w" for width, url in urls.items()) if len(set(urls.values())) > 1 else ""


def thumbnail_url(items: Items[Any], item: Any, name: str, width: int) -> str:
    """Return the URL of the item's picture stored under ``name``, about ``width`` pixels wide.

    ``Items.get_thumbnail_url`` has precedence; then easy-thumbnails and sorl-thumbnail are used if they are installed.
    Empty if there is no such picture.
    """
    if own := items.get_thumbnail_url(item, name, width):
        return own
    file = items.find_image(item, name)
    if (
        file is None
        or type(items).get_image_url is not Items.get_image_url
        or not isinstance(getattr(file, "storage", None), Storage)
    ):
        return items.get_image_url(item, name)
    width = next((known for known in WIDTHS if known >= width), WIDTHS[-1])
    if apps.is_installed("easy_thumbnails"):
        from easy_thumbnails.files import get_thumbnailer

        return str(get_thumbnailer(file).get_thumbnail({"size": (width, 0), "upscale": False}).url)
    if apps.is_installed("sorl.thumbnail"):
        from sorl.thumbnail import get_thumbnail

        return str(get_thumbnail(file, str(width), upscale=False).url)
    try:
        return reverse("imagesim:thumbnail", args=[_signer.sign_object([items.key_of(item), file.name, width])])
    except NoReverseMatch:  # the project does not include the app's addresses
        return items.get_image_url(item, name)


@require_safe
def thumbnail(request: HttpRequest, signed: str) -> HttpResponse:
    """The thumbnail at the URL from :func:`thumbnail_url`."""
    try:
        key, name, width = _signer.unsign_object(signed)
    except signing.BadSignature as error:
        raise Http404 from error
    item = load_items([key]).get(key)
    file = registry.for_item(item).find_image(item, name) if item is not None else None
    if item is None or file is None or file.name != name:
        raise Http404
    try:
        data = _stored(file, width)
    except (BadImage, OSError) as error:
        raise Http404 from error
    if data is None:
        address = registry.for_item(item).get_image_url(item, name)
        return HttpResponseRedirect(address, headers={"Cache-Control": "no-store"})
    return HttpResponse(
        data,
        content_type="image/webp",
        headers={"Cache-Control": f"public, max-age={YEAR}, immutable", "X-Content-Type-Options": "nosniff"},
    )


def _stored(file: Any, width: int) -> bytes | None:
    """Return the thumbnail from the storage of ``file``, created if necessary; None while many others are being
    created.

    One thumbnail is created at a time per process: the largest pictures take hundreds of megabytes.
    """
    digest = hashlib.sha256(f"{file.name}:{width}".encode()).hexdigest()[:40]
    name = f"{FOLDER}/{digest}.webp"
    storage: Storage = file.storage
    if storage.exists(name):
        return _read(storage, name)
    turn = runtime.get("thumbnails", Lock)
    if not turn.acquire(timeout=WAIT_SECONDS):
        return None
    try:
        if storage.exists(name):  # created while this thread waited
            return _read(storage, name)
        data = _made(images.read(file), width)
        storage.save(name, ContentFile(data))
        return data
    finally:
        turn.release()


def _read(storage: Storage, name: str) -> bytes:
    with storage.open(name, "rb") as stored:
        return bytes(stored.read())


def _made(data: bytes, width: int) -> bytes:
    image = images.decode(data, min_decode_side=width)
    image.thumbnail((width, 4 * width))
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
