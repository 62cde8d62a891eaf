"""The formats of pictures: those that are accepted, as Pillow calls them and as people do.

And what the first bytes of a file say about it, read without decoding a pixel: its format, scans, pieces and EXIF.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from django.utils.translation import gettext as _

from imagesim.conf import get_settings
from imagesim.exceptions import BadImage

_NAMES = {"WEBP": "WebP", "HEIF": "HEIC"}
_LIBRARIES = {"WEBP": "webp", "AVIF": "avif"}

_KNOWN = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("AVIF", re.compile(rb".{4}ftyp(avif|avis)", re.DOTALL)),
    ("HEIF", re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("BMP", re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL)),
    ("TIFF", re.compile(rb"II\*\0|MM\0\*")),
    ("PDF", re.compile(rb"%PDF-")),
    ("HTML", re.compile(rb"\s*<(!doctype html|html|head|body|script)", re.I)),
)
_XML_PROLOGUE = ((b"<?xml", b"?>"), (b"<!--", b"-->"), (b"<!doctype", b">"))
"""The constructs allowed before the root element of an SVG file: (start, end)."""

_HEIF_SHARED = re.compile(rb"cdsc|grpl")
"""The types of the boxes of a HEIF file that say which metadata describe a picture, and which pictures form a group."""

_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")

MAX_JPEG_SEGMENTS = 1_000
"""The maximum number of segments of one file: its scans, its tables, and its metadata in segments of up to 64 KiB. Each
costs time before the first pixel."""

MAX_EXIF_SEGMENTS = 100
"""The maximum number of EXIF segments of a JPEG. A camera writes one or a few; Pillow copies all of them again for each
further one."""

MAX_HEIF_BOXES = 1_000
"""The maximum number of outermost boxes of a HEIF file: a usual one has three."""

MAX_PNG_CHUNKS = 20_000
"""The maximum number of chunks of one file. A PNG of 20 MiB written in the usual 8 KiB chunks has 2,560; each costs
time before the first pixel."""

MAX_PNG_PROFILES = 10
"""The maximum number of colour profiles of a PNG, which should have one: each is decompressed, to up to a megabyte from
one kilobyte."""

MAX_GIF_BLOCKS = 1_000
"""The maximum number of blocks before the first frame of a GIF: its comments and extensions, in pieces of up to 255
bytes."""


def accepted() -> tuple[str, ...]:
    """Return the formats of ``IMAGE_FORMATS`` that this Pillow can read, as it calls them."""
    return _readable(get_settings().IMAGE_FORMATS)


def name_of(kind: str) -> str:
    """Return the usual name of a format."""
    return _NAMES.get(kind, kind)


@cache
def _readable(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of ``wanted`` that this Pillow can read."""
    from PIL import Image, features

    Image.init()
    # Pillow warns of each damaged entry of EXIF data, of which one picture can have 65,535.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    if "HEIF" in wanted and find_spec("pillow_heif"):
        # A thumbnail in the file can differ from the picture.
        options = {"thumbnails": False, "depth_images": False, "aux_images": False, "decode_threads": 1}
        import_module("pillow_heif").register_heif_opener(**options)
    names = (name.upper() for name in wanted)
    return tuple(n for n in names if n in Image.OPEN and (n not in _LIBRARIES or features.check(_LIBRARIES[n])))


def unknown_formats(wanted: tuple[str, ...]) -> dict[str, str]:
    """Return those of ``wanted`` that no Pillow reads, each with the name that is probably meant, or an empty text."""
    from PIL import Image

    Image.init()
    unknown = [name for name in wanted if name.upper() not in {*Image.OPEN, "AVIF", "HEIF"}]
    return {name: Image.EXTENSION.get(f".{name.lower()}", "") for name in unknown}


def accepted_formats() -> list[str]:
    """Return the accepted formats by their usual names: ``['JPEG', 'PNG', 'WebP', 'AVIF', 'GIF']``."""
    return [name_of(name) for name in accepted()]


def accept_attribute() -> str:
    """Return the accepted formats for ``accept`` of a file field. Without HEIC, a phone sends its photos as JPEG."""
    types = [f"image/{name.lower()}" for name in accepted()]
    return ",".join([*types, "image/heic", ".heic"] if "image/heif" in types else types)


def sniff(head: bytes) -> str:
    """Return the format of a file by its first bytes; empty if it is not a known one."""
    return "SVG" if _is_svg(head) else next((name for name, magic in _KNOWN if magic.match(head)), "")


def _is_svg(head: bytes) -> bool:
    """Return whether an SVG element comes first, after comments and declarations. This takes linear time: a regular
    expression that skips any number of comments backtracks exponentially."""
    rest = head.lstrip().lower()
    while construct := next((pair for pair in _XML_PROLOGUE if rest.startswith(pair[0])), None):
        _start, found, rest = rest.partition(construct[1])
        if not found:
            return False
        rest = rest.lstrip()
    return rest.startswith(b"<svg")


def jpeg_scans(data: bytes) -> int:
    """Return the number of scans of a JPEG.

    :raises BadImage: past ``MAX_JPEG_SEGMENTS`` or ``MAX_EXIF_SEGMENTS``.
    """
    scans, exif, position = 0, 0, 2
    for _number in range(MAX_JPEG_SEGMENTS):
        match = _JPEG_MARKER.search(data, position)
        if match is None or match[1] == b"\xd9":  # what follows the end (a phone's video, a preview) is not the picture
            return scans
        marker, position = match[1][0], match.end()
        scans += marker == 0xDA
        exif += marker == 0xE1 and data[position + 2 : position + 6] == b"Exif"
        if exif > MAX_EXIF_SEGMENTS:
            break
        if marker not in (0x01, 0xD8):  # all others carry their length
            position += int.from_bytes(data[position : position + 2], "big")
    raise too_many_passes()


def png_exif(data: bytes) -> bytes:
    """Return the EXIF data of a PNG, which can precede or follow its pixels, without reading the pixels; empty if there
    are none.

    :raises BadImage: past ``MAX_PNG_CHUNKS`` or ``MAX_PNG_PROFILES``.
    """
    position, exif, profiles = 8, b"", 0
    for _number in range(MAX_PNG_CHUNKS):
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if name == b"eXIf":
            exif = data[position + 8 : position + 8 + length]
        if not name or name == b"IEND":
            return exif
        profiles += name == b"iCCP"
        if profiles > MAX_PNG_PROFILES:
            break
        position += length + 12
    raise BadImage(_("The picture is stored in too many pieces; save it again as a plain PNG."))


def check_gif(data: bytes) -> None:
    """Check the blocks before the first frame of a GIF. :raises BadImage: if there are more than ``MAX_GIF_BLOCKS``, or
    no frame."""
    flags = data[10] if len(data) > 10 else 0
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    within = False  # an extension
    for _number in range(MAX_GIF_BLOCKS):
        start = data[position : position + 1]
        if within:
            within = start != b"\0"
            position += 1 + (start[0] if start else 0)
        elif start == b",":
            return
        elif start == b"!":
            within, position = True, position + 2
        else:
            position += 1
        if position >= len(data):
            raise damaged()
    raise BadImage(_("The picture is stored in too many pieces; save it again as a plain GIF."))


def without_shared_metadata(data: bytes) -> bytes:
    """Return a HEIF file whose pictures have no metadata and are in no group: the decoder copies these for each of
    them. The orientation of a picture is not part of its metadata there.

    :raises BadImage: past ``MAX_HEIF_BOXES``.
    """
    position, changed = 0, bytearray(data)
    for _number in range(MAX_HEIF_BOXES):
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        end = position + size if size else len(data)
        if name == b"meta":
            changed[position:end] = _HEIF_SHARED.sub(b"skip", data[position:end])
        if end >= len(data) or 0 < size < 8:
            return bytes(changed)
        position = end
    raise damaged()


def too_many_passes() -> BadImage:
    return BadImage(_("The picture is stored in too many passes; save it again as a plain JPEG."))


def damaged() -> BadImage:
    """Return the error for a file whose format is right but whose content is not."""
    return BadImage(_("The picture is damaged or truncated and cannot be read; send it again or save it again."))
