"""The fitted linear map between embedder and index: fewer dimensions, or tuned to the shop's catalogue.

Embeddings are kept as the model made them; the map is applied on the way into the index and to
every query. So a change of projection re-indexes from stored embeddings and never embeds again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import transaction

from imagesim.exceptions import ConfigurationError, IndexMissing
from imagesim.models import FittedProjection

if TYPE_CHECKING:
    from imagesim.types import Vector


@dataclass(frozen=True, eq=False)
class Projection:
    """``matrix`` of shape (dims_in, dims_out), float32, for the vectors of the model ``fingerprint``."""

    fingerprint: str
    kind: str
    matrix: Vector
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def dims_in(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def dims_out(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def id(self) -> str:
        """SHA-256 of what it does: the same map has the same id everywhere."""
        return hashlib.sha256(f"{self.fingerprint}:{self.matrix.shape}:".encode() + self._bytes()).hexdigest()

    def apply(self, vectors: Vector) -> Vector:
        """(n, dims_in) or (dims_in,) -> the same with dims_out, rows of unit length again."""
        return transform(vectors, self.matrix)

    def save(self) -> FittedProjection:
        row, _ = FittedProjection.objects.update_or_create(
            id=self.id,
            defaults={
                "fingerprint": self.fingerprint,
                "kind": self.kind,
                "dims_in": self.dims_in,
                "dims_out": self.dims_out,
                "matrix": self._bytes(),
                "report": self.report,
            },
        )
        return row

    def _bytes(self) -> bytes:
        return self.matrix.astype("<f4").tobytes()


def transform(vectors: Vector, matrix: Vector) -> Vector:
    """Vectors (n, d) or (d,) through a linear map (d, d'), of unit length again."""
    import numpy as np

    mapped = vectors @ matrix
    unit: Vector = (mapped / np.maximum(np.linalg.norm(mapped, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
    return unit


@lru_cache(maxsize=4)
def get_projection(projection_id: str) -> Projection | None:
    """The projection an index names in its meta; None for the empty id.

    :raises IndexMissing: if it is gone, so that the index cannot be queried.
    """
    if not projection_id:
        return None
    import numpy as np

    try:
        row = FittedProjection.objects.get(pk=projection_id)
    except FittedProjection.DoesNotExist:
        raise IndexMissing(
            f"The index was made with the projection {projection_id[:12]}, which is gone; "
            "run `manage.py imagesim_rebuild`."
        ) from None
    matrix = np.frombuffer(bytes(row.matrix), dtype="<f4").reshape(row.dims_in, row.dims_out)
    return Projection(row.fingerprint, row.kind, matrix, row.report)


def get_chosen(fingerprint: str) -> FittedProjection | None:
    """What the next rebuild with this model applies."""
    return FittedProjection.objects.filter(chosen=True, fingerprint=fingerprint).first()


def choose(projection_id: str | None) -> None:
    """Have the next rebuild apply this projection, or none.

    :raises ConfigurationError: if there is no such projection; nothing changes then.
    """
    with transaction.atomic():
        if projection_id and not FittedProjection.objects.filter(pk=projection_id).exists():
            raise ConfigurationError(
                f"There is no projection {projection_id!r}; run `manage.py imagesim_tune` to fit one."
            )
        FittedProjection.objects.filter(chosen=True).update(chosen=False)
        if projection_id:
            FittedProjection.objects.filter(pk=projection_id).update(chosen=True)
