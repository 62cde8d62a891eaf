"""Delete what no item uses: states of items deleted long ago, embeddings, regions, thumbnails.

A reconcile does so, and a rebuild deletes what former models have made.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.files.storage import Storage
from django.db import DatabaseError
from django.db.models import QuerySet
from django.utils import timezone

from imagesim import thumbnails
from imagesim.database import atomic, delete, delete_in_batches, pages, primary, retry_conflicts
from imagesim.embedders import get_embedder
from imagesim.exceptions import ImagesimError
from imagesim.indexing.documents import Outcome
from imagesim.models import Embedding, EmbeddingLease, ImageColours, ImageRegions, ItemImage, ItemState, RegionVectors
from imagesim.regions import get_region_fingerprint

logger = logging.getLogger("imagesim.indexing.sync")

UNUSED_AGE = timedelta(days=1)
"""What is younger is kept, because its item can be in the middle of a sync."""
CHUNK = 500
TOMBSTONE_AGE = timedelta(days=1)
"""How long the state of a deleted item is kept; longer than any write can be delayed."""

UNKNOWN_MODEL = "Embeddings are not purged, because the configured models have no fingerprint: %s"


def purge_tombstones(since: datetime) -> int:
    """Delete the states of items that were removed long ago; return how many."""
    old = primary(ItemState).filter(outcome=Outcome.REMOVED, pending=False, synced_at__lt=since - TOMBSTONE_AGE)
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:CHUNK]):
        count += _delete_still(old, pks)
    return count


@retry_conflicts
def _delete_still(old: QuerySet[ItemState], pks: list[int]) -> int:
    """Delete those that are still old; return how many. Who creates such an item again waits, and makes a new row."""
    token = secrets.token_hex(16)
    with atomic(ItemState):
        old.filter(pk__in=pks).update(lease=token)  # takes the locks
        return primary(ItemState).filter(pk__in=pks, lease=token).delete()[1].get(ItemState._meta.label, 0)


def purge_unused(fingerprints: set[str], since: datetime, dry_run: bool, report: dict[str, int]) -> None:
    """Delete what is stored of images that no item has, and of models and region finders that neither an index nor the
    settings use. With ``dry_run`` it is only counted.
    """
    before = since - UNUSED_AGE
    if not dry_run:
        delete(EmbeddingLease.objects.filter(until__lt=before))  # of workers that died
    try:
        fingerprints = fingerprints | {get_embedder().fingerprint}
        finder = get_region_fingerprint()
    except ImagesimError as error:
        logger.warning(UNKNOWN_MODEL, error)
        return
    embeddings = Embedding.objects.filter(created_at__lt=before).defer("vector")
    report["embeddings"] = _purge(embeddings, dry_run, lambda row: row.fingerprint in fingerprints)
    regions = ImageRegions.objects.filter(created_at__lt=before).defer("regions")
    report["regions"] = _purge(regions, dry_run, lambda row: row.finder == finder)
    if not dry_run:
        _purge(ImageColours.objects.filter(created_at__lt=before), dry_run)
        _purge_region_vectors(fingerprints, before)


def purge_former_models(fingerprints: set[str]) -> int:
    """Delete the embeddings of models that are neither in ``fingerprints`` nor in the settings; return how many."""
    before = timezone.now() - UNUSED_AGE
    try:
        kept = fingerprints | {get_embedder().fingerprint}
    except ImagesimError as error:  # a service that does not answer; the next reconcile deletes them
        logger.warning(UNKNOWN_MODEL, error)
        return 0
    _purge_region_vectors(kept, before)
    return delete_in_batches(Embedding.objects.filter(created_at__lt=before).exclude(fingerprint__in=kept))


def _purge_region_vectors(fingerprints: set[str], before: datetime) -> None:
    delete_in_batches(RegionVectors.objects.filter(image__created_at__lt=before).exclude(fingerprint__in=fingerprints))


def purge_thumbnails(dry_run: bool) -> int:
    """Delete the thumbnails of pictures that no item has any more; return how many."""
    return sum(_purge_thumbnails(storage, dry_run) for storage in thumbnails.storages())


def _purge_thumbnails(storage: Storage, dry_run: bool) -> int:
    try:
        unused = set(thumbnails.stored(storage))
        if not unused:  # of most storages
            return 0
        for page in pages(primary(ItemImage).only("name"), CHUNK):
            names = (thumbnails.file_name(image.name, width) for image in page for width in thumbnails.WIDTHS)
            unused.difference_update(names)
        for name in () if dry_run else unused:
            thumbnails.delete(storage, name)
    except DatabaseError:
        raise
    except Exception as error:  # storages raise errors of their own clients, and some list nothing
        # Its class: the default storage is wrapped in an object that does not name it.
        logger.warning("Thumbnails are not purged in %s: %r", storage.__class__.__name__, error)
        return 0
    return len(unused)


def _purge(old: QuerySet[Any], dry_run: bool, is_current: Callable[[Any], bool] = lambda row: True) -> int:
    """Delete the rows, each of one image, whose image no item has, and those that are not current; return how many."""
    count = 0
    for page in pages(old, CHUNK):
        digests = {row.digest for row in page}
        used = set(primary(ItemImage).filter(digest__in=digests).values_list("digest", flat=True))
        unused = [row.pk for row in page if row.digest not in used or not is_current(row)]
        count += len(unused)
        if unused and not dry_run:
            delete(old.model._base_manager.filter(pk__in=unused))
    return count
