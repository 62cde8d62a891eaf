"""Untrusted bytes -> an upright RGB image, or one error; the same for the catalogue and for visitors.

Nothing is decoded before its size in bytes, its format and its dimensions are known to be acceptable, and nothing
is kept. Colour profiles are ignored: embedders were trained on pictures read in this way, and a profile is one more
thing a stranger could have written.
"""

from __future__ import annotations

import math
from hashlib import sha256
from io import BytesIO, TextIOBase
from typing import IO, TYPE_CHECKING, Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import BadImage, ImageTooLarge, UnsupportedFormat
from imagesim.images.avif import coded_pixels
from imagesim.images.formats import (
    accepted,
    accepted_formats,
    check_gif,
    damaged,
    jpeg_scans,
    name_of,
    png_exif,
    sniff,
    too_many_passes,
    without_shared_metadata,
)

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_SIDE = 8
"""Minimum side in pixels; smaller pictures (a tracking pixel, an empty placeholder) cannot be compared."""

MAX_RATIO = 50
"""The maximum ratio of the long side to the short side. Embedders resize by the short side, so a sliver would grow
without bound."""

MIN_DECODE_SIDE = 1024
"""Pixels of the short side below which a JPEG is never scaled while it is decoded."""

MAX_SQUARES = 25
"""The maximum area of a decoded picture, in squares of the minimum short side. A picture of usual proportions stays
below it; a long and narrow one is reduced to fit it, even if its short side falls below the minimum."""

BAND_PIXELS = 1_000_000
"""Pixels converted to RGB at a time, if they are reduced directly afterwards."""

MAX_SCANNED_PIXELS = 1_500_000_000
"""The maximum of pixels times scans of a JPEG: a progressive file of a few kilobytes can ask for a hundred thousand
scans."""

MAX_CODED = 3
"""The maximum pixels of all coded frames of an AVIF, as a multiple of the limit: its colours and its transparency, each
in tiles that can reach beyond its edge."""

_REDUCED_AS_THEY_ARE = ("L", "RGB", "CMYK", "YCbCr")
"""Modes in which the mean of some pixels is the pixel that they show together; with transparency, only in a converted
copy."""

_PIXEL_COST = {"WEBP": 2.25, "AVIF": 1.5, "HEIF": 1.25, "CMYK": 1.25}
"""Memory that a format's decoder takes for a pixel, relative to the others' (8 bytes; libwebp takes 16, libavif 11
where there is transparency). "CMYK" is a JPEG of four channels in several scans, all of whose coefficients are kept."""

_XMP = ("xmp", "XML:com.adobe.xmp")
_ORIENTATION = 0x0112
_SIDEWAYS = range(5, 9)
"""The values of the EXIF orientation that exchange width and height; there is none above."""


def read(file: Any) -> bytes:
    """Return the bytes of ``file``: a stored file (opened and closed here) or one open for reading (read from its
    start).

    Reads at most one byte past the limit, even if the storage reports a smaller size.

    :raises ImageTooLarge: past ``MAX_IMAGE_BYTES``.
    :raises BadImage: if the storage refuses the name as unsafe.
    :raises OSError: as the storage does; FileNotFoundError if there is no such file.
    """
    if not isinstance(file, FieldFile):
        if isinstance(file, InMemoryUploadedFile) and isinstance(file.file, BytesIO):
            _check_bytes(file.file.getbuffer().nbytes)
            return file.file.getvalue()  # no second copy, as read() would make
        if _seekable(file):
            file.seek(0)
        return _read_bounded(file)
    if not file:
        raise FileNotFoundError(_("No picture is stored here."))
    try:
        with _opened_alone(file).open("rb") as stored:
            return _read_bounded(stored)
    except SuspiciousOperation as error:
        raise BadImage(_("The storage refuses the name %(name)r.") % {"name": file.name}) from error


def _opened_alone(file: FieldFile) -> FieldFile:
    """Return a stored file as one that is opened by itself.

    Items that show one picture of a library share its instance, and so its open file, if they were loaded together;
    threads that read them at once would move and close it for each other.
    """
    if not file._committed:  # type: ignore[attr-defined]  # its content is only in the open file
        return file
    alone = object.__new__(type(file))  # not copy(), which some classes of packages do not support
    alone.__dict__ |= file.__dict__ | {"_file": None}
    return alone


def is_file(value: object) -> bool:
    """Return whether a value can be read as a file. No attribute of a stored file is read, so that it stays closed."""
    return isinstance(value, FieldFile) or hasattr(value, "read")


def reads_once(value: object) -> bool:
    """Return whether a value is a stream of bytes that cannot be read from its start again, such as a response of a
    server."""
    if isinstance(value, FieldFile | TextIOBase | Model) or not callable(getattr(value, "read", None)):
        return False
    return not _seekable(value)


def _seekable(file: Any) -> bool:
    return bool(getattr(file, "seekable", lambda: hasattr(file, "seek"))())


def digest(data: bytes) -> str:
    """Return the SHA-256 in hexadecimal, which identifies an image independently of its name."""
    return sha256(data).hexdigest()


def decode(data: bytes, *, min_decode_side: int = MIN_DECODE_SIDE) -> Image:
    """Decode ``data`` to an upright RGB image: its first frame, with transparency on white.

    A picture much larger than any embedder looks at is made smaller by a whole factor; its short side keeps at least
    ``min_decode_side`` pixels unless it is very long and narrow. A JPEG is scaled while it is decoded, which is several
    times as fast.

    :raises UnsupportedFormat: if it is not a picture, or one of a format that is not in ``IMAGE_FORMATS``.
    :raises ImageTooLarge: past ``MAX_IMAGE_BYTES`` or ``MAX_IMAGE_PIXELS``, known before a pixel is decoded.
    :raises BadImage: if it is empty, damaged or truncated, or too small or too narrow to be compared.
    """
    image = _open(data)
    width, height = image.size
    # The one place where fewer pixels than the file has may be decoded: by a factor, so the picture stays whole.
    scale = max(min(width, height), math.sqrt(width * height / MAX_SQUARES)) / min_decode_side
    if scale >= 2:
        image.draft(None, (int(width / scale), int(height / scale)))
    try:
        orientation = _orientation(image)
        image.load()
        if image.format == "GIF":
            image = _on_screen(image)
        # Smaller before anything is converted or turned, because each of these makes a copy.
        factor = _factor(image.size, min_decode_side)
        if factor < 2:
            return _upright(_rgb(image), orientation)
        if image.mode in _REDUCED_AS_THEY_ARE and "transparency" not in image.info:
            return _upright(_rgb(image.reduce(factor)), orientation)
        return _upright(_rgb_in_bands(image, factor), orientation)
    except MemoryError as error:
        raise ImageTooLarge(_("The picture needs more memory than there is; send a smaller one.")) from error
    except Exception as error:  # decoders raise anything at all on hostile bytes
        raise damaged() from error


def normalise(image: Image) -> Image:
    """Convert an image that was opened elsewhere to the result of :func:`decode`, at full size.

    :raises BadImage: as :func:`decode`.
    """
    check_shape(image.size)
    try:
        image.load()  # first: EXIF may follow the pixels
        return _upright(_rgb(image), _orientation(image))
    except Exception as error:  # it can be open but not yet decoded
        raise damaged() from error


def reduced(image: Image, min_decode_side: int, box: tuple[int, int, int, int] | None = None) -> Image:
    """Return ``image``, or the part of it in ``box`` (left, top, right, bottom), reduced by the factor of
    :func:`decode`.

    Each pixel is the mean of its source pixels. This takes a fifth of the time of a resize, and a model then scales the
    result down by less than two. The box is never copied at full size.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    factor = _factor((right - left, bottom - top), min_decode_side)
    if factor >= 2:
        return image.reduce(factor, box)
    return image.crop(box) if box else image


def _factor(size: tuple[int, int], min_decode_side: int) -> int:
    """Return the whole factor by which a picture of ``size`` is made smaller."""
    width, height = size
    return max(min(size) // min_decode_side, math.ceil(math.sqrt(width * height / MAX_SQUARES) / min_decode_side))


def dimensions(data: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright picture as it was sent, from its header alone.

    :raises BadImage: as :func:`decode`, for errors visible in the header.
    """
    image = _open(data)
    width, height = image.size
    return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def _read_bounded(source: IO[bytes]) -> bytes:
    limit = get_settings().MAX_IMAGE_BYTES
    data = bytearray()
    while len(data) <= limit and (chunk := source.read(limit + 1 - len(data))):
        data += chunk
    _check_bytes(len(data))
    return bytes(data)


def _check_bytes(size: int) -> None:
    limit = get_settings().MAX_IMAGE_BYTES
    if size > limit:
        raise ImageTooLarge(
            _("The picture is larger than %(limit)s; send a smaller one.") % {"limit": filesizeformat(limit)}
        )


def _open(data: bytes) -> Image:
    """Read the header and hold it to the limits; no pixel is decoded."""
    from PIL import Image

    _check_bytes(len(data))
    if not data:
        raise BadImage(_("The picture is empty: it has 0 bytes."))
    formats = accepted()
    kind = sniff(data[:1024])
    exif = png_exif(data) if kind == "PNG" else b""
    scans = jpeg_scans(data) if kind == "JPEG" else 0
    if kind == "HEIF" and kind in formats:
        data = without_shared_metadata(data)
    if kind == "GIF" and kind in formats:
        check_gif(data)
    # A HEIF can begin like an AVIF; the decoder of AVIF then tries it.
    largest, coded = coded_pixels(data) if kind in ("AVIF", "HEIF") and "AVIF" in formats else (0, 0)
    try:
        image = Image.open(BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise _too_many_pixels() from error
    except Exception as error:  # as above
        if kind in formats:
            raise damaged() from error
        raise UnsupportedFormat(
            _("This is not a picture that can be read (it looks like %(kind)s); send one of %(formats)s.")
            % {"kind": name_of(kind) or _("something else"), "formats": ", ".join(accepted_formats())}
        ) from error
    check_shape(image.size)
    cost, limit = _PIXEL_COST.get(image.format or "", 1.0), get_settings().MAX_IMAGE_PIXELS
    if image.mode == "CMYK" and scans > 1:
        cost = _PIXEL_COST["CMYK"]
    if image.width * image.height * cost > limit:
        raise _too_many_pixels(cost)
    if largest > limit or coded > MAX_CODED * limit:
        raise damaged()
    if scans * image.width * image.height > MAX_SCANNED_PIXELS:
        raise too_many_passes()
    if kind == "PNG":
        _scale_transparency(image, data[24])
    if exif:
        image.info["exif"] = b"Exif\0\0" + exif
    return image


def _scale_transparency(image: Image, depth: int) -> None:
    """Scale the transparent colour of a PNG with ``depth`` bits as Pillow scales the pixels, to 8 bits."""
    hidden = image.info.get("transparency")
    if image.mode == "L" and isinstance(hidden, int) and depth < 8:
        image.info["transparency"] = hidden * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(hidden, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in hidden)


def check_shape(size: tuple[int, int]) -> None:
    """Check that a picture of ``size`` (width, height) can be compared.

    :raises BadImage: if it is too small or too narrow.
    :raises ImageTooLarge: past ``MAX_IMAGE_PIXELS``.
    """
    width, height = size
    if width * height > get_settings().MAX_IMAGE_PIXELS:
        raise _too_many_pixels()
    if min(width, height) < MIN_SIDE:
        raise BadImage(
            _("The picture is %(width)d × %(height)d pixels; it needs at least %(least)d on each side.")
            % {"width": width, "height": height, "least": MIN_SIDE}
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise BadImage(
            _("The picture is %(width)d × %(height)d pixels; no side may be more than %(ratio)d times the other.")
            % {"width": width, "height": height, "ratio": MAX_RATIO}
        )


def _too_many_pixels(cost: float = 1.0) -> ImageTooLarge:
    limit = float(f"{get_settings().MAX_IMAGE_PIXELS / 1_000_000 / cost:.3g}")
    return ImageTooLarge(_("The picture has more than %(limit)g megapixels; send a smaller one.") % {"limit": limit})


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, without decoding a pixel; 1 for a TIFF, which Pillow turns itself."""
    from PIL.Image import Image as Base

    if image.format == "TIFF":
        return 1
    bare = Base()  # not the picture: that of a PNG would be decoded first
    # Pillow would take the orientation from XMP if EXIF has none; no browser does.
    bare.info = {name: value for name, value in image.info.items() if name not in _XMP}
    try:
        return int(bare.getexif().get(_ORIENTATION, 1))
    except Exception:  # unreadable EXIF data are ignored: the pixels can be intact
        return 1


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _on_screen(gif: Any) -> Image:
    """Return a GIF whose frame covers a part of its screen with transparency around it, as browsers show it; Pillow
    gives the rest some colour of the palette."""
    (width, height), (left, top, right, bottom) = gif.size, gif.dispose_extent
    around = (0, 0, width, top), (0, bottom, width, height), (0, top, left, bottom), (right, top, width, bottom)
    beside = [box for box in around if box[0] < box[2] and box[1] < box[3]]
    screen: Image = gif.convert("RGBA") if beside else gif
    for box in beside:
        screen.paste((0, 0, 0, 0), box)
    return screen


def _rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would clip to white
        wide, hidden = image.convert("I"), image.info.get("transparency")
        image = wide.point(lambda value: value * (1 / 257)).convert("L")
        if isinstance(hidden, int):
            image.paste(255, mask=wide.point([255 * (value == hidden) for value in range(65536)], "L"))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    rgb = image.convert("RGB")  # always a copy, so that the decoder and its file can be closed
    rgb.info = {}  # EXIF, GPS and colour profile end here
    return rgb


def _rgb_in_bands(image: Image, factor: int) -> Image:
    """Return the result of :func:`_rgb`, reduced by ``factor``, without the memory for all of it at full size."""
    from PIL import Image

    width, height = image.size
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = max(1, BAND_PIXELS // (width * factor)) * factor
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_rgb(band).reduce(factor), (0, top // factor))
    return small
