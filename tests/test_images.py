from __future__ import annotations

import hashlib
import io
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, PngImagePlugin, features

from demo_shop.shop.models import Photo
from imagesim import images
from imagesim.exceptions import BadImage, ImageTooLarge, UnsupportedFormat
from imagesim.images import formats, sandbox
from imagesim.images.avif import coded_pixels
from imagesim.retrieval import query_image
from imagesim.runtime import runtime
from tests.examples import examples
from tests.shop import encoded, picture

FORMATS = ["JPEG", "PNG", "WEBP", *(["AVIF"] if features.check("avif") else [])]


def halves(left: object, right: object, *, mode: str = "RGB", size: tuple[int, int] = (64, 32)) -> Image.Image:
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


def colours(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the colours in the middle of the left and of the right half."""
    width, height = image.size
    return [image.getpixel((width // 4, height // 2)), image.getpixel((3 * width // 4, height // 2))]


def near(got: list[tuple[int, ...]], wanted: list[tuple[int, ...]], tolerance: int = 12) -> bool:
    return bool(np.abs(np.array(got) - np.array(wanted)).max() <= tolerance)


class TestDecode:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_every_format_becomes_upright_rgb(self, kind):
        image = images.decode(encoded(halves("red", "blue"), kind, quality=95))
        assert (image.mode, image.size) == ("RGB", (64, 32))
        assert near(colours(image), [(255, 0, 0), (0, 0, 255)], 24)  # chroma is subsampled

    @pytest.mark.parametrize(
        ("mode", "left", "right", "wanted"),
        [
            ("1", 0, 1, [(0,) * 3, (255,) * 3]),
            ("L", 0, 200, [(0,) * 3, (200,) * 3]),
            ("LA", (0, 255), (0, 0), [(0,) * 3, (255,) * 3]),
            ("LA", (100, 128), (100, 255), [(177,) * 3, (100,) * 3]),
            ("RGBA", (255, 0, 0, 255), (0, 0, 255, 0), [(255, 0, 0), (255,) * 3]),
            ("RGBA", (0, 0, 0, 128), (0, 0, 0, 255), [(127,) * 3, (0,) * 3]),
            ("I;16", 0, 65535, [(0,) * 3, (255,) * 3]),
            ("I;16", 32768, 257, [(128,) * 3, (1,) * 3]),
        ],
    )
    def test_every_mode_of_png(self, mode, left, right, wanted):
        assert near(colours(images.decode(encoded(halves(left, right, mode=mode)))), wanted, 1)

    def test_palette(self):
        flat = halves("red", "blue").quantize(4)
        assert near(colours(images.decode(encoded(flat))), [(255, 0, 0), (0, 0, 255)])

    def test_transparent_palette_entry_becomes_white(self):
        flat = halves("red", "blue").quantize(4)
        left, _right = flat.getpixel((0, 0)), flat.getpixel((63, 0))
        assert near(colours(images.decode(encoded(flat, transparency=left))), [(255, 255, 255), (0, 0, 255)])
        alphas = bytes(128 if index == left else 255 for index in range(4))
        assert near(colours(images.decode(encoded(flat, transparency=alphas))), [(255, 127, 127), (0, 0, 255)])

    def test_transparent_colour_becomes_white(self):
        data = encoded(halves("red", "blue"), transparency=(255, 0, 0))
        assert near(colours(images.decode(data)), [(255, 255, 255), (0, 0, 255)])

    def test_sixteen_bit_colour(self):
        pixels = np.zeros((16, 16, 3), ">u2")
        pixels[:, :8] = (65535, 0, 0)
        pixels[:, 8:] = (0, 0, 32768)
        raw = b"".join(b"\0" + row.tobytes() for row in pixels)
        assert near(colours(images.decode(_png(16, 16, 16, 2, raw))), [(255, 0, 0), (0, 0, 128)], 1)

    def test_cmyk_jpeg(self):
        data = encoded(halves((0, 255, 255, 0), (255, 255, 0, 0), mode="CMYK"), "JPEG", quality=95)
        assert near(colours(images.decode(data)), [(255, 0, 0), (0, 0, 255)], 24)

    def test_grey_jpeg(self):
        assert near(colours(images.decode(encoded(halves(10, 240, mode="L"), "JPEG"))), [(10,) * 3, (240,) * 3])

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", *(["AVIF"] if features.check("avif") else [])])
    def test_an_animation_gives_its_first_frame(self, kind):
        frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert near(colours(images.decode(data)), [(255, 0, 0)] * 2)

    def test_a_jpeg_with_several_pictures(self):
        frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
        data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
        assert near(colours(images.decode(data)), [(255, 0, 0)] * 2)

    @pytest.mark.parametrize("kind", [*FORMATS, "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, kind, orientation, settings):
        settings.IMAGESIM = {"IMAGE_FORMATS": [kind]}
        upright = Image.new("RGB", (48, 32), "white")
        upright.paste("red", (0, 0, 24, 16))
        upright.paste("blue", (24, 16, 48, 32))
        turns = Image.Transpose
        undo = [None, turns.FLIP_LEFT_RIGHT, turns.ROTATE_180, turns.FLIP_TOP_BOTTOM]
        undo += [turns.TRANSPOSE, turns.ROTATE_90, turns.TRANSVERSE, turns.ROTATE_270]
        stored = upright if orientation == 1 else upright.transpose(undo[orientation - 1])
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(stored, kind, exif=exif, quality=95)
        image = images.decode(data)
        assert image.size == images.dimensions(data) == (48, 32)
        corners = [image.getpixel((6, 6)), image.getpixel((42, 26)), image.getpixel((42, 6))]
        assert near(corners, [(255, 0, 0), (0, 0, 255), (255, 255, 255)], 24)

    @pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
    def test_the_orientation_of_a_png_can_follow_its_pixels(self, place):
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encoded(halves("red", "blue"), "PNG")
        at = data.index(place) - 4
        data = data[:at] + _chunk(b"eXIf", exif.tobytes()[6:]) + data[at:]
        assert images.dimensions(data) == images.decode(data).size == (32, 64)
        assert images.normalise(Image.open(io.BytesIO(data))).size == (32, 64)

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("exif", [True, False])
    def test_dimensions_come_from_the_header_alone(self, kind, exif, monkeypatch):
        data = encoded(picture(), kind, **({"exif": _turned(6)} if exif else {}))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
        assert images.dimensions(data) == (64, 64)

    def test_a_query_image_is_decoded_once(self, monkeypatch):
        decoded: list[int] = []
        real = ImageFile.ImageFile.load_prepare
        monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda self: (decoded.append(1), real(self))[1])
        taken = query_image.take(encoded(picture(), "PNG"))
        assert (taken.size, len(decoded)) == ((64, 64), 0)
        taken.decode()
        assert len(decoded) == 1

    @pytest.mark.parametrize("side", [16, 64])
    @pytest.mark.parametrize("extension", [b"", b"!\xf9\x04\x01\0\0\x03\0"])  # the latter has a transparent colour
    def test_what_a_frame_of_a_gif_leaves_free_is_transparent(self, side, extension):
        """As in browsers, whatever the background colour and the first colour of the palette."""
        data = encoded(Image.new("RGB", (side // 2, side), "red"), "GIF")
        palette, at = data[13 : 13 + 3 * 2 ** ((data[10] & 7) + 1)], data.index(b",\0\0\0\0")
        assert palette.startswith(b"\xff\0\0")
        frame = b"," + struct.pack("<4H", side // 2, 0, side // 2, side) + data[at + 9 :]
        data = data[:6] + struct.pack("<2H", side, side) + data[10:13] + palette + extension + frame
        decoded = images.decode(data, min_decode_side=16)
        assert (decoded.size, colours(decoded)) == ((16, 16), [(255,) * 3, (255, 0, 0)])

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_an_invalid_orientation_is_ignored(self, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(halves("red", "blue"), "JPEG", exif=exif)
        assert images.decode(data).size == images.dimensions(data) == (64, 32)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_the_orientation_in_xmp_is_ignored_as_in_browsers(self, kind):
        """Programs that rotate a picture and remove or reset its EXIF orientation often leave the XMP one unchanged."""
        xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        data = encoded(halves("red", "blue"), kind, **({"pnginfo": text} if kind == "PNG" else {"xmp": xmp}))
        assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6  # what Pillow reads
        assert images.decode(data).size == images.dimensions(data) == (64, 32)
        opened = Image.open(io.BytesIO(data))
        assert images.normalise(opened).size == (64, 32)

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    def test_unreadable_exif_is_ignored(self):
        data = encoded(halves("red", "blue"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 40)
        assert images.decode(data).size == (64, 32)

    def test_metadata_is_removed(self):
        exif = Image.Exif()
        exif[0x010F] = "A camera"
        exif.get_ifd(0x8825)[1] = "N"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for kind in FORMATS:
            image = images.decode(encoded(picture(), kind, exif=exif, icc_profile=profile))
            assert not image.info
            assert not image.getexif()

    def test_a_large_jpeg_is_scaled_while_decoding(self):
        noise = np.random.default_rng(1).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        large = Image.fromarray(noise).resize((4000, 3000), Image.Resampling.BICUBIC)
        data = encoded(large, "JPEG", quality=90)
        fast = images.decode(data)
        assert fast.size == (2000, 1500)
        assert images.dimensions(data) == (4000, 3000)
        full = Image.open(io.BytesIO(data)).convert("RGB")
        small = [np.asarray(i.resize((256, 256), Image.Resampling.BICUBIC), dtype=float) for i in (fast, full)]
        assert np.abs(small[0] - small[1]).mean() < 1

    @pytest.mark.parametrize("size", [(2047, 3000), (1024, 1024), (800, 4000)])
    def test_a_slightly_too_large_jpeg_keeps_its_size(self, size):
        assert images.decode(encoded(Image.new("RGB", size), "JPEG")).size == size

    def test_same_bytes_same_image(self):
        data = encoded(picture("green"), "JPEG")
        assert images.decode(data).tobytes() == images.decode(data).tobytes()


class TestMemory:
    """Photos of fifty megapixels are made smaller before they are copied."""

    def test_an_upload_in_memory_is_not_copied(self, settings):
        """Besides a picture that is being decoded, a copy of a long file would exceed the memory budget."""
        content = io.BytesIO()
        for part in (b"a" * 70_000, b"b" * 70_000):
            content.write(part)  # like the parser of a form
        upload = InMemoryUploadedFile(content, "image", "photo.jpg", "image/jpeg", 140_000, None)
        upload.read(7)
        assert images.read(upload) is content.getvalue()
        settings.IMAGESIM = {"MAX_IMAGE_BYTES": 139_999}
        with pytest.raises(ImageTooLarge):
            images.read(upload)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_large_picture_is_reduced_while_decoding(self, kind):
        large = encoded(halves("red", "blue", size=(2400, 1200)), kind, quality=95)
        image = images.decode(large, min_decode_side=100)
        assert 100 <= min(image.size) < 200
        assert near(colours(image), [(255, 0, 0), (0, 0, 255)], 24)

    @pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGB", "RGBA", "I;16"])
    def test_all_pixel_modes_are_reduced(self, mode):
        white = Image.new("RGB", (64, 64), "white")
        image = Image.new("I;16", (64, 64), 65535) if mode == "I;16" else white.convert(mode)
        decoded = images.decode(encoded(image, "PNG"), min_decode_side=16)
        assert (decoded.mode, decoded.size, colours(decoded)) == ("RGB", (16, 16), [(255,) * 3] * 2)

    def test_a_transparent_colour_is_removed_before_averaging(self):
        image = Image.effect_noise((64, 64), 100).convert("RGB")
        image.paste((1, 2, 3), (0, 0, 64, 64))
        decoded = images.decode(encoded(image, "PNG", transparency=(1, 2, 3)), min_decode_side=16)
        assert colours(decoded) == [(255,) * 3] * 2

    @pytest.mark.parametrize("side", [16, 64])
    @pytest.mark.parametrize(
        ("depth", "colour", "hidden", "shown", "seen"),
        [
            (16, 0, (0,), (30_000,), 117),
            (16, 0, (4_660,), (4_661,), 18),
            (16, 2, (4_660,) * 3, (30_000,) * 3, 117),
            (8, 0, (10,), (200,), 200),
            (4, 0, (3,), (10,), 170),
            (2, 0, (1,), (2,), 170),
            (1, 0, (0,), (1,), 255),
            (1, 0, (1,), (0,), 0),
        ],
    )
    def test_the_transparent_colour_of_a_png_of_any_depth(self, side, depth, colour, hidden, shown, seen):
        """The left half has the colour that is transparent, the right half a different one."""
        bits = "".join("".join(f"{value:0{depth}b}" for value in pixel) * (side // 2) for pixel in (hidden, shown))
        row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
        data = _png(side, side, depth, colour, row * side)
        data = data[:33] + _chunk(b"tRNS", struct.pack(f">{len(hidden)}H", *hidden)) + data[33:]
        decoded = images.decode(data, min_decode_side=16)  # as a whole, or in bands
        assert (decoded.size, near(colours(decoded), [(255,) * 3, (seen,) * 3], 1)) == ((16, 16), True)

    def test_a_box_is_never_copied_at_full_size(self, monkeypatch):
        image = halves("red", "blue", size=(400, 200))
        monkeypatch.setattr(Image.Image, "crop", lambda *arguments: pytest.fail("copied"))
        part = images.reduced(image, 10, (200, 0, 400, 200))
        assert (part.size, part.getpixel((5, 5))) == ((10, 10), (0, 0, 255))


class TestRefused:
    def assert_rejected(self, data: bytes, error: type[BadImage], *words: str) -> None:
        with pytest.raises(error) as caught:
            images.decode(data)
        assert type(caught.value) is error
        message = str(caught.value)
        assert message.endswith(".")
        for word in words:
            assert word in message

    def test_empty_bytes(self):
        self.assert_rejected(b"", BadImage, "0 bytes")

    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (b"hello", "something else"),
            (b"\0" * 1000, "something else"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"<?xml version='1.0'?><!-- drawn --><svg><script>alert(1)</script></svg>", "SVG"),
            (b"<!doctype html><title>404</title>", "HTML"),
            (b"  <HTML><body>", "HTML"),
            (b"%PDF-1.7 ...", "PDF"),
            (encoded(picture(), "BMP"), "BMP"),
            (encoded(picture(), "TIFF"), "TIFF"),
        ],
    )
    def test_other_formats_are_named(self, data, kind):
        self.assert_rejected(data, UnsupportedFormat, kind, "JPEG, PNG, WebP")

    @pytest.mark.parametrize(
        "data",
        [
            b"<!---->" * 145,
            b"<!---->" * 145 + b"<svg",  # past the part that is examined, or cut off within it
            b"<!--" + b"-->" * 300,
            b"<?xml " + b"?" * 900,
            b"<!DOCTYPE svg>" * 70,
            b" " * 1024,
            b"<!---->\n" * 120 + b"x",
        ],
    )
    def test_no_input_takes_excessive_time(self, data):
        """Comments before an SVG must not be skipped by an expression that takes twice as long for each additional
        one."""
        begun = time.process_time()
        self.assert_rejected(data, UnsupportedFormat)
        assert time.process_time() - begun < 0.5

    @pytest.mark.parametrize(
        "data",
        [
            b"\n <!-- a --> <!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'svg11.dtd'>\n<!-- b --><SVG/>",
            b"<!---->" * 140 + b"<svg>",
        ],
    )
    def test_an_svg_is_recognised_after_comments(self, data):
        self.assert_rejected(data, UnsupportedFormat, "SVG")

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
    def test_truncated_files(self, kind, share):
        noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8))
        data = encoded(noise, kind)
        with pytest.raises(BadImage):
            images.decode(data[: max(20, int(len(data) * share))])

    def test_too_many_bytes(self, settings):
        settings.IMAGESIM = {"MAX_IMAGE_BYTES": 1000}
        self.assert_rejected(b"x" * 1001, ImageTooLarge, "1000", "smaller")

    @pytest.mark.parametrize(("kind", "most"), [("PNG", 10_000), ("JPEG", 10_000), ("WEBP", 4_400), ("AVIF", 6_600)])
    def test_formats_that_need_more_memory_have_a_lower_pixel_limit(self, kind, most, settings):
        if kind not in FORMATS:
            pytest.skip(f"this Pillow does not read {kind}")
        settings.IMAGESIM = {"MAX_IMAGE_PIXELS": 10_000}
        images.decode(encoded(Image.new("RGB", (100, most // 100)), kind))
        self.assert_rejected(encoded(Image.new("RGB", (100, most // 100 + 1)), kind), ImageTooLarge, "smaller")

    @pytest.mark.long
    @pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory")
    def test_the_largest_picture_of_each_format_fits_one_slot(self):
        pictures = [
            "png(7000, 7000, colour=6)",
            "png(7000, 7000, colour=2, extra=chunk(b'tRNS', bytes(6)))",
            "png(7000, 7000, colour=3, extra=chunk(b'tRNS', bytes(1)))",
            "png(7000, 7000, depth=16, colour=0)",
            "png(49_500, 990, colour=6)",
            "flat('WEBP', 4700, 4700, 'RGBA')",
        ]
        program = f"""
import os, sys
import django; django.setup()
from pathlib import Path
from imagesim import images
from tests.hostile.files import chunk, flat, png
def size(name):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if name in line)
images.decode(png(9, 9)), images.decode(flat("WEBP", 9, 9))
for make in {pictures!r}:
    if os.fork():
        assert os.wait()[1] == 0, make
        continue
    data, before = eval(make), size("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    images.decode(data)
    print(make, size("VmHWM") - before, sep=": ", flush=True)
    os._exit(0)
"""
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "MALLOC_MMAP_THRESHOLD_": "1048576"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        taken = dict(line.split(": ") for line in done.stdout.splitlines())
        assert list(taken) == pictures
        assert max(map(int, taken.values())) < 400_000, taken

    def test_a_damaged_entry_of_exif_data_is_not_reported(self):
        """One picture can have 65,535 of them, and each would be a line in the error log."""
        program = """
import struct
import django; django.setup()
from imagesim import images
from tests.hostile.files import chunk, png
entries = b"".join(struct.pack(">HHLL", tag, 1, 10_000, 0) for tag in range(1000))
images.decode(png(64, 64, extra=chunk(b"eXIf", struct.pack(">2sHLH", b"MM", 42, 8, 1000) + entries + bytes(4))))
"""
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        command = [sys.executable, "-c", program]
        assert not subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stderr

    @pytest.mark.parametrize("side", [7100, 10_000, 14_000, 60_000])
    def test_too_many_pixels_are_never_decoded(self, side, monkeypatch):
        bomb = _png(side, side, 1, 0, b"")  # only the header claims them
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            self.assert_rejected(bomb, ImageTooLarge, "50 megapixels")

    def test_a_decompression_bomb_warning_as_error(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assert_rejected(_png(10_000, 10_000, 1, 0, b""), ImageTooLarge, "50 megapixels")

    @pytest.mark.parametrize(
        ("mode", "progressive", "fits"), [("CMYK", True, False), ("CMYK", False, True), ("RGB", True, True)]
    )
    def test_a_cmyk_jpeg_of_several_scans_has_fewer_pixels(self, settings, mode, progressive, fits):
        """Its decoder keeps the coefficients of the whole picture, 8 bytes a pixel, before it outputs the first
        pixel."""
        settings.IMAGESIM = {"MAX_IMAGE_PIXELS": 100 * 100}
        data = encoded(Image.new(mode, (95, 95)), "JPEG", progressive=progressive)
        if fits:
            assert images.decode(data).size == (95, 95)
        else:
            self.assert_rejected(data, ImageTooLarge, "0.008 megapixels")
        assert images.decode(encoded(Image.new(mode, (89, 89)), "JPEG", progressive=progressive)).size == (89, 89)

    @pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
    def test_too_small(self, size):
        self.assert_rejected(encoded(Image.new("RGB", size)), BadImage, f"{size[0]} × {size[1]}", "8")

    def test_the_smallest_picture(self):
        assert images.decode(encoded(Image.new("RGB", (8, 8)))).size == (8, 8)

    @pytest.mark.parametrize("size", [(8, 401), (6000, 100)])
    def test_sliver(self, size):
        self.assert_rejected(encoded(Image.new("RGB", size)), BadImage, "50 times")

    def test_a_jpeg_with_a_thousand_scans(self):
        plain = encoded(Image.new("L", (4000, 4000)), "JPEG", progressive=True)
        start = plain.rindex(b"\xff\xda")
        self.assert_rejected(plain[:-2] + plain[start:-2] * 200 + b"\xff\xd9", BadImage, "passes")
        assert images.decode(plain).size == (2000, 2000)

    @pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
    def test_a_png_with_a_million_chunks(self, place):
        data = encoded(picture(), "PNG")
        at = data.index(place) - 4
        begun = time.process_time()
        self.assert_rejected(data[:at] + _chunk(b"teSt", b"") * 1_000_000 + data[at:], BadImage, "pieces")
        assert time.process_time() - begun < 1

    def test_a_png_with_a_thousand_colour_profiles(self):
        """Each is a megabyte once it is decompressed."""
        data = encoded(picture(), "PNG")
        at = data.index(b"IDAT") - 4
        profile = _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**20 - 64), 9))
        assert images.decode(data[:at] + profile + data[at:]).size == (64, 64)
        begun = time.process_time()
        self.assert_rejected(data[:at] + profile * 1000 + data[at:], BadImage, "pieces")
        assert time.process_time() - begun < 1

    @pytest.mark.parametrize("segment", [b"\xff\xe4\0\2", b"\xff\xe1\0\x12Exif\0\0" + bytes(10)])
    def test_a_jpeg_with_a_million_segments(self, segment):
        data = encoded(picture(), "JPEG")
        begun = time.process_time()
        self.assert_rejected(data[:2] + segment * (8_000_000 // len(segment)) + data[2:], BadImage, "passes")
        assert time.process_time() - begun < 1

    def test_exif_data_in_many_large_segments(self):
        """Each segment is appended to a copy of those before it."""
        data, segment = encoded(picture(), "JPEG"), b"\xff\xe1\x60\0Exif\0\0" + bytes(0x6000 - 8)
        begun = time.process_time()
        self.assert_rejected(data[:2] + segment * 800 + data[2:], BadImage, "passes")
        assert time.process_time() - begun < 1

    def test_metadata_in_the_usual_number_of_segments(self):
        """A colour profile in 255 segments, a depth map in 300, and EXIF data longer than one segment."""
        data = encoded(picture(), "JPEG")
        profile = b"\xff\xe2\0\x10ICC_PROFILE\0\1\1" * 255
        depth = b"\xff\xe1\0\x25http://ns.adobe.com/xmp/extension/\0" * 300
        exif = b"\xff\xe1\0\x16Exif\0\0MM\0*\0\0\0\x08" + bytes(6)
        assert images.decode(data[:2] + profile + depth + exif * 4 + data[2:]).size == (64, 64)

    def test_a_jpeg_with_an_appended_video(self):
        data = encoded(picture(), "JPEG") + random.Random(1).randbytes(200_000) + b"\xff\xda" * 100_000
        assert images.decode(data).size == (64, 64)

    def test_a_polyglot_file_is_only_a_picture(self):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("evil.html", "<script>")
        assert images.decode(encoded(picture(), "JPEG") + archive.getvalue()).size == (64, 64)
        self.assert_rejected(b"<html><script>/*" + encoded(picture(), "JPEG"), UnsupportedFormat, "HTML")
        self.assert_rejected(b"GIF89a/*" + encoded(picture(), "PNG"), BadImage, "damaged")

    def test_a_format_that_the_shop_excludes(self, settings):
        settings.IMAGESIM = {"IMAGE_FORMATS": ["PNG"]}
        self.assert_rejected(encoded(picture(), "JPEG"), UnsupportedFormat, "JPEG", "send one of PNG.")

    def test_heic_without_a_decoder(self, settings):
        settings.IMAGESIM = {"IMAGE_FORMATS": ["JPEG"]}
        self.assert_rejected(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", UnsupportedFormat, "HEIC", "send one of JPEG.")
        assert formats.accept_attribute() == "image/jpeg"

    def test_a_transparent_gif_is_placed_on_white(self):
        first = Image.new("P", (64, 64), 0)
        first.putpalette([255, 0, 0, 0, 0, 255])
        first.paste(1, (32, 0, 64, 64))
        data = encoded(first, "GIF", transparency=1, save_all=True, append_images=[halves("green", "green")])
        assert near(colours(images.decode(data)), [(255, 0, 0), (255, 255, 255)])

    def test_blocks_before_the_first_frame_of_a_gif_are_limited(self):
        data = encoded(picture(), "GIF", comment=b"made by hand " * 100)
        assert images.decode(data).size == (64, 64)
        head = data[: 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)]
        rest = data[len(head) :]
        for filler in (b"\0", b"!\xfe\0", b"!\xfe" + (b"\xff" + b"x" * 255) * 2_000 + b"\0"):
            begun = time.process_time()
            self.assert_rejected(head + filler * (3_000_000 // len(filler)) + rest, BadImage, "pieces")
            assert time.process_time() - begun < 0.5
        self.assert_rejected(head, BadImage, "damaged")
        self.assert_rejected(data[:8], BadImage, "damaged")

    def test_a_format_that_the_shop_adds(self, settings):
        settings.IMAGESIM = {"IMAGE_FORMATS": ["GIF", "TIFF", "BMP"]}
        for kind in ("GIF", "TIFF", "BMP"):
            assert near(colours(images.decode(encoded(halves("red", "blue"), kind))), [(255, 0, 0), (0, 0, 255)])

    def test_a_format_that_pillow_cannot_read_is_not_accepted(self, settings):
        settings.IMAGESIM = {"IMAGE_FORMATS": ["JPEG", "NOSUCH"]}
        assert formats.accepted_formats() == ["JPEG"]
        self.assert_rejected(b"hello", UnsupportedFormat, "send one of JPEG.")

    def test_a_memory_error(self, monkeypatch):
        def load(self):
            raise MemoryError

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
        self.assert_rejected(encoded(picture()), ImageTooLarge, "memory")

    def test_errors_are_translated(self):
        from django.utils import translation

        with translation.override("de"):  # not in a catalogue yet: the sentence is still complete
            self.assert_rejected(b"", BadImage, ".")

    @hypothesis_settings(max_examples=examples(100), deadline=None)
    @given(data=st.data())
    def test_mutated_pictures_give_an_image_or_one_error(self, data):
        kind = data.draw(st.sampled_from(FORMATS))
        good = bytearray(_SAMPLES[kind])
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(0, len(good) - 1))
            match data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"])):
                case "flip":
                    good[place] = data.draw(st.integers(0, 255))
                case "cut":
                    del good[place : place + data.draw(st.integers(1, 64))]
                case "insert":
                    good[place:place] = data.draw(st.binary(max_size=32))
                case "repeat":
                    good[place:place] = good[place : place + 128]
            good = good or bytearray(b"x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(BadImage):
                assert images.decode(bytes(good)).mode == "RGB"


class TestRead:
    def test_a_file_is_read_from_its_start(self):
        file = io.BytesIO(b"abc")
        file.read()
        assert images.read(file) == b"abc"
        assert not file.closed

    def test_upload(self):
        assert images.read(SimpleUploadedFile("x.jpg", b"abc")) == b"abc"

    def test_a_file_without_seek(self):
        read, write = os.pipe()
        os.write(write, b"abc")
        os.close(write)
        with os.fdopen(read, "rb", buffering=0) as file:
            assert images.read(file) == b"abc"

    def test_reading_stops_at_the_limit(self, settings):
        class Endless:
            size = 10
            given = 0

            def read(self, size: int) -> bytes:
                self.given += min(size, 300)  # short reads, like those from a socket
                return b"x" * min(size, 300)

        settings.IMAGESIM = {"MAX_IMAGE_BYTES": 1000}
        file = Endless()
        with pytest.raises(ImageTooLarge, match="1000"):
            images.read(file)
        assert file.given == 1001

    def test_exactly_the_limit(self, settings):
        settings.IMAGESIM = {"MAX_IMAGE_BYTES": 1000}
        assert len(images.read(io.BytesIO(b"x" * 1000))) == 1000

    def test_stored_file_is_opened_and_closed(self, media_root):
        photo = Photo(file=File(ContentFile(b"abc"), name="a.png"))
        photo.file.save("a.png", ContentFile(b"abc"), save=False)
        photo.file.close()
        assert images.read(photo.file) == b"abc"
        assert photo.file.closed
        assert images.read(photo.file) == b"abc"

    def test_a_stored_file_that_others_read_meanwhile(self, media_root, monkeypatch):
        """Items that show the same picture of a library share its instance, and are read in threads."""
        photo = Photo()
        photo.file.save("a.png", ContentFile(b"abc"), save=False)
        both, bounded = threading.Barrier(2, timeout=10), images._read_bounded
        monkeypatch.setattr(images, "_read_bounded", lambda file: both.wait() + 1 and bounded(file))
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(images.read, [photo.file, photo.file])) == [b"abc", b"abc"]

    def test_a_stored_file_stays_closed(self, media_root):
        photo = Photo()
        photo.file.save("a.png", ContentFile(encoded(picture("navy"))), save=False)
        again = Photo(file=photo.file.name)
        query_image.take(again.file)
        assert again.file._file is None

    def test_what_is_not_stored_yet(self, media_root):
        photo = Photo(file=SimpleUploadedFile("x.jpg", b"abc"))
        assert images.read(photo.file) == b"abc"

    def test_a_missing_stored_file(self, media_root):
        with pytest.raises(FileNotFoundError):
            images.read(Photo(file="products/gone.png").file)

    def test_no_stored_file(self):
        with pytest.raises(FileNotFoundError):
            images.read(Photo().file)

    def test_a_name_outside_the_storage(self, media_root):
        with pytest.raises(BadImage, match="refuses the name"):
            images.read(Photo(file="../../etc/passwd").file)

    def test_digest(self):
        assert images.digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


class TestNormalise:
    def test_same_result_as_decode(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        opened = Image.open(io.BytesIO(encoded(halves("red", "blue"), "JPEG", exif=exif)))
        image = images.normalise(opened)
        assert (image.mode, image.size) == ("RGB", (32, 64))

    def test_too_small(self):
        with pytest.raises(BadImage, match="2 × 2"):
            images.normalise(Image.new("RGB", (2, 2)))

    def test_opened_but_damaged(self):
        with pytest.raises(BadImage, match="damaged"):
            images.normalise(Image.open(io.BytesIO(encoded(picture(size=(300, 300)))[:200])))


def _png(width: int, height: int, depth: int, colour: int, raw: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, body) for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


_SAMPLES = {kind: encoded(picture("orange", mark=3), kind) for kind in FORMATS}


class TestReduced:
    @pytest.mark.parametrize(
        ("size", "min_decode_side", "expected"),
        [
            ((1500, 2000), 448, (500, 667)),
            ((895, 1000), 448, (895, 1000)),
            ((896, 896), 448, (448, 448)),
            ((64, 32), 448, (64, 32)),
        ],
    )
    def test_the_short_side_keeps_enough(self, size, min_decode_side, expected):
        assert images.reduced(halves("red", "blue", size=size), min_decode_side).size == expected

    def test_a_pixel_is_the_mean_of_its_source_pixels(self):
        stripes = Image.fromarray(np.tile(np.array([[[0, 0, 0], [200, 100, 40]]], dtype=np.uint8), (32, 32, 1)))
        assert images.reduced(stripes, 16).getcolors() == [(512, (100, 50, 20))]


@pytest.mark.skipif("AVIF" not in FORMATS, reason="this Pillow does not read AVIF")
class TestAvif:
    @pytest.fixture
    def avif(self) -> bytes:
        return encoded(halves("red", "blue", size=(128, 128)), "AVIF")

    @staticmethod
    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", len(content) + 8, name) + content

    def changed(self, avif: bytes, name: bytes, change: Callable[[bytes], bytes]) -> bytes:
        """Return ``avif`` with different content in the innermost box ``name``, and its data where the header says."""
        at = avif.index(name) - 4
        end = at + int.from_bytes(avif[at : at + 4], "big")
        added = change(avif[at + 8 : end])
        more = len(added) + 8 - (end - at)
        changed = bytearray(avif[:at] + self.box(name, added) + avif[end:])
        for outer in (b"meta", b"iprp"):
            start = avif.index(outer) - 4
            size = int.from_bytes(avif[start : start + 4], "big")
            if start < at < start + size:
                changed[start : start + 4] = struct.pack(">I", size + more)
        place = changed.index(b"iloc") + 18  # of the first piece of the first item
        offset = struct.unpack_from(">I", changed, place)[0]
        struct.pack_into(">I", changed, place, offset + more)
        return bytes(changed)

    def test_an_ordinary_one_is_read(self, avif):
        assert images.decode(self.changed(avif, b"ipco", lambda content: content)).size == (128, 128)
        with_alpha = encoded(halves("red", "blue", size=(128, 128)).convert("RGBA"), "AVIF")
        assert images.decode(with_alpha).size == (128, 128)
        frames = [halves("red", "blue"), halves("blue", "red")]
        assert images.decode(encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:] * 20)).size == (64, 32)

    @pytest.mark.parametrize(
        ("name", "more"),
        [
            ("iloc", b"".join(struct.pack(">3H", number, 0, 0) for number in range(2, 40_001))),
            (
                "iinf",
                b"".join(struct.pack(">I4sI2H4sx", 21, b"infe", 2 << 24, n, 0, b"av01") for n in range(2, 40_001)),
            ),
        ],
    )
    def test_each_item_is_compared_with_all_others(self, avif, name, more):
        """With forty thousand items, this takes the decoder two seconds."""

        def change(content: bytes) -> bytes:
            at = 6 if name == "iloc" else 4
            return content[:at] + struct.pack(">H", 40_000) + content[at + 2 :] + more

        data = self.changed(avif, name.encode(), change)
        begun = time.process_time()
        with pytest.raises(BadImage):
            images.dimensions(data)
        assert time.process_time() - begun < 0.5

    def test_a_million_boxes(self, avif):
        data = self.changed(avif, b"ipco", lambda content: content + 1_000_000 * b"\0\0\0\x08none")
        for each in (data, avif + 1_000_000 * b"\0\0\0\x08free", avif + 100_000 * b"\0\0\0\0moov"):
            begun = time.process_time()
            with pytest.raises(BadImage):
                images.dimensions(each)
            assert time.process_time() - begun < 0.5

    def test_a_picture_of_many_frames(self, avif):
        """The decoder reads all of them, and shows only one."""
        start = avif.index(b"mdat") + 4
        place = avif.index(b"iloc") + 22  # the length of the first item
        for count, accepted in ((2, True), (2_000, False), (20_000, False)):
            data = bytearray(avif[:start] + count * avif[start:])
            struct.pack_into(">I", data, place, count * (len(avif) - start))
            struct.pack_into(">I", data, start - 8, len(data) - start + 8)
            if accepted:
                images.decode(bytes(data))
            else:
                with pytest.raises(BadImage):
                    images.decode(bytes(data))

    def test_a_smaller_size_in_the_header_is_rejected(self, settings):
        """The decoder allocates memory for the size in the coded data, and then scales the picture."""
        settings.IMAGESIM = {"MAX_IMAGE_PIXELS": 100_000}
        data = encoded(Image.new("RGB", (400, 400)), "AVIF")
        at = data.index(b"ispe") + 8
        with pytest.raises(BadImage):
            images.decode(data[:at] + (64).to_bytes(4, "big") * 2 + data[at + 8 :])

    @pytest.mark.parametrize("size", [(64, 48), (6000, 8)])  # of a low and of a high level, whose headers differ
    def test_the_frames_of_an_animation_are_measured(self, size):
        frame = Image.new("RGB", size)
        largest, _all = coded_pixels(encoded(frame, "AVIF", save_all=True, append_images=[frame]))
        assert largest == size[0] * size[1]

    def test_an_animation_of_a_million_frames(self):
        data = encoded(halves("red", "blue"), "AVIF", save_all=True, append_images=[halves("blue", "red")])
        at = data.index(b"stsz") + 8
        with pytest.raises(BadImage):
            images.dimensions(data[:at] + struct.pack(">2I", 1, 1_000_000) + data[at + 8 :] + bytes(1_000_000))

    @pytest.mark.parametrize("seed", range(20))
    def test_damaged_boxes(self, avif, seed):
        dice = random.Random(seed)
        for _ in range(100):
            data = bytearray(avif)
            for _ in range(dice.randrange(1, 4)):
                data[dice.randrange(12, len(data))] = dice.choice((0, 1, 8, 127, 255, dice.randrange(256)))
            with suppress(BadImage):
                coded_pixels(bytes(data))


class TestHeic:
    """With pillow-heif, which is an optional package."""

    @pytest.fixture(autouse=True)
    def _heif(self):
        pytest.importorskip("pillow_heif")
        formats.accepted_formats()  # registers the plug-in

    @pytest.fixture
    def heic(self) -> bytes:
        return encoded(halves("red", "blue", size=(128, 128)), "HEIF", quality=90)

    def test_is_read_upright(self, heic):
        assert "HEIC" in formats.accepted_formats()
        assert formats.accept_attribute().endswith("image/heic,.heic")
        assert near(colours(images.decode(heic)), [(255, 0, 0), (0, 0, 255)], 12)
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = encoded(halves("red", "blue", size=(128, 64)), "HEIF", exif=exif.tobytes())
        image = images.decode(turned)
        assert images.dimensions(turned) == image.size == (64, 128)
        assert near([image.getpixel((32, 16)), image.getpixel((32, 112))], [(255, 0, 0), (0, 0, 255)])

    def test_the_metadata_is_read_separately(self, heic, settings):
        settings.IMAGESIM = {"SANDBOX": True}
        try:
            assert near(colours(sandbox.decode(heic)), [(255, 0, 0), (0, 0, 255)], 12)
        finally:
            runtime.reset()

    def test_has_the_same_limits(self, heic, settings):
        settings.IMAGESIM = {"MAX_IMAGE_PIXELS": 20_000}
        with pytest.raises(ImageTooLarge, match=r"0\.016 megapixels"):
            images.decode(heic)
        settings.IMAGESIM = {"MAX_IMAGE_BYTES": len(heic) - 1}
        with pytest.raises(ImageTooLarge):
            images.decode(heic)

    def test_a_wrong_size_in_the_header_is_rejected(self, heic):
        at = heic.index(b"ispe") + 8
        with pytest.raises(BadImage):
            images.decode(heic[:at] + (64).to_bytes(4, "big") * 2 + heic[at + 8 :])

    def test_metadata_are_not_copied_for_each_picture(self):
        """A hundred pictures share the metadata of the first."""
        import pillow_heif

        file = pillow_heif.HeifFile()
        for number in range(100):
            file.add_from_pillow(picture())
            file[number].info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08" + bytes(6 if number else 200_000)
        stored = io.BytesIO()
        file.save(stored)
        data = stored.getvalue()
        references = re.search(rb"(?:\0\0\0\x0ecdsc....(..)){100}", data, re.DOTALL)
        first = references[0][8:10]
        others = re.findall(rb"cdsc....(..)", references[0], re.DOTALL)
        shared = struct.pack(">I4s2sH", 212, b"cdsc", first, 100) + b"".join(others)
        filling = struct.pack(">I4s2sH", 1188, b"none", first, 588) + 588 * others[0]
        data = data.replace(references[0], shared + filling)
        tracemalloc.start()
        assert images.dimensions(data) == (64, 64)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(data)
        tracemalloc.stop()

    @pytest.mark.parametrize("size", [0, 1, 7, 8, 2**31])
    def test_boxes_of_any_size(self, heic, size):
        at = heic.index(b"meta") - 4
        for data in (heic[:at] + size.to_bytes(4, "big") + heic[at + 4 :], heic + size.to_bytes(4, "big") + b"free"):
            with suppress(BadImage):
                images.decode(data)

    def test_a_million_boxes(self, heic):
        begun = time.process_time()
        with pytest.raises(BadImage):
            images.decode(heic[:28] + b"\0\0\0\x08free" * 1_000_000 + heic[28:])
        assert time.process_time() - begun < 1

    def test_truncated_and_damaged_files_are_rejected(self, heic):
        for data in (heic[:200], heic[: len(heic) // 2], b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"):
            with pytest.raises(BadImage):
                images.decode(data)
