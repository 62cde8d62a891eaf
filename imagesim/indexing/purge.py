"""Delete what a reconcile finds no item to use: states of items deleted long ago, embeddings and regions."""

from __future__ import annotations

import logging
import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from imagesim.database import delete, pages, retry_conflicts
from imagesim.embedders import get_embedder
from imagesim.exceptions import ConfigurationError
from imagesim.indexing import item_regions
from imagesim.indexing.documents import Outcome
from imagesim.indexing.outbox import state_alias
from imagesim.models import Embedding, EmbeddingLease, ImageColours, ItemImage, ItemState
from imagesim.regions import get_region_fingerprint

logger = logging.getLogger("imagesim.indexing.sync")

EMBEDDING_AGE = timedelta(days=1)
"""Younger embeddings are kept, because their item can be in the middle of a sync."""
TOMBSTONE_AGE = timedelta(days=1)
"""How long the state of a deleted item is kept; longer than any write can be delayed."""


def purge_tombstones(since: datetime, size: int) -> int:
    """Delete the states of items that were removed long ago; return how many."""
    states = ItemState.objects.using(state_alias())
    old = states.filter(outcome=Outcome.REMOVED, pending=False, synced_at__lt=since - TOMBSTONE_AGE)
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:size]):
        count += _delete_still(old, pks)
    return count


@retry_conflicts
def _delete_still(old: QuerySet[ItemState], pks: list[int]) -> int:
    """Delete those that are still old; return how many. Who creates such an item again waits, and makes a new row."""
    token = secrets.token_hex(16)
    states = ItemState.objects.using(old.db)
    with transaction.atomic(using=old.db):
        old.filter(pk__in=pks).update(lease=token)  # takes the locks
        return states.filter(pk__in=pks, lease=token).delete()[1].get(ItemState._meta.label, 0)


def purge_unused(fingerprints: set[str], since: datetime, dry_run: bool, report: dict[str, int], size: int) -> None:
    """Delete embeddings and regions of images that no item has, and what belongs to models and region finders that
    neither an index nor the settings use. With ``dry_run`` they are only counted.
    """
    before, using = since - EMBEDDING_AGE, state_alias()
    if not dry_run:
        delete(EmbeddingLease.objects.filter(until__lt=before))  # of workers that died
    try:
        fingerprints = fingerprints | {get_embedder().fingerprint}
        finder = get_region_fingerprint()
    except ConfigurationError as error:
        logger.warning("Embeddings are not purged, because the configured models have no fingerprint: %s", error)
        return
    report["embeddings"] = _purge_embeddings(fingerprints, since, dry_run, size)
    if not dry_run:
        _purge_colours(before, size)
    report["regions"] = item_regions.purge(before, finder, fingerprints, using=using, dry_run=dry_run)


def _purge_colours(before: datetime, size: int) -> None:
    """Delete the colours of images that no item has."""
    for page in pages(ImageColours.objects.filter(created_at__lt=before), size):
        digests = {row.digest for row in page}
        used = set(ItemImage.objects.using(state_alias()).filter(digest__in=digests).values_list("digest", flat=True))
        if digests - used:
            delete(ImageColours.objects.filter(digest__in=digests - used))


def _purge_embeddings(fingerprints: set[str], since: datetime, dry_run: bool, size: int) -> int:
    old = Embedding.objects.filter(created_at__lt=since - EMBEDDING_AGE).defer("vector")
    count = 0
    for page in pages(old, size):
        digests = {embedding.digest for embedding in page if embedding.fingerprint in fingerprints}
        used = set(ItemImage.objects.using(state_alias()).filter(digest__in=digests).values_list("digest", flat=True))
        unused = [e.pk for e in page if e.digest not in used or e.fingerprint not in fingerprints]
        count += len(unused)
        if unused and not dry_run:
            delete(Embedding.objects.filter(pk__in=unused))
    return count
