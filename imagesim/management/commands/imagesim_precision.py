"""``manage.py imagesim_precision``: choose the fastest precision that keeps the answers, with the shop's own
pictures."""

from __future__ import annotations

import random
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from imagesim import images
from imagesim.embedders import get_embedder
from imagesim.items.registry import registry
from imagesim.management import ImagesimCommand, at_least

if TYPE_CHECKING:
    from PIL.Image import Image


class Command(ImagesimCommand):
    help = (
        "Try the model in every precision that this machine supports, on the shop's pictures, and from now on use the "
        "fastest one that keeps the answers. With the extra 'openvino', this includes int8. No rebuild is needed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--pictures", type=at_least(1), default=384, help="number of pictures, chosen at random (default 384)"
        )
        parser.add_argument("--folder", type=Path, help="use pictures from this folder instead of the shop's")

    def handle(self, *args: Any, format: str, pictures: int, folder: Path | None, **options: Any) -> None:
        embedder = get_embedder()
        if folder and not folder.is_dir():
            raise CommandError(f"There is no folder {folder}.")
        choose = getattr(embedder, "choose_precision", None)
        if choose is None:
            raise CommandError(f"{type(embedder).__name__} has no precision to choose.")
        files = _in_folder(folder) if folder else _in_shop(pictures)
        decoded: list[Image] = []
        for file in files:
            try:
                decoded.append(images.decode(images.read(file), min_decode_side=embedder.min_decode_side))
            except Exception as error:  # storages raise errors of their own clients, not only OSError
                self.stderr.write(f"skipped {file.name}: {error}")
            if len(decoded) == pictures:
                break
        chosen, tried = choose(decoded)
        facts = {"chosen": chosen, "pictures": len(decoded), "tried": [{**asdict(t), "holds": t.holds} for t in tried]}
        self.emit(facts, format, "\n".join([*map(str, tried), f"chosen: {chosen}"]))


def _in_folder(folder: Path) -> Iterator[Any]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    random.Random(0).shuffle(paths)
    for path in paths:
        with path.open("rb") as file:
            yield file


def _in_shop(count: int) -> Iterator[Any]:
    for items in registry:
        for item in items.get_queryset().order_by("?")[:count]:
            yield from list(items.get_images(item))[:1]
