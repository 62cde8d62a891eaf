"""A picture that someone gave: bytes, an open file or a PIL image, and nothing that would have to be fetched."""

from __future__ import annotations

from dataclasses import dataclass
from io import TextIOBase
from typing import IO, TYPE_CHECKING

from django.utils.translation import gettext as _

from imagesim import images
from imagesim.exceptions import BadQuery

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = bytes | bytearray | memoryview | IO[bytes] | Image


@dataclass(frozen=True, slots=True)
class QueryImage:
    """Held to the limits by its header; its pixels are decoded when it is known how many are needed.

    ``size`` is (width, height) in pixels of the upright picture as it was sent.
    """

    source: bytes | Image
    size: tuple[int, int]

    def decode(self, min_decode_side: int = images.MIN_DECODE_SIDE) -> Image:
        """Upright and RGB, the short side with at least ``enough`` pixels where it has them.

        :raises BadImage: if it cannot be accepted.
        """
        if isinstance(self.source, bytes):
            return images.decode(self.source, min_decode_side=min_decode_side)
        return self.source


def take(picture: Picture, *, field: str = "image") -> QueryImage:
    """What a caller gave as a picture.

    :raises BadImage: if it cannot be accepted, so far as its header tells.
    :raises BadQuery: if it is no picture but a text, an address or the like.
    """
    from PIL.Image import Image

    if isinstance(picture, Image):
        upright = images.normalise(picture)
        return QueryImage(upright, upright.size)
    if not isinstance(picture, bytes | bytearray | memoryview):
        if not hasattr(picture, "read") or isinstance(picture, TextIOBase):
            raise BadQuery(
                _("%(name)r is of type %(type)s; it must be bytes, a file open for reading bytes, or a PIL image.")
                % {"name": field, "type": type(picture).__name__},
                field=field,
            )
        picture = images.read(picture)
    data = bytes(picture)
    return QueryImage(data, images.dimensions(data))


def read_picture(picture: Picture) -> tuple[Image, tuple[int, int]]:
    """The picture upright and RGB with all that may be cut out of it, and its (width, height) as it was sent.

    :raises BadImage: if it cannot be accepted.
    :raises BadQuery: if it is no picture but a text, an address or the like.
    """
    given = take(picture)
    return given.decode(), given.size
