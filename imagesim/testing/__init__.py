"""Helpers for the tests of shops, and of custom indexes and embedders. Nothing else in the package imports them.

``imagesim.testing.fixtures`` offers the same to pytest; the contracts are in ``index_contract`` and
``embedder_contract``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.test import override_settings
from PIL import Image, ImageDraw

from imagesim.conf import Settings

if TYPE_CHECKING:
    from imagesim.indexing.sync import SyncReport

# pytest explains failed assertions only in modules that it rewrote before they were imported.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        "imagesim.testing.embedder_contract",
        "imagesim.testing.index_contract",
        "imagesim.testing.index_filters",
        "imagesim.testing.index_history",
        "imagesim.testing.index_japanese",
        "imagesim.testing.index_languages",
        "imagesim.testing.index_mentions",
        "imagesim.testing.index_numbers",
        "imagesim.testing.index_reading",
        "imagesim.testing.index_samples",
        "imagesim.testing.index_text",
        "imagesim.testing.index_writing",
    )

SETTINGS: dict[str, Any] = {
    "EMBEDDER": {"BACKEND": "imagesim.testing.embedders.PixelEmbedder"},
    "INDEX": {"BACKEND": "imagesim.indexes.local.LocalIndex"},
    "REGIONS": {"BACKEND": "imagesim.regions.NoRegions"},
    "SYNC": "manual",
    "WARM_UP": False,
    "MIN_RELEVANCE": 0.0,  # a few single-coloured pictures are not enough for a calibration
    # Tests do not roll back the cache, so neither answers nor counts of requests may pass from one test to the next.
    "SIMILAR_SECONDS": 0,
    "REST_THROTTLES": dict.fromkeys(Settings().REST_THROTTLES),
}
"""``IMAGESIM`` for tests: no model, no server, no thread and no message; no answer is cached, and no request is
throttled."""


def override_imagesim(**changes: Any) -> override_settings:
    """Return ``django.test.override_settings`` with :data:`SETTINGS` and these changes over the project's own
    ``IMAGESIM``."""
    return override_settings(IMAGESIM={**getattr(settings, "IMAGESIM", {}), **SETTINGS, **changes})


def make_picture(colour: object = "red", *, mark: int = 0, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Return an image of one colour with a black stripe, whose position ``mark`` (0..7) distinguishes images of that
    colour.

    ``size`` is (width, height) in pixels. To the embedder of :data:`SETTINGS`, images of similar colours are similar.
    """
    image = Image.new("RGB", size, colour)  # type: ignore[arg-type]
    width, height = size
    ImageDraw.Draw(image).rectangle((mark * width // 8, 0, (mark + 1) * width // 8, height), fill="black")
    return image


def picture_file(
    colour: object = "red", *, name: str = "picture.png", mark: int = 0, size: tuple[int, int] = (64, 64)
) -> ContentFile[bytes]:
    """Return :func:`make_picture` as a PNG file, for an ``ImageField`` or an upload."""
    buffer = BytesIO()
    make_picture(colour, mark=mark, size=size).save(buffer, "PNG")
    return ContentFile(buffer.getvalue(), name)


@contextmanager
def sync_inline() -> Iterator[SyncReport]:
    """Bring the index up to date at the end of the block, in this thread and in the transaction that is open.

    Yields the report, which is filled in at the end. Searches after the block read what it wrote, and each costs the
    same number of database queries, because everything that the first one would load is already loaded.

    :raises RuntimeError: if the sync was interrupted, with the reason.
    """
    import numpy as np

    from imagesim.embedders import BaseEmbedder
    from imagesim.indexes import get_index
    from imagesim.indexing.sync import SyncReport, sync
    from imagesim.items.registry import registry
    from imagesim.retrieval import rerank
    from imagesim.retrieval.filters import wider_categories
    from imagesim.retrieval.relevance import calibration_of
    from imagesim.runtime import runtime
    from imagesim.types import Query

    report = SyncReport()
    yield report
    # A transaction that an earlier test rolled back may have left its entries in the local index's memory.
    runtime.reset(keep=lambda value: isinstance(value, BaseEmbedder))
    vars(report).update(vars(sync()))
    if report.interrupted:
        raise RuntimeError(f"The index was not brought up to date: {report.interrupted}")
    index = get_index()
    index.refresh()
    index.search([Query(np.ones(index.meta().dims, dtype=np.float32), limit=1)])
    calibration_of(index.meta())
    rerank.active().version  # noqa: B018  # reads the rules
    for items in registry:
        wider_categories([items], ())
