"""The regions of items' own images: found once for each image, and embedded once for each model, by the sync.

A page that shows them therefore reads two tables and loads no model. Regions are not part of an entry: an image whose
regions cannot be found is still indexed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imagesim import images
from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.database import insert_new, retry_conflicts
from imagesim.embedders import BaseEmbedder
from imagesim.exceptions import BadImage, ConfigurationError, EmbedderError
from imagesim.indexing.documents import Document
from imagesim.indexing.embedding import checked, require_works
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS
from imagesim.indexing.pictures import Picture
from imagesim.indexing.write_targets import Target, embedders_of
from imagesim.metrics import timed
from imagesim.models import ImageRegions, RegionVectors
from imagesim.regions import NoRegions, comparable, get_region_finder, get_region_fingerprint
from imagesim.regions.lite import shows_one_thing
from imagesim.types import Region

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("imagesim.indexing.sync")

PLACES = 4
"""Decimal places of a stored box: a tenth of a pixel of a large photo."""


def find_regions(
    documents: Iterable[Document], targets: Sequence[Target], renew: Callable[[], object] = lambda: None
) -> int:
    """Find and store the regions of the images of ``documents`` that have none yet; return how many were opened.

    Only those images are opened, one at a time; ``renew`` is called after each. If the finder or a model does not work,
    or a model fails on the regions of an image, this is logged, and the next reconcile tries again.
    """
    if not is_on():
        return 0
    pictures = {
        picture.digest: picture
        for document in documents
        for picture in document.pictures or ()
        if picture.digest and not picture.error
    }
    count = 0
    try:
        embedders = embedders_of(targets)
        for digest in without_regions(pictures, embedders):
            count += _find(pictures[digest], embedders)
            renew()
    except (EmbedderError, ConfigurationError) as error:
        log_repeated(logger, logging.WARNING, "item_regions", "regions of items cannot be found: %s", error)
    return count


def is_on() -> bool:
    """Return whether the settings ask for regions of items, and name a finder that is installed."""
    if not get_settings().ITEM_REGIONS:
        return False
    finder = get_region_finder()
    return not isinstance(finder, NoRegions) and not finder.check()


def without_regions(digests: Collection[str], fingerprints: Iterable[str]) -> list[str]:
    """Return the images that the configured finder has not searched, or whose regions a model has not embedded."""
    if not digests or not is_on():
        return []
    rows = ImageRegions.objects.filter(finder=get_region_fingerprint(), digest__in=set(digests))
    known = {row.digest: row for row in rows.prefetch_related("vectors")}
    wanted = set(fingerprints)
    return [
        digest
        for digest in digests
        if digest not in known
        or (known[digest].regions and wanted - {each.fingerprint for each in known[digest].vectors.all()})
    ]


@timed("regions.item")
def _find(picture: Picture, embedders: Mapping[str, BaseEmbedder]) -> bool:
    """Find and embed the regions of one image, as far as they are missing; return whether it was opened.

    :raises EmbedderError: if the finder or a model does not work.
    """
    try:
        data = images.read(picture.file)
        if images.digest(data) != picture.digest:
            return False  # replaced in the meantime, which is a separate change
        image = images.decode(data)
    except INFRASTRUCTURE_ERRORS:
        raise
    except Exception as error:  # the storage's own errors too
        level = logging.DEBUG if isinstance(error, BadImage) else logging.WARNING
        logger.log(level, "%s cannot be opened for its regions: %s", picture.name, error)
        return False
    finder = get_region_fingerprint()
    row = ImageRegions.objects.filter(digest=picture.digest, finder=finder).first()
    if row is None:
        stored = [_as_json(region) for region in _regions_in(image, picture.name)]
        row = _store(picture.digest, finder, stored)
    boxes = row.boxes
    known = set(row.vectors.values_list("fingerprint", flat=True))
    for fingerprint, embedder in embedders.items():
        if boxes and fingerprint not in known:
            _embed(row, boxes, image, embedder, picture.name)
    return True


def _regions_in(image: Image, name: str) -> list[Region]:
    """Return the regions to mark in the image: none if one thing fills it, or if the finder fails on it.

    :raises EmbedderError: if the finder fails on a plain image too.
    """
    finder = get_region_finder()
    try:
        found = comparable(finder.find(image), image.size)
    except (EmbedderError, ConfigurationError, *INFRASTRUCTURE_ERRORS):
        raise
    except Exception as error:
        _require_works(finder, error)
        logger.warning("the region finder fails on %s: %s", name, error)
        return []
    return [] if shows_one_thing(image, found) else found


def _require_works(finder: Any, error: Exception) -> None:
    from PIL import Image

    plain = Image.new("RGB", (64, 64), "grey")
    try:
        comparable(finder.find(plain), plain.size)
    except Exception:
        log_repeated(logger, logging.ERROR, "finder", "the region finder fails", exc_info=error)
        raise EmbedderError(f"The region finder fails: {type(error).__name__}: {error}") from error


def _embed(row: ImageRegions, boxes: Sequence[Region], image: Image, embedder: BaseEmbedder, name: str) -> None:
    """Embed the regions of an image and store their vectors; none if the model fails on them.

    :raises EmbedderError: if the model fails on a plain image too.
    """
    crops = [images.reduced(image, embedder.min_decode_side, box.pixels(image.size)) for box in boxes]
    try:
        vectors = checked(embedder.embed_images(crops), len(crops), embedder)
    except (ConfigurationError, *INFRASTRUCTURE_ERRORS):
        raise
    except Exception as error:
        require_works(embedder, error)
        logger.warning("the model fails on the regions of %s: %s", name, error)
        return
    content = vectors.astype("<f4").tobytes()
    insert_new([RegionVectors(image=row, fingerprint=embedder.fingerprint, vectors=content)])


@retry_conflicts
def _store(digest: str, finder: str, regions: list[dict[str, Any]]) -> ImageRegions:
    row, _new = ImageRegions.objects.get_or_create(digest=digest, finder=finder, defaults={"regions": regions})
    return row


def _as_json(region: Region) -> dict[str, Any]:
    stored = asdict(region)
    for side in ("x", "y", "width", "height", "score"):
        stored[side] = round(stored[side], PLACES)
    return stored
