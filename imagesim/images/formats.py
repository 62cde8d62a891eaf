"""The formats of pictures: those that are accepted, as Pillow calls them and as people do."""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from imagesim.conf import get_settings

_NAMES = {"WEBP": "WebP", "HEIF": "HEIC"}
_LIBRARIES = {"WEBP": "webp", "AVIF": "avif"}


def accepted() -> tuple[str, ...]:
    """The formats of ``IMAGE_FORMATS`` that this Pillow can read, as it calls them."""
    return _readable(get_settings().IMAGE_FORMATS)


def name_of(kind: str) -> str:
    """The usual name of a format."""
    return _NAMES.get(kind, kind)


@cache
def _readable(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``wanted`` that this Pillow can read."""
    from PIL import Image, features

    Image.init()
    # Of each damaged entry of EXIF data, of which one picture can have 65,535.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")
    if "HEIF" in wanted and find_spec("pillow_heif"):
        # A thumbnail in the file can differ from the picture.
        options = {"thumbnails": False, "depth_images": False, "aux_images": False, "decode_threads": 1}
        import_module("pillow_heif").register_heif_opener(**options)
    names = (name.upper() for name in wanted)
    return tuple(n for n in names if n in Image.OPEN and (n not in _LIBRARIES or features.check(_LIBRARIES[n])))


def unknown_formats(wanted: tuple[str, ...]) -> dict[str, str]:
    """Those of ``wanted`` that no Pillow reads, each with the name that is probably meant, or an empty text."""
    from PIL import Image

    Image.init()
    unknown = [name for name in wanted if name.upper() not in {*Image.OPEN, "AVIF", "HEIF"}]
    return {name: Image.EXTENSION.get(f".{name.lower()}", "") for name in unknown}


def accepted_formats() -> list[str]:
    """The accepted formats by their usual names: ``['JPEG', 'PNG', 'WebP', 'AVIF', 'GIF']``."""
    return [name_of(name) for name in accepted()]


def accept_attribute() -> str:
    """The same for ``accept`` of a file field. Without HEIC a phone sends its photos as JPEG."""
    types = [f"image/{name.lower()}" for name in accepted()]
    return ",".join([*types, "image/heic", ".heic"] if "image/heif" in types else types)
