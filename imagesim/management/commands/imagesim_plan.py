"""``manage.py imagesim_plan``: estimate the memory, disk and time that a catalogue of a given size needs."""

from __future__ import annotations

import io
import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from imagesim import images
from imagesim.conf import get_settings
from imagesim.embedders import get_embedder
from imagesim.evaluation.planning import GIB, QUANTISED, SERVER, plan
from imagesim.management.base import ImagesimCommand

SAMPLE = 32
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
        rate = None
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
        ).as_dict()


def _version(text: str) -> tuple[int, int]:
    try:
        major, minor = text.split(".")[:2]
        return int(major), int(minor)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a version such as 8.19 or 9.5") from None


def _measure(embedder: Any) -> float:
    """Return pictures per second on this machine, decoding included, after one batch to warm up."""
    from PIL import Image

    file = io.BytesIO()
    # Enlarged noise of a low resolution compresses about as well as a photo.
    Image.effect_noise((125, 163), 60).resize(CATALOGUE_SIZE).convert("RGB").save(file, "JPEG", quality=88)
    data = file.getvalue()
    embedder.embed_images([images.decode(data)] * 4)
    start = time.perf_counter()
    embedder.embed_images([images.decode(data) for _ in range(SAMPLE)])
    return SAMPLE / (time.perf_counter() - start)


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
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
