"""Whether a picture shows, or words mean, what a category is called.

A model of pictures and words tells a mango by the word, though the shop has one mango alone, for which no other item of
its category votes, and knows that no cable is a toothbrush, however much it looks like one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
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

PLAUSIBLE = 0.05
"""The relevance by looks from which on the names of categories are compared with words."""

COMPARED = 60
"""The maximum number of categories whose names are compared with words: more than have such looks on most pages."""


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
        """Return the probability, 0 to 1, that a picture with this vector shows what a category is called that is among
        those of a ``label`` and of the candidates in these, and not one of the ``nearest`` of all candidates. None if
        the model does not embed texts."""
        own = [category for category in _categories_of(labelled) if category in label]
        scores = self._scores(picture, own) | self._scores(picture, _categories_of(nearest))
        weights = _weights(scores, calibration)
        return sum(weights.get(category, 0.0) for category in own) if weights else None

    def without_unrelated(self, words: Vector, looks: Sequence[Candidate], calibration: Calibration) -> list[Candidate]:
        """Lower the relevance of what looks like words with this vector, if the name of its category is far from them
        in meaning: no cable is a toothbrush."""
        plausible = [each for each in looks if each.relevance >= PLAUSIBLE] if calibration.names else []
        scores = self._scores(words, _categories_of(plausible), most=COMPARED)

        def relevance(each: Candidate) -> float:
            cosines = [scores[category] for category in each.categories if category in scores]
            return calibration.unless_unrelated(each.relevance, max(cosines)) if cosines else each.relevance

        return [each._replace(relevance=relevance(each)) for each in looks]

    def _scores(self, vector: Vector, categories: Collection[str], *, most: int = VOTERS) -> dict[str, float]:
        """Return how much the vector is like that of the words of these categories, of the first that have any."""
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
    """Return the categories of candidates, those of the first ones first."""
    return list(dict.fromkeys(category for each in candidates for category in each.categories))


def _weights(scores: Mapping[str, float], calibration: Calibration) -> dict[str, float]:
    """Return the share of each name among all of them (a softmax)."""
    best, width = max(scores.values(), default=0.0), TEMPERATURE * calibration.background["words"].deviation
    weights = {category: math.exp((score - best) / width) for category, score in scores.items()}
    total = sum(weights.values())
    return {category: weight / total for category, weight in weights.items()}
