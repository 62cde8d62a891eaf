"""Leases on embeddings: if several workers need the same one, only the first computes it."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from imagesim.database import retry_conflicts
from imagesim.models import EmbeddingLease

LEASE_SECONDS = 120
"""The time after which a worker that leased an embedding and did not store it is considered dead."""

EmbeddingKey = tuple[str, str]
"""(digest, fingerprint)"""


class EmbeddingLeases:
    """The leases on embeddings of this worker: if several need the same embedding, only the first computes it."""

    def __init__(self) -> None:
        self._worker = secrets.token_hex(16)
        self._leased = False

    @retry_conflicts
    def lease(self, wanted: Collection[EmbeddingKey]) -> set[EmbeddingKey]:
        """Lease embeddings; return those of ``wanted`` that this worker has to compute."""
        if not wanted:
            return set()
        self._leased = True
        now = timezone.now()
        by_fingerprint: dict[str, list[str]] = {}
        for digest, fingerprint in wanted:
            by_fingerprint.setdefault(fingerprint, []).append(digest)
        which = Q()
        for fingerprint, digests in by_fingerprint.items():
            which |= Q(fingerprint=fingerprint, digest__in=digests)
        EmbeddingLease.objects.filter(which, until__lt=now).delete()
        until = now + timedelta(seconds=LEASE_SECONDS)
        EmbeddingLease.objects.bulk_create(
            [
                EmbeddingLease(digest=digest, fingerprint=fingerprint, worker=self._worker, until=until)
                for digest, fingerprint in sorted(wanted)  # in one order everywhere, so that workers do not deadlock
            ],
            ignore_conflicts=True,
        )
        ours = EmbeddingLease.objects.filter(which, worker=self._worker)
        return set(ours.values_list("digest", "fingerprint")) & set(wanted)

    @retry_conflicts
    def release(self) -> None:
        """Release all leases, whether the embeddings were computed or not."""
        if self._leased:
            EmbeddingLease.objects.filter(worker=self._worker).delete()
            self._leased = False
