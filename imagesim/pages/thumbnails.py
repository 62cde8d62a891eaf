"""Thumbnails for cards: made by the shop's thumbnail app, or on first request and stored.

The URLs of those made here are signed, so that only files that pages show can be requested, in a few sizes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.cache import get_conditional_response
from django.utils.functional import cached_property
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.database import CONNECTION_ERRORS, without_transaction
from imagesim.exceptions import BadImage
from imagesim.items import Items
from imagesim.items.hydrate import load_items, without_failing
from imagesim.items.registry import registry
from imagesim.items.thumbnail_files import WIDTHS, file_name, folder
from imagesim.runtime import runtime

logger = logging.getLogger(__name__)

QUALITY = 80
WAIT_SECONDS = 2.0
"""The time to wait for the lock to make a thumbnail; after it, the original picture is shown."""

DAY = 24 * 3600
"""How long, in seconds, a browser shows a thumbnail without asking again: a picture can be replaced under its name."""

_signer = signing.Signer(salt="imagesim.thumbnails")  # without a time, so that an address stays the same


class Pictures:
    """The URLs of an item's picture stored under ``name``, or of its first one; each is empty if there is none.

    The file, its signature and its path are looked up once for all widths. ``complete`` is called with each URL, to
    add the site to it.
    """

    def __init__(self, items: Items[Any], item: Any, name: str, complete: Callable[[str], str] = str) -> None:
        self._items, self._item, self._name, self._complete = items, item, name, complete

    @cached_property
    def original(self) -> str:
        with without_failing(self._items, self._item, "get_image_url"):  # such as in a storage without URLs
            if self._own_url:
                return self._complete(self._items.get_image_url(self._item, self._name))
            return self._complete(str(getattr(self._image, "url", "")))
        return ""

    def url(self, width: int) -> str:
        """Return the URL of the picture about ``width`` pixels wide; of the original if making a smaller one fails.

        ``Items.get_thumbnail_url`` has precedence; then easy-thumbnails and sorl-thumbnail are used if they are
        installed.
        """
        if self._signed:
            return f"{self._signed}?width={_known(width)}"
        with without_failing(self._items, self._item, "get_thumbnail_url"):  # such as on a file that is gone
            if own := self._items.get_thumbnail_url(self._item, self._name, width):
                return self._complete(own)
        app = _thumbnail_app()
        if not app or not self._is_stored:
            return self.original
        try:
            return self._complete(_made_by_app(app, self._image, _known(width)))
        except CONNECTION_ERRORS:
            raise
        except Exception as error:  # the file is gone, or not a picture; each app raises its own errors
            message = "%s cannot make a thumbnail of %r of %s, so the original is shown: %s"
            name, key = self._image.name, self._items.key_of(self._item)
            log_repeated(logger, logging.ERROR, "thumbnail app", message, app, name, key, error)
            return self.original

    @cached_property
    def srcset(self) -> str:
        """The value for the ``srcset`` of an ``<img>``; empty if there is only the original picture."""
        urls = {width: self.url(width) for width in WIDTHS}
        return ", ".join(f"{url} {width}w" for width, url in urls.items()) if len(set(urls.values())) > 1 else ""

    @property
    def _own_url(self) -> bool:
        """Whether the shop makes the URL itself."""
        return type(self._items).get_image_url is not Items.get_image_url

    @property
    def _is_stored(self) -> bool:
        """Whether there is a file from which a thumbnail can be made."""
        return not self._own_url and isinstance(getattr(self._image, "storage", None), Storage)

    @cached_property
    def _image(self) -> Any:
        """The picture; None if there is none, or if the shop's code fails on the item, which must not fail a whole
        page."""
        with without_failing(self._items, self._item, "get_images"):
            return self._items.find_image(self._item, self._name)
        return None

    @cached_property
    def _signed(self) -> str:
        """The address of :func:`thumbnail` without the width; empty if thumbnails of this picture are not made here."""
        own = getattr(self._items.get_thumbnail_url, "__func__", None) is not Items.get_thumbnail_url
        if own or _thumbnail_app() or not self._is_stored:
            return ""
        try:
            address = _address(get_urlconf() or settings.ROOT_URLCONF, get_script_prefix(), get_language())
        except NoReverseMatch:  # the project does not include it
            return ""
        signature = _sign(self._items.key_of(self._item), self._image.name)
        return self._complete(address.replace(_PLACEHOLDER, signature))


def _thumbnail_app() -> str:
    """Return the thumbnail app of the shop; empty if it has none."""
    names = ("easy_thumbnails", "sorl.thumbnail")
    return runtime.get(_thumbnail_app, lambda: next((name for name in names if apps.is_installed(name)), ""))


def _made_by_app(app: str, image: Any, width: int) -> str:
    """Return the URL of the thumbnail that the shop's thumbnail app makes. The app's errors are raised."""
    if app == "easy_thumbnails":
        from easy_thumbnails.files import get_thumbnailer

        return str(get_thumbnailer(image).get_thumbnail({"size": (width, 0), "upscale": False}).url)
    from sorl.thumbnail import get_thumbnail

    return str(get_thumbnail(image, str(width), upscale=False).url)


_PLACEHOLDER = "imagesim-signature"


def _known(width: int) -> int:
    return next((known for known in WIDTHS if known >= width), WIDTHS[-1])


@lru_cache(maxsize=256)
def _address(urlconf: str, script_prefix: str, language: str | None) -> str:
    """Return the URL of :func:`thumbnail` for any picture. It depends on the arguments, which Django keeps per
    thread."""
    return reverse("imagesim:thumbnail", args=[_PLACEHOLDER])


@lru_cache(maxsize=4096)
def _sign(key: str, name: str) -> str:
    return _signer.sign_object([key, name])


@without_transaction
@require_safe
def thumbnail(request: HttpRequest, signed: str) -> HttpResponse:
    """Return the thumbnail at a URL from :class:`Pictures`."""
    try:
        key, name = _signer.unsign_object(signed)
        width = {str(each): each for each in WIDTHS}[request.GET.get("width", "")]
    except (signing.BadSignature, KeyError) as error:
        raise Http404 from error
    item = load_items([key], images_only=True).get(key)
    file = registry.for_item(item).find_image(item, name) if item is not None else None
    if item is None or file is None or file.name != name:
        raise Http404
    try:
        data = _stored(file, width)
    except BadImage:  # such as an SVG, or more pixels than are decoded here: a browser may show it
        data = None
    except FileNotFoundError as error:
        raise Http404 from error
    except Exception as error:  # storages raise errors of their own clients, not only OSError
        log_repeated(logger, logging.ERROR, "read", "The picture %r cannot be read: %s", name, error)
        data = None
    if data is None:
        address = registry.for_item(item).get_image_url(item, name)
        return HttpResponseRedirect(address, headers={"Cache-Control": "no-store"})
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    # If something, such as LoginRequiredMiddleware, has checked who asks, a shared cache must not answer others.
    personal = getattr(getattr(request, "session", None), "accessed", False) or "Authorization" in request.headers
    scope = "private" if personal else "public"
    fresh = f"{scope}, max-age={DAY}, stale-while-revalidate={7 * DAY}"
    headers = {"Cache-Control": fresh, "ETag": etag, "X-Content-Type-Options": "nosniff"}
    response = HttpResponse(data, content_type="image/webp", headers=headers)
    return get_conditional_response(request, etag, response=response) or response


def _stored(file: Any, width: int) -> bytes | None:
    """Return the thumbnail from the storage of ``file``, created if there is none as new as the file; None while many
    others are being created.

    One thumbnail is created at a time per process: the largest pictures take hundreds of megabytes.
    """
    name = f"{folder()}/{file_name(file.name, width)}"
    storage: Storage = file.storage
    if (data := _read(storage, name, file.name)) is not None:
        return data
    turn = runtime.get("thumbnails", Lock)
    if not turn.acquire(timeout=WAIT_SECONDS):
        return None
    try:
        if (data := _read(storage, name, file.name)) is not None:  # created while this thread waited
            return data
        data = _made(images.read(file), width)
        try:
            _store(storage, name, file.name, data)
        except FileNotFoundError:
            pass  # another process has replaced it
        except Exception as error:  # read-only, or full: it can still be shown
            log_repeated(logger, logging.ERROR, "store", "Thumbnails cannot be stored, and are made again: %s", error)
        return data
    finally:
        turn.release()


def _read(storage: Storage, name: str, original: str) -> bytes | None:
    """Return the stored thumbnail; None if there is none that is complete and as new as the picture.

    Another process may be writing or deleting it at this moment; one that is killed, or has no space left, leaves an
    incomplete file.
    """
    if not (storage.exists(name) and _is_newer(storage, name, original)):
        return None
    try:
        with storage.open(name, "rb") as stored:
            data = bytes(stored.read())
    except FileNotFoundError:
        return None
    return data if data[:4] == b"RIFF" and len(data) == 8 + int.from_bytes(data[4:8], "little") else None


def _store(storage: Storage, name: str, original: str, data: bytes) -> None:
    """Store a thumbnail in place of an older or incomplete one, unless another process has done so."""
    if _read(storage, name, original) is not None:
        return
    if storage.exists(name):
        storage.delete(name)
    if (saved := storage.save(name, ContentFile(data))) != name:
        storage.delete(saved)  # another process was faster, and nobody would ever read this copy


def _is_newer(storage: Storage, name: str, original: str) -> bool:
    """Return whether the file is newer than ``original``, which can be replaced under its name; True if unknown."""
    try:
        return storage.get_modified_time(name) > storage.get_modified_time(original)
    except Exception:  # not every storage knows, and each raises its own client's errors
        return True


def _made(data: bytes, width: int) -> bytes:
    image = images.decode(data, min_decode_side=width)
    image.thumbnail((width, 4 * width))
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
