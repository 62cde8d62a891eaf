"""Whether a picture shows what a category is called.

A model of pictures and words tells a mango by the word, though the shop has one mango alone, for which no other item of
its category votes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesim.calibration import TEMPERATURE, VOTERS, Calibration, words_of
from imagesim.exceptions import ImagesimError
from imagesim.projections import project
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.filters import parents_of
from imagesim.retrieval.query_vector import text_vectors
from imagesim.types import Candidate, IndexMeta

if TYPE_CHECKING:
    from imagesim.types import Vector

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CategoryNames:
    """The names of the categories of these ``searched`` models in the vectors of the index with this ``meta``."""

    searched: Searched
    meta: IndexMeta

    def relevances(self, picture: Vector, nearest: Sequence[Candidate], calibration: Calibration) -> dict[str, float]:
        """Return for each category of the ``nearest`` candidates the probability that a picture with this vector is an
        answer to its name as a query, and to no other of these names. Empty if the model does not embed texts.

        Large categories are left out after they have competed: where many of a kind could vote, their votes tell more.
        """
        categories = dict.fromkeys(category for each in nearest for category in each.categories)
        names = {category: words_of(category, parents_of(self.searched, category)) for category in categories}
        named = [category for category, words in names.items() if words][:VOTERS]
        scores = [float(vector @ picture) for vector in self._vectors([names[category] for category in named])]
        width = TEMPERATURE * calibration.background["words"].deviation
        weights = [math.exp((score - max(scores)) / width) for score in scores]
        found = calibration.relevances("words", scores, None)
        return {
            category: relevance * weight / sum(weights)
            for category, relevance, weight in zip(named, found, weights, strict=False)
            if category not in calibration.large
        }

    def _vectors(self, names: Sequence[str]) -> Sequence[Vector]:
        import numpy as np

        from imagesim.embedders import get_embedder_of  # pages without a photo need none

        try:
            embedder = get_embedder_of(self.meta.fingerprint)
            if not names or not embedder.supports_texts:
                return []
            return list(project(np.stack(text_vectors(embedder, names)), self.meta.projection))
        except ImagesimError as error:
            logger.warning("Photos are not compared with the names of categories: %s", error)
            return []
