"""The files of thumbnails: in the same storage as the pictures, under names derived from theirs."""

from __future__ import annotations

import hashlib

from django.apps import apps
from django.core.files.storage import Storage, default_storage
from django.db import router
from django.db.models import FileField

from imagesim.database import current_schema
from imagesim.models import ItemImage

WIDTHS = (160, 320, 640)
"""The widths in pixels; a requested width is rounded up to one of them."""

FOLDER = "imagesim-thumbnails"


def folder() -> str:
    """Return the folder in each storage; one per tenant, because a tenant deletes only its own thumbnails."""
    schema = current_schema(router.db_for_write(ItemImage))
    return f"{FOLDER}/{schema}" if schema else FOLDER


def file_name(picture: str, width: int) -> str:
    """Return the name, within the folder, of the thumbnail of the picture stored under this name."""
    return f"{hashlib.sha256(f'{picture}:{width}'.encode()).hexdigest()[:40]}.webp"


def storages() -> list[Storage]:
    """Return the storages of all files of the project, even of products that are no longer registered."""
    fields = [field for model in apps.get_models() for field in model._meta.concrete_fields]
    return list(dict.fromkeys([default_storage, *(field.storage for field in fields if isinstance(field, FileField))]))


def stored(storage: Storage) -> list[str]:
    """Return the names of the thumbnails in a storage. If it cannot be listed, the error of its own client is
    raised."""
    try:
        return list(storage.listdir(folder())[1])
    except FileNotFoundError:
        return []


def delete(storage: Storage, name: str) -> None:
    storage.delete(f"{folder()}/{name}")
