"""What decoding an AVIF would take, read without decoding a pixel.

Its decoder compares each entry of the tables of a file with all others, decodes every coded frame of the one picture
that is shown, and allocates the size that the coded data name, whatever the header says.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from imagesim.images.formats import damaged

MAX_BOXES = 1_000
"""The maximum number of boxes of one file, including nested ones: a usual file has twenty."""

MAX_DEPTH = 10

MAX_TABLE_BYTES = 32 * 1024
"""The maximum size of the tables of one file together. A phone's picture of 48 megapixels, in 192 tiles, has 9 KiB."""

MAX_EXTENTS = 5_000
"""The maximum number of pieces of the data of all items together."""

MAX_UNITS = 5_000
"""The maximum number of units of coded data in all items together; a picture or a tile has three."""

MAX_SAMPLES = 20_000
"""The maximum number of frames of an animation, of which the first is decoded."""

_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0}
"""The boxes that hold others, with the bytes before the first of these."""

_TABLES = (b"iloc", b"iinf", b"iref", b"ipma", b"grpl")
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6

Box = tuple[bytes, int, int]
"""The type of a box, and where its content starts and ends."""


def coded_pixels(data: bytes) -> tuple[int, int]:
    """Return the pixels of the largest coded frame in an AVIF, and of all that a decoder may read.

    :raises BadImage: if it has more boxes, entries or pieces than a picture needs.
    """
    boxes = list(islice(_boxes(data, 0, len(data)), MAX_BOXES + 1))
    tables = sum(end - start for name, start, end in boxes if name in _TABLES)
    if len(boxes) > MAX_BOXES or tables > MAX_TABLE_BYTES:
        raise damaged()
    units = _Budget(MAX_UNITS)
    coded = [_coded(content, units) for content in (*_items(data, boxes), *_first_samples(data, boxes))]
    return max((pixels for pixels, _count in coded), default=0), sum(pixels * count for pixels, count in coded)


class _Budget:
    """A number of things, of which no more may be used."""

    def __init__(self, rest: int) -> None:
        self._rest = rest

    def use(self, count: int = 1) -> None:
        """Use some of the rest; raise BadImage if more than that is used."""
        self._rest -= count
        if self._rest < 0:
            raise damaged()


class _Reader:
    """Reads big-endian numbers of some bits one after the other; past the end they are 0."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def bits(self, count: int) -> int:
        start, self._position = self._position, self._position + count
        first, last = start // 8, -(-self._position // 8)
        part = self._data[first:last].ljust(last - first, b"\0")
        return int.from_bytes(part, "big") >> (last * 8 - self._position) & (1 << count) - 1

    def bytes(self, count: int) -> int:
        return self.bits(8 * count)


def _boxes(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[Box]:
    """Yield all boxes from ``start`` to ``end``, each before those in it."""
    while end - start >= 8:
        size, name, content = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], start + 8
        if size == 1:
            size, content = int.from_bytes(data[content : content + 8], "big"), content + 8
        stop = min(start + size, end) if size else end
        if stop < content or depth > MAX_DEPTH:
            raise damaged()
        yield name, content, stop
        if name in _CONTAINERS:
            yield from _boxes(data, content + _CONTAINERS[name], stop, depth + 1)
        start = stop


def _items(data: bytes, boxes: list[Box]) -> Iterator[bytes]:
    """Yield the content of each item of the file."""
    beside = next((data[start:end] for name, start, end in boxes if name == b"idat"), b"")
    extents, joined = _Budget(MAX_EXTENTS), _Budget(len(data))
    for name, start, end in boxes:
        if name == b"iloc":
            for is_beside, pieces in _locations(data[start:end], extents):
                source = beside if is_beside else data
                parts = [source[at : at + length if length else None] for at, length in pieces]
                if len(parts) > 1:
                    joined.use(sum(map(len, parts)))
                yield b"".join(parts)


def _locations(table: bytes, extents: _Budget) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
    """Yield, for each item, whether its data are in the box ``idat``, and their pieces (offset, length); the length 0
    stands for the rest."""
    reader = _Reader(table)
    version, _flags = reader.bytes(1), reader.bytes(3)
    sizes = [reader.bits(4) for _ in range(4)]  # of an offset, a length, a base and an index
    width = 2 if version < 2 else 4
    for _ in range(reader.bytes(width)):
        extents.use()
        _item, method, _reference = reader.bytes(width), reader.bytes(2) if version else 0, reader.bytes(2)
        base, pieces = reader.bytes(sizes[2]), []
        for _ in range(reader.bytes(2)):
            extents.use()
            reader.bytes(sizes[3] if version else 0)
            pieces.append((base + reader.bytes(sizes[0]), reader.bytes(sizes[1])))
        yield bool(method & 15), pieces


def _first_samples(data: bytes, boxes: list[Box]) -> Iterator[bytes]:
    """Yield the content of the first frame of each track.

    :raises BadImage: if a track has more than ``MAX_SAMPLES``.
    """
    places, lengths = [], []
    for name, start, end in boxes:
        reader = _Reader(data[start : min(start + 24, end)])
        _version = reader.bytes(4)
        if name == b"stsz":
            length, count = reader.bytes(4), reader.bytes(4)
            lengths.append(length or reader.bytes(4))
            if count > MAX_SAMPLES:
                raise damaged()
        elif name in (b"stco", b"co64"):
            _count = reader.bytes(4)
            places.append(reader.bytes(4 if name == b"stco" else 8))
    if len(places) != len(lengths):
        raise damaged()
    for place, length in zip(places, lengths, strict=True):
        yield data[place : place + length]


def _coded(content: bytes, units: _Budget) -> tuple[int, int]:
    """Return the pixels of the largest frame of an item, and how many frames it has; items other than AV1 have none."""
    largest = frames = position = 0
    while position < len(content):
        units.use()
        head, position = content[position], position + 1 + (content[position] >> 2 & 1)
        size = len(content) - position
        if head & 2:
            size = 0
            for shift in range(0, 56, 7):
                byte = int.from_bytes(content[position : position + 1], "big")
                size, position = size | (byte & 127) << shift, position + 1
                if byte < 128:
                    break
        kind = head >> 3 & 15
        frames += kind in (_FRAME_HEADER, _FRAME)
        if kind == _SEQUENCE_HEADER:
            largest = max(largest, _sequence_pixels(_Reader(content[position : position + min(size, 500)])))
        position += size
    return largest, frames


def _sequence_pixels(reader: _Reader) -> int:
    """Return the maximum pixels of a frame according to the header of a sequence, as in section 5.5 of the AV1
    specification."""
    reader.bits(4)  # the profile, and whether it is a still picture
    is_reduced = reader.bits(1)
    if is_reduced:
        reader.bits(5)
    else:
        _skip_operating_points(reader)
    wide, high = reader.bits(4) + 1, reader.bits(4) + 1
    pixels = (reader.bits(wide) + 1) * (reader.bits(high) + 1)
    # A frame can have a size of its own in as many bits, of which an encoder takes no more than it needs.
    return pixels if is_reduced else max(pixels, 1 << wide + high - 2)


def _skip_operating_points(reader: _Reader) -> None:
    delay_bits = 0
    if reader.bits(1):  # timing
        reader.bits(64)
        if reader.bits(1):
            zeros = 0
            while zeros < 32 and not reader.bits(1):
                zeros += 1
            reader.bits(zeros)
        if reader.bits(1):  # the model of a decoder
            delay_bits = reader.bits(5) + 1
            reader.bits(42)
    has_delay = reader.bits(1)
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)
        if reader.bits(5) > 7:
            reader.bits(1)
        if delay_bits and reader.bits(1):
            reader.bits(2 * delay_bits + 1)
        if has_delay and reader.bits(1):
            reader.bits(4)
