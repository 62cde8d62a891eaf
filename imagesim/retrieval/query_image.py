"""The image of a query: bytes, an open file or a PIL image. No URL is fetched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import TextIOBase
from typing import IO, TYPE_CHECKING, TypeAlias

from django.utils.translation import gettext as _

from imagesim import images
from imagesim.exceptions import BadQuery
from imagesim.retrieval.concurrency import check_deadline

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture: TypeAlias = "bytes | bytearray | memoryview | IO[bytes] | Image | QueryImage"


@dataclass(frozen=True, slots=True)
class QueryImage:
    """A picture whose header is within the limits; its pixels are decoded once it is known how many are needed.

    ``size`` is (width, height) in pixels of the upright picture as it was sent.
    """

    source: bytes | Image = field(repr=False)  # error trackers keep the reprs of local variables
    size: tuple[int, int]

    def decode(self, min_decode_side: int = images.MIN_DECODE_SIDE) -> Image:
        """Return the picture upright and in RGB, perhaps reduced to a short side of ``min_decode_side`` pixels or more.

        :raises BadImage: if it cannot be accepted.
        :raises DeadlineExceeded: if the deadline of the request has passed.
        """
        check_deadline()
        if isinstance(self.source, bytes):
            from imagesim.images import sandbox  # pages without a photo need not load it

            return sandbox.decode(self.source, min_decode_side=min_decode_side)
        return self.source


def take(picture: Picture, *, field: str = "image") -> QueryImage:
    """Return a picture whose header was checked. Nothing is decoded, except that a PIL image is converted.

    :raises BadImage: if its header shows that it cannot be accepted.
    :raises BadQuery: if it is not a picture but text, an address or the like.
    """
    from PIL.Image import Image

    if isinstance(picture, QueryImage):
        return picture
    if isinstance(picture, Image):
        upright = images.normalise(picture)
        return QueryImage(upright, upright.size)
    if not isinstance(picture, bytes | bytearray | memoryview):
        if not images.is_file(picture) or isinstance(picture, TextIOBase):
            raise BadQuery(
                _("%(name)r is of type %(type)s; it must be bytes, a file open for reading bytes, or a PIL image.")
                % {"name": field, "type": type(picture).__name__},
                field=field,
            )
        picture = images.read(picture)
    data = bytes(picture)
    return QueryImage(data, images.dimensions(data))


def read_picture(picture: Picture) -> QueryImage:
    """Return a picture decoded, upright and RGB, large enough to crop regions from. A decoded one is returned
    unchanged.

    :raises BadImage: if it cannot be accepted.
    :raises BadQuery: if it is not a picture but text, an address or the like.
    """
    given = take(picture)
    return replace(given, source=given.decode()) if isinstance(given.source, bytes) else given
