"""What approximate search finds of what exact search finds, asked of the index in service itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from imagesim.evaluation.catalogue import Catalogue
from imagesim.evaluation.metrics import Estimate, estimate
from imagesim.evaluation.relevance import Case
from imagesim.exceptions import ModelMismatch
from imagesim.indexes import get_index
from imagesim.projections import get_projection
from imagesim.types import Filters, Query

if TYPE_CHECKING:
    import numpy.typing as npt

BATCH = 50


@dataclass(frozen=True)
class ApproximateOutcome:
    """Recall of approximate against exact search at k, and the engine's own median time of each in milliseconds."""

    recall: Estimate
    exact_ms: float
    approximate_ms: float
    queries: int


def compare(
    catalogue: Catalogue, label: str, fingerprint: str, queries: Sequence[Case], *, k: int
) -> ApproximateOutcome | None:
    """Ask the index every query both ways; None where it only searches exactly.

    :raises ModelMismatch: if the index holds another model's vectors than ``fingerprint``.
    """
    index = get_index()
    if not index.supports_approximate:
        return None
    meta = index.meta()
    if meta.fingerprint != fingerprint:
        raise ModelMismatch(f"The index in service was made by {meta.fingerprint!r}, not by {fingerprint!r}.")
    projection = get_projection(meta.projection)
    vectors = catalogue.vectors if projection is None else projection.apply(catalogue.vectors)
    shared: list[float] = []
    times: dict[bool, list[float]] = {True: [], False: []}
    for first in range(0, len(queries), BATCH):
        asked = [
            Query(vectors[case.row], Filters(models=(label,)), limit=k, collapse=False, exact=True)
            for case in queries[first : first + BATCH]
        ]
        exact = index.search(asked)
        approximate = index.search([replace(query, exact=False) for query in asked])
        for one, other in zip(exact, approximate, strict=True):
            wanted = {match.key for match in one.candidates}
            shared.append(len(wanted & {match.key for match in other.candidates}) / max(1, len(wanted)))
            times[True].append(one.took_ms)
            times[False].append(other.took_ms)
    values: npt.NDArray[np.float64] = np.array(shared)
    return ApproximateOutcome(
        estimate(values), statistics.median(times[True]), statistics.median(times[False]), len(shared)
    )
