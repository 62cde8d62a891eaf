"""Keep the calibration, the counts and the measured recall of an index up to date, outside of any request."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.utils import timezone

from imagesim.database import stored_array
from imagesim.exceptions import ImagesimError
from imagesim.indexes import get_index
from imagesim.indexes.projections import project
from imagesim.indexes.statistics import IndexStatistics, Probe
from imagesim.indexing.calibrate import calibrate_quietly, embed_words, is_outgrown
from imagesim.items.registry import make_key
from imagesim.models import Embedding, ItemImage
from imagesim.runtime import runtime
from imagesim.types import Filters, IndexMeta

if TYPE_CHECKING:
    from imagesim.types import Vector

logger = logging.getLogger("imagesim.indexing")

CHECK_SECONDS = 60.0
"""How often a process that syncs looks whether the index has grown."""
COUNT_SECONDS = 3600.0
"""How often it counts the entries again in any case."""
GROWTH = 1.5
"""An index that has grown by this factor is calibrated, counted and measured again after a sync."""
FILLING_GROWTH = 3
"""The same for a calibration between the batches of a sync."""
MEASURE_AGE = timedelta(hours=6)
"""A reconcile measures again after this time, or if the number of entries has changed by a fifth."""
IMAGES = 200
WORDS = 40
HEARTBEAT_SECONDS = 5.0


@dataclass
class _Checked:
    batch: float = 0.0
    entries: int = 0
    look: float = 0.0
    count: float = 0.0


def calibrate_while_filling() -> None:
    """Calibrate the index between the batches of a sync, if it has grown several-fold: visitors search while it is
    filled, which can take hours."""
    checked = runtime.get(("growth checked", get_index().name), _Checked)
    now = monotonic()
    if now < checked.batch:
        return
    checked.batch = now + CHECK_SECONDS
    with suppress(ImagesimError, DatabaseError):  # it can wait until the index can be reached
        if is_outgrown(FILLING_GROWTH, known=checked.entries):
            calibrate_quietly(filled=False)
            checked.entries = get_index().count()


def update_if_grown() -> None:
    """Calibrate and measure the index after a sync, if it was filled or has grown since; count it once an hour."""
    index = get_index()
    checked = runtime.get(("growth checked", index.name), _Checked)
    now = monotonic()
    if now < checked.look:
        return
    checked.look = now + CHECK_SECONDS
    try:
        if is_outgrown(GROWTH):
            calibrate_quietly()
        if not index.supports_approximate:
            return
        known = index.statistics() or IndexStatistics()
        grown = index.count() >= GROWTH * max(known.entries, 1)
    except (ImagesimError, DatabaseError):
        return  # it can wait until the index can be reached
    if grown or now >= checked.count:
        update_quietly(measure=grown)
        checked.count = monotonic() + COUNT_SECONDS


def update_when_reconciled(backing_index: str) -> None:
    """Calibrate and count an index; measure it if the last measurement is old or its number of entries has changed."""
    calibrate_quietly(backing_index)
    index = get_index()
    try:
        known = index.statistics(backing_index)
        recall = known.recall if known else None
        count = index.count(backing_index=backing_index) if recall else 0
    except ImagesimError as error:
        logger.warning("the recall could not be read: %s", error)
        return
    young = recall and timezone.now() - datetime.fromisoformat(recall.measured_at) < MEASURE_AGE
    same = recall and 0.8 * recall.entries <= count <= 1.2 * recall.entries
    update_quietly(backing_index, measure=not (young and same))


def update_quietly(
    backing_index: str | None = None, *, measure: bool = True, heartbeat: Callable[[], None] = lambda: None
) -> None:
    """Count the entries and measure the recall; a failure is logged, and the previous values stay in use.

    ``heartbeat`` is called every few seconds; its exceptions propagate.
    """
    index = get_index()
    if not index.supports_approximate:
        return
    try:
        backing_index = backing_index or index.active()  # the same one until the end, even across a swap
        index.update_statistics(backing_index)
        if measure and (index.statistics(backing_index) or IndexStatistics()).entries:
            probes = _probes(index.meta(backing_index), backing_index)
            index.measure_recall(probes, backing_index=backing_index, progress=_every(HEARTBEAT_SECONDS, heartbeat))
    except (ImagesimError, DatabaseError) as error:
        logger.warning("the index could not be measured: %s", error, extra={"event_name": "statistics.failed"})


def _every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    last = monotonic()

    def limited() -> None:
        nonlocal last
        if monotonic() - last >= seconds:
            last = monotonic()
            call()

    return limited


def _probes(meta: IndexMeta, backing_index: str | None) -> list[Probe]:
    """Return randomly chosen stored vectors, and the names of categories as words if the model embeds texts."""
    import numpy as np

    found = _stored(meta.fingerprint)
    keys = _keys(list(found))
    probes = []
    if found:
        vectors = project(np.stack(list(found.values())), meta.projection)
        probes = [Probe(vector, keys.get(digest, "")) for digest, vector in zip(found, vectors, strict=True)]
    counted = get_index().facets(Filters(), ["category"], backing_index=backing_index)["category"]
    words = embed_words(meta, [str(name) for name, _count in counted.values][:WORDS])
    return probes + [Probe(vector, words=True) for vector in (words[0] if words else ())]


def _stored(fingerprint: str) -> Mapping[str, Vector]:
    """Return vectors by digest. A digest is a hash: those that follow a random one are a random sample."""
    rows = Embedding.objects.filter(fingerprint=fingerprint).order_by("digest").values_list("digest", "vector")
    start = secrets.token_hex(32)
    found = {digest: stored_array(vector) for digest, vector in rows.filter(digest__gte=start)[:IMAGES]}
    if len(found) < IMAGES:
        before = rows.filter(digest__lt=start)[: IMAGES - len(found)]
        found |= {digest: stored_array(vector) for digest, vector in before}
    return found


def _keys(digests: list[str]) -> dict[str, str]:
    rows = ItemImage.objects.filter(digest__in=digests).values_list("digest", "state__model", "state__object_pk")
    return {digest: make_key(label, pk) for digest, label, pk in rows}
