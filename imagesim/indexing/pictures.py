"""The pictures of items that are to be indexed, and how their files are read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db.models.fields.files import FieldFile
from django.utils.translation import gettext as _

from imagesim import images
from imagesim.exceptions import BadImage
from imagesim.images.remote import RemoteImage
from imagesim.models import stored_name


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of an item to be indexed. While ``digest`` and ``error`` are empty, it has not been read."""

    name: str
    file: Any = None
    digest: str = ""
    error: str = ""
    permanent: bool = False
    """Whether a retry cannot help."""
    known_digest: str = ""
    """The digest of the file when it was last read; used while the storage cannot be reached."""
    unreachable: bool = False
    """Whether the storage or the model did not respond, so that it is unknown whether the image can be used."""
    new: bool = False
    """Whether the item has not been synced with it before."""
    measured: bool = False
    """Whether its main colours are wanted too."""

    @property
    def last_digest(self) -> str:
        """Return the digest or, until the file is read, that of the last time; empty if there is none."""
        return self.digest or self.known_digest

    @property
    def stored_name(self) -> str:
        """Return the name as :class:`~imagesim.models.ItemImage` holds it."""
        return stored_name(self.name)


def by_file(pictures: Iterable[Picture]) -> dict[Picture, list[Picture]]:
    """Return the pictures grouped by file, under the first picture of each file: a product's picture is also that of
    its variants, and a picture from a library can be in many products."""
    first: dict[Hashable, Picture] = {}
    found: dict[Picture, list[Picture]] = {}
    for picture in pictures:
        leader = first.setdefault(_place(picture), picture)
        found.setdefault(leader, []).append(picture)
    return found


def _place(picture: Picture) -> Hashable:
    if isinstance(picture.file, FieldFile):
        return id(picture.file.storage), picture.name
    return picture.name if isinstance(picture.file, RemoteImage) else picture


def like_read(picture: Picture, read: Picture) -> Picture:
    """Return the picture with what was read for another one with the same file."""
    digest = picture.known_digest if read.unreachable else read.digest
    return replace(picture, digest=digest, error=read.error, permanent=read.permanent, unreachable=read.unreachable)


def read_file(picture: Picture) -> tuple[Picture, bytes | None]:
    """Return the picture with the digest of its file, and the bytes; or with an error, and None. Runs in a thread."""
    try:
        data = images.read(picture.file)
        return replace(picture, digest=images.digest(data)), data
    except BadImage as error:
        return replace(picture, error=str(error), permanent=True), None
    except FileNotFoundError:
        return replace(picture, error=_("There is no file %(name)r in the storage.") % {"name": picture.name}), None
    except Exception as error:  # storages raise errors of their own clients, not only OSError
        message = f"The storage cannot read {picture.name!r}: {type(error).__name__}: {error}"
        return replace(picture, digest=picture.known_digest, error=message, unreachable=True), None
