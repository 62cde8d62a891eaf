"""The fitted linear projection between embedder and index: fewer dimensions, or tuned to the shop's catalogue.

Embeddings are stored as the model made them; the projection is applied to entries and to queries. A change of
projection reindexes from the stored embeddings and embeds nothing again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from imagesim.database import atomic, put, retry_conflicts, stored_array
from imagesim.exceptions import ConfigurationError, IndexMissing
from imagesim.indexes.tables import FittedProjection

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
        """SHA-256 of the model and the matrix: equal projections have equal ids."""
        return hashlib.sha256(f"{self.fingerprint}:{self.matrix.shape}:".encode() + self._bytes()).hexdigest()

    def apply(self, vectors: Vector) -> Vector:
        """Project vectors of shape (n, dims_in) or (dims_in,) to dims_out, normalised to unit length."""
        return transform(vectors, self.matrix)

    def save(self) -> FittedProjection:
        values = {
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "dims_in": self.dims_in,
            "dims_out": self.dims_out,
            "matrix": self._bytes(),
            "report": self.report,
        }
        return put(FittedProjection, values, id=self.id)

    def _bytes(self) -> bytes:
        return self.matrix.astype("<f4").tobytes()


def transform(vectors: Vector, matrix: Vector) -> Vector:
    """Multiply vectors of shape (n, d) or (d,) by a matrix (d, d'), and normalise them to unit length."""
    import numpy as np

    mapped = vectors @ matrix
    unit: Vector = (mapped / np.maximum(np.linalg.norm(mapped, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
    return unit


@lru_cache(maxsize=4)
def get_projection(projection_id: str) -> Projection | None:
    """Return the projection that an index names in its meta; None for the empty id.

    :raises IndexMissing: if it was deleted; the index cannot be queried without it.
    """
    if not projection_id:
        return None

    try:
        row = FittedProjection.objects.get(pk=projection_id)
    except FittedProjection.DoesNotExist:
        raise IndexMissing(
            f"The index was made with the projection {projection_id[:12]}, which no longer exists; "
            "run `manage.py imagesim_rebuild`."
        ) from None
    matrix = stored_array(row.matrix).reshape(row.dims_in, row.dims_out)
    return Projection(row.fingerprint, row.kind, matrix, row.report)


def project(vectors: Vector, projection_id: str) -> Vector:
    """Apply a projection to vectors (n, dims) or (dims,) of the embedder; the empty id leaves them unchanged.

    :raises IndexMissing: as :func:`get_projection`.
    """
    projection = get_projection(projection_id)
    return vectors if projection is None else projection.apply(vectors)


def get_chosen(fingerprint: str) -> FittedProjection | None:
    """Return the projection that the next rebuild with this model applies; None if none was chosen."""
    return FittedProjection.objects.filter(chosen=True, fingerprint=fingerprint).first()


@retry_conflicts
def choose(projection_id: str | None) -> None:
    """Choose the projection that the next rebuild applies, or none.

    :raises ConfigurationError: if there is no such projection; nothing changes then.
    """
    with atomic(FittedProjection):
        FittedProjection.objects.filter(chosen=True).update(chosen=False)
        if projection_id and not FittedProjection.objects.filter(pk=projection_id).update(chosen=True):
            raise ConfigurationError(
                f"There is no projection {projection_id!r}; run `manage.py imagesim_tune` to fit one."
            )
