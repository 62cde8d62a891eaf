"""Print how much memory, disk and time a future catalogue needs: see :mod:`imagesim.evaluation.planning`."""

from __future__ import annotations

import io
import json
import statistics
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from imagesim import images
from imagesim.conf import Backend as Setting
from imagesim.conf import get_settings
from imagesim.database import stored_array
from imagesim.embedders import get_embedder
from imagesim.evaluation.planning import GIB, QUANTISED, SERVER, Backend, Sample, plan
from imagesim.exceptions import BadQuery, ImagesimError
from imagesim.images import colours
from imagesim.indexes import get_index
from imagesim.items.registry import registry
from imagesim.management import ImagesimCommand, at_least
from imagesim.models import Embedding, ImageRegions
from imagesim.regions import get_region_finder
from imagesim.types import Entry, EntryImage, Filters, IndexMeta, Query

if TYPE_CHECKING:
    from imagesim.embedders import BaseEmbedder
    from imagesim.indexes import BaseIndex
    from imagesim.types import Vector

SAMPLE = 32
REGIONS = 1.0
"""The mean number of things in a picture, if none is stored: what the built-in finder saw in a fashion shop's
pictures."""
STORED = 1000
"""The number of stored rows that the mean is taken over."""
CATALOGUE_SIZE = (1000, 1300)
PGVECTOR = "imagesim.indexes.pgvector.PgvectorIndex"

ENTRIES = 20_000
"""The number of entries of the index by which ``--measure-index`` measures the configured one."""
BATCH = 500
QUERIES = 50
NOTHING = Filters(keys=("sample:none",))
"""Filters that nothing passes."""
SETTLED = 0.95
MAX_MEASUREMENTS = 10


class Command(ImagesimCommand):
    help = "Plan memory, disk, shards and embedding time, from thousands to a billion images."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--items", type=at_least(1), required=True, help="number of products")
        parser.add_argument("--images", type=at_least(1), help="number of pictures (default: one per item)")
        parser.add_argument("--dims", type=at_least(1), help="length of a vector (default: that of the model)")
        parser.add_argument(
            "--model", help="an open_clip model, as in the setting EMBEDDER (default: the configured one)"
        )
        parser.add_argument("--pretrained", help="its weights, as in the setting EMBEDDER")
        parser.add_argument(
            "--index", default="auto", choices=get_args(Backend), help="default: pgvector if configured, else by size"
        )
        parser.add_argument(
            "--quantisation",
            default="auto",
            choices=["auto", "half", *QUANTISED],
            help="how vectors are shortened (default: by the index and the size)",
        )
        parser.add_argument(
            "--characters", type=at_least(0), default=0, help="mean length of the texts of an item (default 0)"
        )
        parser.add_argument("--server", type=_version, default=SERVER, help="version of Elasticsearch (default 9.5)")
        parser.add_argument("-m", type=at_least(2), default=16, help="links per node of the HNSW graph (default 16)")
        parser.add_argument(
            "--measure-index",
            action="store_true",
            help=f"measure the speed of the configured index by filling another with {ENTRIES:,} vectors",
        )
        parser.add_argument(
            "--node-memory", type=at_least(0.5), default=64, help="memory of an Elasticsearch node in GiB (64)"
        )
        parser.add_argument(
            "--replicas", type=at_least(0), default=1, help="copies of an Elasticsearch index besides the first (1)"
        )
        parser.add_argument(
            "--regions",
            type=at_least(0.0),
            help=f"with ITEM_REGIONS: things found in a picture, on average (default: as stored, else {REGIONS})",
        )
        parser.add_argument(
            "--no-measure", action="store_true", help="do not embed sample pictures to measure the speed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = self._plan(options)
        self.emit(report, options["format"], _say(report))

    def _plan(self, options: dict[str, Any]) -> dict[str, Any]:
        backend = get_settings().EMBEDDER
        if chosen := {name: options[name] for name in ("model", "pretrained") if options[name]}:
            backend = type(backend)(backend.path, {**backend.options, **chosen})
        regions = options["regions"]
        if regions is None and get_settings().ITEM_REGIONS:
            regions = _stored_regions()
        dims = options["dims"] or get_embedder(backend).dims
        speeds: dict[str, float] = {}
        if not options["no_measure"]:
            if options["verbosity"]:
                self.stderr.write(f"Embedding {SAMPLE} sample pictures of {CATALOGUE_SIZE[0]} × {CATALOGUE_SIZE[1]} …")
            speeds = _measured_speeds(get_embedder(backend), with_regions=regions is not None)
        kind = options["index"]
        if kind == "auto" and get_settings().INDEX.path == PGVECTOR:
            kind = "pgvector"
        return plan(
            backend=kind,
            characters=options["characters"],
            sample=self._sample(dims, options["verbosity"]) if options["measure_index"] else None,
            items=options["items"],
            images=options["images"] or options["items"],
            dims=dims,
            quantisation=options["quantisation"],
            server=options["server"],
            m=options["m"],
            node_memory_bytes=round(options["node_memory"] * GIB),
            replicas=options["replicas"],
            regions=regions,
            **speeds,
        ).as_dict()

    def _sample(self, dims: int, verbosity: int) -> Sample:
        setting = get_settings().INDEX
        name = f"{get_index().name}-sample"
        index = get_index(Setting(setting.path, {**setting.options, "name": name}))
        if verbosity:
            self.stderr.write(f"Filling {name} with {ENTRIES:,} vectors …")
        return measure_index(index, _vectors(dims))


def measure_index(index: BaseIndex, vectors: Sequence[Vector]) -> Sample:
    """Fill a backing index with these vectors beside the active one, search it, and drop it.

    :param index: has a name that no other index has; its answers are those of this backing index.
    :raises BadQuery: if there are too few vectors.
    :raises SearchIndexError: if the index cannot be reached.
    """
    if len(vectors) < QUERIES:
        raise BadQuery(f"Measuring the index takes at least {QUERIES} vectors, not {len(vectors)}.")
    backing_index = index.create(IndexMeta("sample", len(vectors[0]), {}))
    try:
        middle = len(vectors) // 2
        _fill(index, backing_index, vectors, range(middle))  # a server compiles its code meanwhile
        started = time.perf_counter()
        _fill(index, backing_index, vectors, range(middle, len(vectors)))
        written = time.perf_counter() - started
        index.promote(backing_index)
        index.refresh(backing_index)
        seconds = time.perf_counter() - started + written
        each, none = (
            settled(partial(_milliseconds, index, vectors[:QUERIES], filters)) for filters in (Filters(), NOTHING)
        )
        return Sample(len(vectors), seconds, each, none, exact=not index.supports_approximate)
    finally:
        index.drop(backing_index)


def _fill(index: BaseIndex, backing_index: str, vectors: Sequence[Vector], numbers: range) -> None:
    for start in range(0, len(numbers), BATCH):
        entries = [
            Entry(f"sample:{n}", "sample", str(n), 1, (EntryImage(f"{n:064x}", f"{n}.jpg", vectors[n]),))
            for n in numbers[start : start + BATCH]
        ]
        if failed := next((each for each in index.write(entries, backing_index=backing_index) if each.error), None):
            raise ImagesimError(f"The index did not take a sample: {failed.error}")


def settled(measure: Callable[[], float]) -> float:
    """Return the first measurement that is not clearly less than the one before: the first searches of a server take
    longer, while it compiles its code."""
    last = measure()
    for _ in range(MAX_MEASUREMENTS):
        before, last = last, measure()
        if last > SETTLED * before:
            break
    return last


def _milliseconds(index: BaseIndex, vectors: Sequence[Vector], filters: Filters) -> float:
    """Return the median time of a search, as the caller sees it: the server's own is in whole milliseconds."""
    taken = []
    for vector in vectors:
        started = time.perf_counter()
        index.search([Query(vector, limit=10, exact=False, filters=filters)])
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def _vectors(dims: int) -> Any:
    """Return unit vectors of shape (ENTRIES, dims): stored embeddings of this length, in the order of their hashes,
    then random vectors, which are harder to find."""
    import numpy as np

    stored = Embedding.objects.order_by("digest").values_list("vector", flat=True)[:ENTRIES]
    found = [vector for row in stored if len(vector := stored_array(row)) == dims]
    drawn = np.random.default_rng(1).standard_normal((ENTRIES - len(found), dims), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.concatenate([np.array(found, dtype=np.float32).reshape(-1, dims), drawn])


def _version(text: str) -> tuple[int, int]:
    try:
        major, minor = text.split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a version such as 8.19 or 9.5") from None


def _sample() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    # Enlarged noise of a low resolution compresses about as well as a photo.
    Image.effect_noise((125, 163), 60).resize(CATALOGUE_SIZE).convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def _measured_speeds(embedder: BaseEmbedder, *, with_regions: bool) -> dict[str, float]:
    """Return how many pictures per second this machine embeds, and the speeds of whatever else is done with them
    here."""
    data = _sample()
    image = images.decode(data)
    speeds = {
        "images_per_second": _per_second(
            lambda n: embedder.embed_images([images.decode(data) for _ in range(n)]), SAMPLE
        )
    }
    if with_regions:
        finder = get_region_finder()
        speeds["searched_per_second"] = _per_second(lambda n: [finder.find(image) for _ in range(n)], SAMPLE // 4)
    if any(items.measured_colours for items in registry):
        speeds["measured_per_second"] = _per_second(lambda n: [colours.measure(image) for _ in range(n)], SAMPLE)
    return speeds


def _per_second(work: Callable[[int], object], pictures: int) -> float:
    """Return how many pictures per second ``work``, called with their number, handles on this machine, after one to
    warm up."""
    work(1)
    start = time.perf_counter()
    work(pictures)
    return pictures / (time.perf_counter() - start)


def _stored_regions() -> float:
    """Return the mean number of regions of the pictures that were searched last."""
    rows = list(ImageRegions.objects.order_by("-pk").values_list("regions", flat=True)[:STORED])
    return round(sum(map(len, rows)) / len(rows), 2) if rows else REGIONS


INDEXES = {"local": "local (exact, in the database)", "pgvector": "PostgreSQL with pgvector"}


def _say(report: dict[str, Any]) -> str:
    kind = report["backend"]
    rows = [
        ("Items, images", f"{report['items']:,}, {report['images']:,} of {report['dims']} dimensions"),
        ("Index", INDEXES.get(kind) or f"Elasticsearch {report['server']}"),
        ("Database, embeddings", _size(report["database_bytes"])),
    ]
    disk = f"{_size(report['disk_bytes'])} ({_size(report['rebuild_disk_bytes'])} while rebuilding)"
    entry = ", ".join(f"{name} {size:,}" for name, size in report["parts"].items())
    if kind == "local":
        rows += [("Database, index", disk), ("Memory, each process", _size(report["memory_bytes"]))]
    elif kind == "pgvector":
        rows += [
            ("Quantisation", report["quantisation"]),
            ("Memory, to keep warm", f"{_size(report['memory_bytes'])} (shared_buffers)"),
            ("Memory, to build", f"{_size(report['build_memory_bytes'])} (build_memory)"),
            ("Disk", disk),
            ("Bytes of an entry", entry),
        ]
    else:
        rows += [
            ("index_options", json.dumps(report["index_options"])),
            ("Page cache, one copy", _size(report["memory_bytes"])),
            ("Heap, each node", _size(report["heap_bytes"])),
            ("Disk, one copy", disk),
            ("Bytes of an entry", entry),
            ("Copies", f"1 primary + {report['replicas']} replica(s)"),
            ("Shards, nodes", f"{report['shards']}, {report['nodes']}"),
        ]
    if report["fill_hours"] is not None:
        rows.append(
            ("Rebuild, this index", f"{_duration(report['fill_hours'])} from stored embeddings, without other work")
        )
        held = "all vectors" if report["sample"]["exact"] else "the whole graph"
        rows.append(("A query, this index", f"{report['query_ms']:.1f} ms, {held} in memory"))
    if report["embedding_hours"] is not None:
        rows.append(
            (
                "Embedding, this machine",
                f"{_duration(report['embedding_hours'])} ({report['images_per_second']:.1f} images/s measured)",
            )
        )
    if report["region_bytes"]:
        rows.append(("Database, regions", f"{_size(report['region_bytes'])} ({report['regions']:g} in a picture)"))
    if report["region_hours"] is not None:
        rate = f"{report['searched_per_second']:.1f} images/s searched, each thing embedded"
        rows.append(("Regions, this machine", f"{_duration(report['region_hours'])} ({rate})"))
    if report["colour_hours"] is not None:
        rate = f"{report['measured_per_second']:.1f} images/s measured"
        rows.append(("Colours, this machine", f"{_duration(report['colour_hours'])} ({rate})"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 3600 >= 100 else f"{hours * 3600:.0f} s"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
