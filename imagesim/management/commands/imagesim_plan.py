"""Estimate how much memory, disk and time a future catalogue needs.

Memory and disk follow Elastic's formulas ("Tune approximate kNN search", Elasticsearch guide): with d
dimensions and m links per node, one vector takes 4·d bytes in full and d + 4 (int8) or d/8 + 14 (bbq)
quantised, and its graph node 4·m. Searches are fast while quantised vectors and graph stay in
the page cache; the full vectors are read only to rescore. Shards follow "Size your shards": 10 to 50 GB and at
most 200 million documents each; a nested vector is a document of its own, and so is its item.
"""

from __future__ import annotations

import io
import json
import math
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from imagesim import images
from imagesim.conf import get_settings
from imagesim.embedders import get_embedder
from imagesim.exceptions import BadQuery, format_choices
from imagesim.indexes.elasticsearch.mapping import Quantisation, Server, Storage, index_options
from imagesim.management import ImagesimCommand
from imagesim.models import ImageRegions
from imagesim.regions import get_region_finder

GIB = 1024**3
ROW_BYTES = 200  # of a row beside what it holds
REGION_BYTES = 130  # a box with its label as JSON, about
METADATA_BYTES = 220  # keyword, numeric and id structures of one item, as measured (docs/performance.md)
LOCAL_LIMIT = 100_000  # images; beyond this, the exact scan takes more than some tens of milliseconds
SHARD_BYTES = 40 * GIB
SHARD_DOCUMENTS = 200_000_000
QUANTISED: dict[Quantisation, Callable[[int], float]] = {
    "none": lambda dims: 0.0,
    "int8": lambda dims: dims + 4.0,
    "bbq": lambda dims: dims / 8 + 14.0,
}
SERVER = (9, 5)
"""The version of Elasticsearch to plan for by default."""


@dataclass(frozen=True)
class Plan:
    """The resources to provide. Bytes are per copy; ``replicas`` copies are added to them."""

    items: int
    images: int
    dims: int
    backend: str
    server: str
    quantisation: str
    index_options: dict[str, Any]
    memory_bytes: int
    disk_bytes: int
    rebuild_disk_bytes: int
    database_bytes: int
    shards: int
    nodes: int
    replicas: int
    images_per_second: float | None
    regions: float = 0.0
    """Regions per image, with ``ITEM_REGIONS``."""
    region_bytes: int = 0
    searched_per_second: float | None = None
    """Images per second that the region finder searches."""

    @property
    def embedding_hours(self) -> float | None:
        return None if not self.images_per_second else self.images / self.images_per_second / 3600

    @property
    def region_hours(self) -> float | None:
        """For finding the regions and embedding each."""
        if not self.images_per_second or not self.searched_per_second:
            return None
        return self.images * (1 / self.searched_per_second + self.regions / self.images_per_second) / 3600

    def as_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "embedding_hours": self.embedding_hours,
            "region_hours": self.region_hours,
        }


def plan(
    *,
    items: int,
    images: int,
    dims: int,
    quantisation: Quantisation | Literal["auto"] = "auto",
    server: tuple[int, int] = SERVER,
    m: int = 16,
    node_memory_bytes: int = 64 * GIB,
    replicas: int = 1,
    images_per_second: float | None = None,
    regions: float | None = None,
    searched_per_second: float | None = None,
) -> Plan:
    """Plan for ``images`` vectors of ``items`` items in version ``server`` of Elasticsearch.

    ``node_memory_bytes`` is a node's whole memory: half of it (up to 31 GB) goes to the Java heap and the rest
    to the page cache, which holds the vectors. ``regions`` is the mean number of regions per image, None without
    ``ITEM_REGIONS``.

    :raises BadQuery: for invalid numbers or an unknown quantisation.
    """
    if items < 1 or images < items:
        raise BadQuery(f"A plan needs at least one item and an image for each, not {items} items and {images} images.")
    if regions is not None and regions < 0:
        raise BadQuery(f"An image cannot have {regions} regions.")
    if not 1 <= dims <= 4096:
        raise BadQuery(f"{dims} dimensions cannot be indexed; Elasticsearch takes 1 to 4096.")
    version = Server(server)
    if quantisation == "auto":
        quantisation = version.quantisation(dims)
    if quantisation in QUANTISED and not version.supports(quantisation):
        raise BadQuery(f"Elasticsearch {server[0]}.{server[1]} does not have the quantisation {quantisation!r}.")
    if quantisation not in QUANTISED:
        raise BadQuery(f"{quantisation!r} is not a quantisation; it can be {format_choices(['auto', *QUANTISED])}.")
    full = 4.0 * dims
    graph = 4.0 * m
    quantised = QUANTISED[quantisation](dims)
    searched = (quantised or full) + graph
    backend = "local" if images <= LOCAL_LIMIT else "elasticsearch"
    disk = images * (full + quantised + graph) + items * METADATA_BYTES
    documents = images + items
    memory = images * full if backend == "local" else images * searched
    cache = node_memory_bytes - min(node_memory_bytes / 2, 31 * GIB)
    return Plan(
        items=items,
        images=images,
        dims=dims,
        backend=backend,
        server=f"{server[0]}.{server[1]}",
        quantisation=quantisation,
        index_options=index_options(Storage(quantisation, m, ef_construction=100, shards=1)),
        memory_bytes=round(memory),
        disk_bytes=round(disk),
        rebuild_disk_bytes=round(2 * disk),
        database_bytes=round(images * (full + ROW_BYTES)),
        shards=max(1, math.ceil(disk / SHARD_BYTES), math.ceil(documents / SHARD_DOCUMENTS)),
        nodes=max(1, math.ceil(memory * (1 + replicas) / cache)) if backend == "elasticsearch" else 0,
        replicas=replicas,
        images_per_second=images_per_second,
        regions=regions or 0.0,
        # A row for each image that was searched, and another with the vectors for each that shows several things.
        region_bytes=0 if regions is None else round(images * (2 * ROW_BYTES + regions * (full + REGION_BYTES))),
        searched_per_second=searched_per_second,
    )


SAMPLE = 32
REGIONS = 1.0
"""Things in a picture, where nothing is stored: what the built-in finder saw in pictures of a fashion shop."""
STORED = 1000
"""Rows that the stored mean is taken of."""
CATALOGUE_SIZE = (1000, 1300)


class Command(ImagesimCommand):
    help = "Plan memory, disk, shards and embedding time, from thousands to a billion images."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--items", type=int, required=True, help="number of products")
        parser.add_argument("--images", type=int, help="number of pictures (default: one per item)")
        parser.add_argument("--dims", type=int, help="length of a vector (default: that of the model)")
        parser.add_argument(
            "--model", help="an open_clip model, as in the setting EMBEDDER (default: the configured one)"
        )
        parser.add_argument("--pretrained", help="its weights, as in the setting EMBEDDER")
        parser.add_argument("--quantisation", default="auto", choices=["auto", *QUANTISED])
        parser.add_argument("--server", type=_version, default=SERVER, help="version of Elasticsearch (default 9.5)")
        parser.add_argument("-m", type=int, default=16, help="links per node of the HNSW graph (default 16)")
        parser.add_argument("--node-memory", type=float, default=64, help="memory of an Elasticsearch node in GiB (64)")
        parser.add_argument("--replicas", type=int, default=1)
        parser.add_argument(
            "--regions",
            type=float,
            help=f"with ITEM_REGIONS: things found in a picture, on average (default: as stored, else {REGIONS})",
        )
        parser.add_argument(
            "--no-measure", action="store_true", help="do not embed sample pictures to measure the speed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = self._plan(options)
        self.stdout.write(json.dumps(report) if options["format"] == "json" else _say(report))

    def _plan(self, options: dict[str, Any]) -> dict[str, Any]:
        backend = get_settings().EMBEDDER
        if options["model"]:
            chosen = {"model": options["model"]}
            if options["pretrained"]:
                chosen["pretrained"] = options["pretrained"]
            backend = type(backend)(backend.path, {**backend.options, **chosen})
        rate, searched, regions = None, None, options["regions"]
        if regions is None and get_settings().ITEM_REGIONS:
            regions = _stored_regions()
        dims = options["dims"]
        if not options["no_measure"] or dims is None:
            embedder = get_embedder(backend)
            dims = dims or embedder.dims
            if not options["no_measure"]:
                if options["verbosity"]:
                    self.stderr.write(
                        f"Embedding {SAMPLE} sample pictures of {CATALOGUE_SIZE[0]} × {CATALOGUE_SIZE[1]} …"
                    )
                rate = _measure(embedder)
                searched = _measure_finder() if regions is not None else None
        return plan(
            items=options["items"],
            images=options["images"] or options["items"],
            dims=dims,
            quantisation=options["quantisation"],
            server=options["server"],
            m=options["m"],
            node_memory_bytes=round(options["node_memory"] * GIB),
            replicas=options["replicas"],
            images_per_second=rate,
            regions=regions,
            searched_per_second=searched,
        ).as_dict()


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


def _measure(embedder: Any) -> float:
    """Return pictures per second on this machine, decoding included, after one batch to warm up."""
    data = _sample()
    embedder.embed_images([images.decode(data)] * 4)
    start = time.perf_counter()
    embedder.embed_images([images.decode(data) for _ in range(SAMPLE)])
    return SAMPLE / (time.perf_counter() - start)


def _measure_finder() -> float:
    """Return pictures per second that the region finder searches on this machine, after one to warm up."""
    finder, image = get_region_finder(), images.decode(_sample())
    finder.find(image)
    start = time.perf_counter()
    for _ in range(SAMPLE // 4):
        finder.find(image)
    return SAMPLE // 4 / (time.perf_counter() - start)


def _stored_regions() -> float:
    """Return the mean number of regions of the pictures that were searched last."""
    rows = list(ImageRegions.objects.order_by("-pk").values_list("regions", flat=True)[:STORED])
    return round(sum(map(len, rows)) / len(rows), 2) if rows else REGIONS


def _say(report: dict[str, Any]) -> str:
    local = report["backend"] == "local"
    rows = [
        ("Items, images", f"{report['items']:,}, {report['images']:,} of {report['dims']} dimensions"),
        ("Index", "local (exact, in the database)" if local else f"Elasticsearch {report['server']}"),
        ("Database, embeddings", _size(report["database_bytes"])),
    ]
    if local:
        rows.append(("Memory, each process", _size(report["memory_bytes"])))
    else:
        rows += [
            ("index_options", json.dumps(report["index_options"])),
            ("Page cache, one copy", _size(report["memory_bytes"])),
            (
                "Disk, one copy",
                f"{_size(report['disk_bytes'])} ({_size(report['rebuild_disk_bytes'])} while rebuilding)",
            ),
            ("Copies", f"1 primary + {report['replicas']} replica(s)"),
            ("Shards, nodes", f"{report['shards']}, {report['nodes']}"),
        ]
    if report["embedding_hours"] is not None:
        rows.append(
            (
                "Embedding, this machine",
                f"{report['embedding_hours']:.2f} h ({report['images_per_second']:.1f} images/s measured)",
            )
        )
    if report["region_bytes"]:
        rows.append(("Database, regions", f"{_size(report['region_bytes'])} ({report['regions']:g} in a picture)"))
    if report["region_hours"] is not None:
        rate = f"{report['searched_per_second']:.1f} images/s searched, each thing embedded"
        rows.append(("Regions, this machine", f"{report['region_hours']:.2f} h ({rate})"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
