"""Hostile files: few bytes that cause a lot of work, and damaged pictures."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO

from PIL import Image, ImageDraw

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")


def nested_comments(length: int = 1098) -> bytes:
    """Empty XML comments before nothing: a pattern that skips them may try every way of grouping them."""
    return (b"<!---->" * length)[:length]


WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: its first pixel, and the steps to the next."""


def png(
    width: int, height: int, *, depth: int = 8, colour: int = 6, extra: bytes = b"", interlaced: bool = False
) -> bytes:
    """A black PNG of any size; its few bytes unpack to ``height`` rows of zeros."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer = zlib.compressobj(9)
    pixels = b""
    for left, top, across, down in ADAM7 if interlaced else WHOLE:
        row = b"\0" * (1 + (len(range(left, width, across)) * channels * depth + 7) // 8)
        pixels += b"".join(packer.compress(row) for _ in range(top, height, down))
    pixels += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", b"\0\0\0\xff\xff\xff") if colour == 3 else b""
    body = (chunk(b"IHDR", header), palette, extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def compressed_text() -> bytes:
    """A PNG whose text chunk unpacks to 60 MB."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b" " * 60_000_000, 9))
    return png(64, 64, extra=text)


@cache
def flat(kind: str, width: int, height: int, mode: str = "RGB") -> bytes:
    """A picture of one colour in a lossless or strongly compressed file."""
    buffer = BytesIO()
    options = {"WEBP": {"lossless": True, "quality": 0, "method": 0}, "AVIF": {"quality": 0, "speed": 10}}
    Image.new(mode, (width, height)).save(buffer, kind, **options.get(kind, {"quality": 1} if kind == "JPEG" else {}))
    return buffer.getvalue()


def many_items(count: int = 40_000) -> bytes:
    """An AVIF whose table names so many items, each of which its decoder compares with all the others."""
    data = flat("AVIF", 64, 64)
    more = b"".join(struct.pack(">3H", number, 0, 0) for number in range(2, count + 1))
    at, meta = data.index(b"iloc") - 4, data.index(b"meta") - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    changed = bytearray(data[:end] + more + data[end:])
    for place in (meta, at, at + 22):  # the lengths of both boxes, and where the picture begins
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", changed, place)[0] + len(more))
    struct.pack_into(">H", changed, at + 14, count)
    return bytes(changed)


def smaller_in_its_header(side: int = 8000) -> bytes:
    """An AVIF whose header names a small size: decoders allocate memory for the size in the coded data."""
    data = flat("AVIF", side, side)
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">2I", 64, 64) + data[at + 8 :]


def many_scans(scans: int = 2000, side: int = 4000) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    buffer = BytesIO()
    Image.new("L", (side, side)).save(buffer, "JPEG", progressive=True, quality=1)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def scans_of_cmyk(side: int) -> bytes:
    """A progressive JPEG of four channels, with comments that make it nearly as long as a file may be."""
    buffer = BytesIO()
    image = Image.new("CMYK", (side, side), (10, 200, 30, 40))
    image.save(buffer, "JPEG", progressive=True, subsampling=0, quality=10)
    data = buffer.getvalue()
    return data[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 300 + data[2:]


def long_avif(side: int) -> bytes:
    """An AVIF with transparency, followed by free space."""
    return flat("AVIF", side, side, "RGBA") + struct.pack(">I", 20_000_000) + b"free" + bytes(19_999_992)


@cache
def photo(side: int = 512) -> bytes:
    """An ordinary photo."""
    dice = random.Random(side)
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(40):
        x, y = dice.randrange(side), dice.randrange(side)
        pen.ellipse((x, y, x + side // 6, y + side // 9), tuple(dice.randrange(256) for _ in range(3)))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@cache
def _originals() -> tuple[bytes, ...]:
    image = Image.frombytes("RGB", (40, 40), random.Random(0).randbytes(4800))
    files = []
    for kind in FORMATS:
        for mode in ("RGB", "RGBA", "L") if kind in ("PNG", "WEBP") else ("RGB",):
            buffer = BytesIO()
            image.convert(mode).save(buffer, kind)
            files.append(buffer.getvalue())
    rotated = Image.Exif()
    rotated[0x0112] = 6
    for options in ({"progressive": True}, {"exif": rotated}, {"quality": 100, "subsampling": 0}):
        buffer = BytesIO()
        image.save(buffer, "JPEG", **options)
        files.append(buffer.getvalue())
    return (*files, nested_comments(64), b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def mutated(seed: int) -> Iterator[bytes]:
    """Pictures with bytes changed, cut off, repeated or inserted, without end."""
    dice = random.Random(seed)
    while True:
        data = bytearray(dice.choice(_originals()))
        for _ in range(dice.choice((1, 1, 2, 8))):
            at = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(min(len(data), 64))
            change = dice.randrange(6)
            if change == 0:
                data[at] = dice.randrange(256)
            elif change == 1:
                data[at : at + 4] = dice.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x1b\x58")
                )
            elif change == 2:
                del data[max(at, 16) :]
            elif change == 3:
                data[at:at] = data[at : at + dice.randrange(1, 64)]
            elif change == 4:
                data[at:at] = dice.randbytes(dice.randrange(1, 16))
            else:
                data[at] ^= 1 << dice.randrange(8)
        yield bytes(data)
