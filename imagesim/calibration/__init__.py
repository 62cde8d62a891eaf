"""Calibrated relevance: the probability that a hit is relevant, by its score and the categories of the first hits.

The meaning of a cosine depends on the model, the catalogue and the query, so no fixed cutoff separates relevant hits
from others. The relevance of a hit is a logistic function (Platt, 1999) of two features:

- its score, in standard deviations above the mean score of two unrelated items of the catalogue;
- its vote: the share of its categories among the others of the first :data:`VOTERS` hits, each weighted by its score (a
  kernel nearest-neighbour estimate, leaving one out). Among the hits for a photo of a shoe, a camera gets a small vote;
  a best hit that is alone in its category gets none.

The coefficients are fitted to each catalogue (:mod:`imagesim.calibration.fit`); those of a small one are close to
:data:`PRIOR`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from imagesim.language.word_roles import Roles

Kind = Literal["items", "photo", "region", "words"]
KINDS: tuple[Kind, ...] = get_args(Kind)

VOTERS = 20
"""The number of hits that vote on the category of a query."""

MANY = VOTERS // 2
"""The number of items above which a category can have most of the votes."""

TEMPERATURE = 0.5
"""The distance from the first hit's score, in standard deviations, at which a vote counts for 1/e."""


@dataclass(frozen=True, slots=True)
class Curve:
    """``1 / (1 + exp(-(score * z + vote * v + intercept)))``, rising in both."""

    score: float
    vote: float
    intercept: float

    def relevance(self, z: float, vote: float) -> float:
        """Return the probability that a hit is relevant, from its standardised score and its vote."""
        power = self.score * z + self.vote * vote + self.intercept
        return 1 / (1 + math.exp(-power)) if power > -700 else 0.0


@dataclass(frozen=True, slots=True)
class Background:
    """Mean and standard deviation of the scores of unrelated items."""

    mean: float
    deviation: float

    def standardise(self, score: float) -> float:
        """Return the score in standard deviations above the mean."""
        return (score - self.mean) / self.deviation


_PICTURES: tuple[Kind, ...] = ("items", "photo", "region")

PRIOR: Mapping[Kind, Curve] = {**dict.fromkeys(_PICTURES, Curve(0.9, 3.9, -5.8)), "words": Curve(1.3, 2.0, -8.7)}
"""The curves with votes, fitted on the demo, a fashion and a grocery catalogue."""

PRIOR_ALONE: Mapping[Kind, Curve] = {**dict.fromkeys(_PICTURES, Curve(1.4, 0.0, -5.1)), "words": Curve(1.7, 0.0, -8.8)}
"""The curves without votes, if the catalogue has no categories or the filters of the query name one."""

LABELLED = Curve(0.4, 0.8, -2.4)
"""The curve in the categories of a region's label. In place of the vote, it has the log odds, by the score of the
finder, that the label is right, plus :data:`SUPPORT` times the share of other evidence for it. Fitted in four shops on
street photos, where three labels in four are right, and on photos of groceries, where none is; then raised until as
many hits of right labels are kept as by the score alone."""

SUPPORT = 4.4
"""The weight, in log odds, of the share (0..1) of the nearest items and of the names of categories that speak for a
label."""

SURE = 0.99
"""The maximum probability that the score of a finder gives to a label."""

UNRELATED, RELATED = -1.0, 2.0
"""Standard deviations of the cosine of words to the name of a category, above that of two such names. Each deviation
below :data:`RELATED`, down to :data:`UNRELATED`, divides the odds of what only looks like the words by e. A regression
on words that three catalogues do not have, such as "knapsack", gives 2.1 to 2.6. More than that makes nothing more
relevant: "ice cream maker" is close to "ice cream", too."""

PRIOR_BACKGROUND: Mapping[Kind, Background] = {
    **dict.fromkeys(_PICTURES, Background(0.2, 0.15)),
    "words": Background(0.0, 0.1),
}


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of one model and one catalogue, by kind of query.

    ``queries`` is the number of queries of the fit, by kind: 0 if only the prior is used.
    """

    curves: Mapping[Kind, Curve] = field(default_factory=lambda: dict(PRIOR))
    alone: Mapping[Kind, Curve] = field(default_factory=lambda: dict(PRIOR_ALONE))
    background: Mapping[Kind, Background] = field(default_factory=lambda: dict(PRIOR_BACKGROUND))
    queries: Mapping[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    large: frozenset[str] = frozenset()
    """Categories with more than :data:`MANY` items, whose votes tell more than their names."""
    roles: Roles = field(default_factory=Roles)
    """The roles of words in this catalogue."""
    names: Background | None = None
    """The cosines of the names of two categories; None if there are few, or the model does not know them."""

    def relevances(self, kind: Kind, scores: Sequence[float], votes: Sequence[float] | None) -> list[float]:
        """Return the relevance of hits with these scores and votes; ``votes`` is None if there are none."""
        background = self.background[kind]
        curve = self.alone[kind] if votes is None else self.curves[kind]
        return [
            curve.relevance(background.standardise(score), vote)
            for score, vote in zip(scores, votes or [0.0] * len(scores), strict=True)
        ]

    def labelled(self, kind: Kind, scores: Sequence[float], probability: float, support: float) -> list[float]:
        """Return the relevance of hits with these scores in the categories of a label. ``probability``: the finder's
        score for the label; ``support``: the other evidence for the label, 0 to 1."""
        sure = min(max(probability, 1 - SURE), SURE)
        vote, background = math.log(sure / (1 - sure)) + SUPPORT * support, self.background[kind]
        return [LABELLED.relevance(background.standardise(score), vote) for score in scores]

    def unless_unrelated(self, relevance: float, cosine: float) -> float:
        """Return the relevance of a hit found by words, by its looks alone, lowered if the name of its category is
        unlike the words. ``cosine``: that of the vectors of the words and the name."""
        if self.names is None:
            return relevance
        factor = math.exp(min(max(self.names.standardise(cosine), UNRELATED), RELATED) - RELATED)
        return factor * relevance / (1 - relevance + factor * relevance)

    def to_json(self) -> dict[str, Any]:
        """Return the calibration as JSON data."""
        return {**asdict(replace(self, roles=Roles())), "large": sorted(self.large), "roles": self.roles.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration from what :meth:`to_json` returned.

        :raises ValueError: if ``data`` is anything else.
        """
        try:
            return cls(
                curves={kind: Curve(**data["curves"][kind]) for kind in KINDS},
                alone={kind: Curve(**data["alone"][kind]) for kind in KINDS},
                background={kind: Background(**data["background"][kind]) for kind in KINDS},
                queries={kind: int(data["queries"][kind]) for kind in KINDS},
                large=frozenset(data.get("large", ())),
                roles=Roles.from_json(data.get("roles") or Roles().to_json()),
                names=Background(**data["names"]) if data.get("names") else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"Not a calibration: {error!r}.") from error


class Ballot:
    """The categories of the first :data:`VOTERS` hits, best first, each weighted by its score."""

    def __init__(self, scores: Sequence[float], categories: Sequence[Collection[str]], deviation: float) -> None:
        self._weights = [math.exp((score - scores[0]) / (TEMPERATURE * deviation)) for score in scores[:VOTERS]]
        self._total = sum(self._weights)
        self._shares: dict[str, float] = {}
        for weight, names in zip(self._weights, categories, strict=False):
            for name in names:
                self._shares[name] = self._shares.get(name, 0.0) + weight

    def share(self, categories: Collection[str], own: int | None = None) -> float:
        """Return the largest share, 0 to 1, that one of the categories has of the votes, without the voter with the
        number ``own``."""
        left_out = 0.0 if own is None or own >= len(self._weights) else self._weights[own]
        others = self._total - left_out
        if others <= 1e-9 * self._total:
            return 0.0
        best = max((self._shares.get(name, 0.0) for name in categories), default=0.0)
        return min(1.0, max(0.0, best - left_out) / others)


def words_of(category: str, parents: Collection[str] = ()) -> str:
    """Return the words of a category's name or slug, without those of a parent with which it begins: "mango" for
    ``fruit-mango`` in ``fruit``. Empty if it has no letters."""
    words = _spaced(category)
    for parent in map(_spaced, [parents] if isinstance(parents, str) else parents):
        words = words.removeprefix(f"{parent} ")
    return words if any(map(str.isalpha, words)) else ""


def _spaced(category: str) -> str:
    """Return a name or slug with spaces between its words."""
    return re.sub(r"[-_/]+", " ", category)
