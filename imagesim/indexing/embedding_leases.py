"""Who makes which embedding: of the workers that need the same one at the same time, only the first."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from imagesim.models import EmbeddingLease

SECONDS = 120
"""After so long a worker that claimed an embedding and did not make it is taken for dead."""

Wanted = tuple[str, str]
"""(digest, fingerprint)"""


class EmbeddingLeases:
    """The embeddings this worker has claimed."""

    def __init__(self) -> None:
        self._worker = secrets.token_hex(16)
        self._leased = False

    def lease(self, wanted: Collection[Wanted]) -> set[Wanted]:
        """Those of ``wanted`` that are now this worker's to make; the others are being made elsewhere."""
        if not wanted:
            return set()
        self._leased = True
        now = timezone.now()
        which = _which(wanted)
        EmbeddingLease.objects.filter(which, until__lt=now).delete()
        EmbeddingLease.objects.bulk_create(
            [
                EmbeddingLease(
                    digest=digest, fingerprint=fingerprint, worker=self._worker, until=now + timedelta(seconds=SECONDS)
                )
                for digest, fingerprint in sorted(wanted)  # in one order everywhere, so that no two wait for each other
            ],
            ignore_conflicts=True,
        )
        ours = EmbeddingLease.objects.filter(which, worker=self._worker)
        return set(ours.values_list("digest", "fingerprint")) & set(wanted)

    def release(self) -> None:
        """Give up all that was claimed, made or not."""
        if self._leased:
            EmbeddingLease.objects.filter(worker=self._worker).delete()
            self._leased = False


def _which(wanted: Iterable[Wanted]) -> Q:
    by_fingerprint: dict[str, list[str]] = {}
    for digest, fingerprint in wanted:
        by_fingerprint.setdefault(fingerprint, []).append(digest)
    which = Q()
    for fingerprint, digests in by_fingerprint.items():
        which |= Q(fingerprint=fingerprint, digest__in=digests)
    return which
