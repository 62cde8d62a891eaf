"""Compares a picture, or the words of a query, with the names of categories by the model's text vectors.

The nearest items tell the category of a picture only if several of them share it; the model recognises a mango by the
name of the category even if the shop sells no other mango. The names also tell it that a cable is not a toothbrush,
however similar the two look.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagesim.calibration import TEMPERATURE, VOTERS, Calibration, words_of
from imagesim.exceptions import ImagesimError
from imagesim.indexes.projections import project
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.filters import parents_of
from imagesim.retrieval.query_vector import text_vectors
from imagesim.types import Candidate, IndexMeta

if TYPE_CHECKING:
    from imagesim.types import Vector

logger = logging.getLogger(__name__)

PLAUSIBLE = 0.05
"""The minimum relevance of a candidate whose category's name is compared with the words."""

COMPARED = 60
"""The maximum number of categories whose names are compared with the words of a query. Most pages have fewer."""


@dataclass(frozen=True, slots=True)
class CategoryNames:
    """The names of the categories of the ``searched`` models, compared by vectors of the model that made the index."""

    searched: Searched
    meta: IndexMeta

    def relevances(self, picture: Vector, nearest: Sequence[Candidate], calibration: Calibration) -> dict[str, float]:
        """Return, for each category of the ``nearest`` candidates, the probability that a picture with this vector is
        an answer to the category's name as a query, times the share of that name among the names of all these
        categories. Empty if the model does not embed texts.

        Large categories take part in the comparison but are not returned: for them, the categories of the nearest items
        tell more.
        """
        scores = self._scores(picture, _categories_of(nearest))
        found = calibration.relevances("words", list(scores.values()), None)
        return {
            category: relevance * weight
            for (category, weight), relevance in zip(_weights(scores, calibration).items(), found, strict=True)
            if category not in calibration.large
        }

    def share(
        self,
        picture: Vector,
        label: Collection[str],
        labelled: Sequence[Candidate],
        nearest: Sequence[Candidate],
        calibration: Calibration,
    ) -> float | None:
        """Return the probability, 0 to 1, that a picture with this vector shows a thing in one of the categories of a
        ``label``, by comparing their names with those of the categories of the ``nearest`` of all candidates.

        ``labelled``: the candidates in the categories of the label. None if the model does not embed texts.
        """
        own = [category for category in _categories_of(labelled) if category in label]
        scores = self._scores(picture, own) | self._scores(picture, _categories_of(nearest))
        weights = _weights(scores, calibration)
        return sum(weights.get(category, 0.0) for category in own) if weights else None

    def without_unrelated(self, words: Vector, looks: Sequence[Candidate], calibration: Calibration) -> list[Candidate]:
        """Lower the relevance by looks of candidates whose categories have names unlike the words with this vector: a
        cable is not a toothbrush."""
        plausible = [each for each in looks if each.relevance >= PLAUSIBLE] if calibration.names else []
        scores = self._scores(words, _categories_of(plausible), most=COMPARED)

        def relevance(each: Candidate) -> float:
            cosines = [scores[category] for category in each.categories if category in scores]
            return calibration.unless_unrelated(each.relevance, max(cosines)) if cosines else each.relevance

        return [each._replace(relevance=relevance(each)) for each in looks]

    def _scores(self, vector: Vector, categories: Collection[str], *, most: int = VOTERS) -> dict[str, float]:
        """Return the cosine of the vector and that of each category's name, for the first ``most`` categories that have
        a name."""
        names = {category: words_of(category, parents_of(self.searched, category)) for category in categories}
        named = [category for category, words in names.items() if words][:most]
        vectors = self._vectors([names[category] for category in named])
        return {category: float(each @ vector) for category, each in zip(named, vectors, strict=False)}

    def _vectors(self, names: Sequence[str]) -> Sequence[Vector]:
        import numpy as np

        from imagesim.embedders import get_embedder_of  # pages without a photo need none

        try:
            embedder = get_embedder_of(self.meta.fingerprint)
            if not names or not embedder.supports_texts:
                return []
            return list(project(np.stack(text_vectors(embedder, names)), self.meta.projection))
        except ImagesimError as error:
            logger.warning("The names of categories are not compared: %s", error)
            return []


def _categories_of(candidates: Sequence[Candidate]) -> list[str]:
    """Return the categories of candidates, in the order in which they occur."""
    return list(dict.fromkeys(category for each in candidates for category in each.categories))


def _weights(scores: Mapping[str, float], calibration: Calibration) -> dict[str, float]:
    """Return the softmax of the scores, by category."""
    best, width = max(scores.values(), default=0.0), TEMPERATURE * calibration.background["words"].deviation
    weights = {category: math.exp((score - best) / width) for category, score in scores.items()}
    total = sum(weights.values())
    return {category: weight / total for category, weight in weights.items()}
