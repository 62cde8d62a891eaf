"""Fit the calibration of relevance (:mod:`imagesim.calibration`) to a catalogue, without judgements.

The queries are items of the catalogue: hits that share a category are relevant, others are not. Each query is repeated
without the whole department of the item, where no hit is relevant, so that the fit covers queries without an answer; if
no departments are known, or there is one for all, the query is repeated without the category of the item. Names of
categories are used as queries by words in the same way. The coefficients have a Gaussian prior,
:data:`~imagesim.calibration.PRIOR`, fitted on three catalogues, which dominates for small catalogues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from imagesim.calibration import (
    KINDS,
    MANY,
    PRIOR,
    PRIOR_ALONE,
    PRIOR_BACKGROUND,
    VOTERS,
    Background,
    Ballot,
    Calibration,
    Curve,
    Kind,
)
from imagesim.conf import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from imagesim.types import Vector

    Array = npt.NDArray[np.float64]

SAMPLE = 400
"""The maximum number of queries for a fit."""

SPREAD = (0.5, 0.5, 0.5)
"""The standard deviations of the prior of the coefficients: of the score, the vote and the intercept."""

OPEN_WEIGHT: Mapping[Kind, float] = {"items": 1.5, "words": 4.0}
"""The weight of queries without an answer relative to those with one: showing nothing is better than showing irrelevant
hits, in particular for words, which are searched in texts first."""

FACTORS: Sequence[float] = (1.0, 0.6, 1 / 3, 1 / 8)
"""The factors of that weight for items, of which the first is used that keeps the share :data:`KEPT` of the first
:data:`FIRST` relevant hits of each query at or above :data:`FLOOR`. Where the items outside the department are like the
item, as pears are like apples, the full weight cuts a fifth of the relevant hits."""

FEW_FACTOR = 1 / 3
"""The factor for a catalogue without departments of fewer than :data:`SAMPLE` items, whose own queries are too few to
choose by. Outside the category of an item, much is similar to it."""

KEPT: Mapping[Kind, float] = {"items": 0.9, "photo": 0.93}
"""The share of relevant hits to keep. For photos it is measured with items as queries, which are more like the
catalogue's pictures than photos are, so more than nine tenths of these must be kept."""

FIRST = 10
"""The number of relevant hits of each query that count for :data:`KEPT`."""

MIN_NAMES = 10
"""The minimum number of categories whose names are compared; where there are fewer, they are broad."""

KNOWN = 0.75
"""The minimum probability that a picture of a category is nearer to its name than a picture of another one is, for the
names to be compared. In three catalogues it is .92 to .99 with English names, .64 with German ones, which the built-in
model does not know, and .5 by chance."""

BINS = 10
"""The number of bins of the predicted relevance, for :func:`reliability`."""

FLOOR = Settings().MIN_RELEVANCE
"""The relevance below which pages show nothing by default."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A catalogue, or a part of it, to fit a calibration on.

    ``vectors`` (n, dims): one image per item. ``categories`` and ``groups`` have one value per item: its categories,
    and the key that its variants share. ``departments``: each category with its siblings under the same parents.
    ``words``: the vectors (m, dims) of names of categories, and the category that each names.
    """

    vectors: Vector
    categories: Sequence[frozenset[str]]
    groups: Sequence[str]
    departments: Mapping[str, frozenset[str]] = field(default_factory=dict)
    words: tuple[Vector, Sequence[str]] | None = None

    def department(self, category: str) -> frozenset[str]:
        """Return the categories of the department of a category, at least itself."""
        return self.departments.get(category, frozenset({category}))


def fit(sample: Sample, *, asked: npt.NDArray[np.int64] | None = None) -> Calibration:
    """Return the calibration of a catalogue; a small catalogue uses the prior on its own scores.

    ``asked``: the positions (n,) of the items to use as queries, instead of :data:`SAMPLE` random ones.
    """
    import numpy as np

    count = len(sample.vectors)
    if count < 3:
        return Calibration()
    chosen = np.random.default_rng(0).permutation(count)[:SAMPLE] if asked is None else asked
    scores = np.asarray(sample.vectors[chosen] @ sample.vectors.T, dtype=np.float64)
    items = _background(scores, [sample.categories[i] for i in chosen], sample.categories, PRIOR_BACKGROUND["items"])
    questions = [_Question(scores[row], sample.categories[i], sample.groups[i]) for row, i in enumerate(chosen)]
    sample, factors = _by_departments(sample), FACTORS
    if len(chosen) < SAMPLE:  # few items lean on the prior, which keeps less than a fit on many
        factors = FACTORS[:1] if sample.departments else [FEW_FACTOR]
    fitted = _Fitted()
    fitted.add("items", items, questions, sample, factors)
    of_names = None
    if sample.words is not None and len(sample.words[0]):
        vectors, names = sample.words
        scores = np.asarray(vectors @ sample.vectors.T, dtype=np.float64)
        own = [frozenset({name}) for name in names]
        words = _background(scores, own, sample.categories, PRIOR_BACKGROUND["words"])
        fitted.add("words", words, [_Question(scores[row], own[row], "") for row in range(len(own))], sample, (1.0,))
        if len(names) >= MIN_NAMES and _known_names(scores, names, sample.categories) >= KNOWN:
            of_names = _background(np.asarray(vectors @ vectors.T, np.float64), own, own, PRIOR_BACKGROUND["words"])
    for kind in ("photo", "region"):
        fitted.background[kind], fitted.queries[kind] = fitted.background["items"], fitted.queries["items"]
    fitted.curves["region"], fitted.alone["region"] = fitted.curves["photo"], fitted.alone["photo"]
    return Calibration(fitted.curves, fitted.alone, fitted.background, fitted.queries, _large(sample), names=of_names)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The parts of a calibration that are fitted by kind of query; the prior where none is fitted."""

    curves: dict[Kind, Curve] = field(default_factory=lambda: dict(PRIOR))
    alone: dict[Kind, Curve] = field(default_factory=lambda: dict(PRIOR_ALONE))
    background: dict[Kind, Background] = field(default_factory=lambda: dict(PRIOR_BACKGROUND))
    queries: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def add(
        self,
        kind: Kind,
        background: Background,
        questions: Sequence[_Question],
        sample: Sample,
        factors: Sequence[float],
    ) -> None:
        """Fit the curves of a kind of query. Those for photos are fitted with those for items.

        ``factors``: of the weight of queries without an answer. Each kind in :data:`KEPT` has the first factor that
        keeps enough relevant hits, or the last.
        """
        self.background[kind] = background
        known = _known_rows(questions, sample, background)
        if not known:
            return
        self.queries[kind] = len(known)
        left: list[Kind] = [*KEPT] if kind == "items" else [kind]
        for factor in factors:
            data = _weighted(known, factor * OPEN_WEIGHT[kind])
            curve = _logistic(data, PRIOR[kind], votes=True)
            self.curves.update(dict.fromkeys(left, curve))
            self.alone.update(dict.fromkeys(left, _logistic(data, PRIOR_ALONE[kind], votes=False)))
            share = _kept(curve, known)
            left = [each for each in left if share < KEPT.get(each, 0.0)]
            if not left:
                break


def _known_names(scores: Array, names: Sequence[str], categories: Sequence[frozenset[str]]) -> float:
    """Return the mean probability that an item of a category is nearer to its name than one of another category is (the
    area under the ROC curve), by the ``scores`` (names, items)."""
    import numpy as np

    shares = []
    for row, name in zip(scores, names, strict=True):
        is_own = np.array([name in each for each in categories])
        if is_own.any() and not is_own.all():
            others = np.sort(row[~is_own])
            shares.append(float(np.searchsorted(others, row[is_own]).mean() / len(others)))
    return float(np.mean(shares)) if shares else 0.0


def _large(sample: Sample) -> frozenset[str]:
    """Return the categories with more than :data:`~imagesim.calibration.MANY` items, variants counted as one."""
    items = {
        (category, group) for names, group in zip(sample.categories, sample.groups, strict=True) for category in names
    }
    counted = Counter(category for category, _group in items)
    return frozenset(category for category, count in counted.items() if count > MANY)


class Reliability(NamedTuple):
    """A bin of hits with similar relevance: their mean relevance, the share that is relevant, and their number."""

    relevance: float
    belongs: float
    hits: int


def reliability(sample: Sample, *, seed: int = 0) -> list[Reliability]:
    """Compare predicted and actual relevance, in bins from the least relevant hits to the most.

    The calibration is fitted to one half of a sample of items and measured on the other: each item is a query for the
    items of its category, and again with its whole department removed, where no item is relevant.
    """
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(sample.vectors))[: 2 * SAMPLE]
    calibration = fit(sample, asked=order[: len(order) // 2])
    scale, curve = calibration.background["items"], calibration.curves["items"]
    sample = _by_departments(sample)
    questions = (
        _Question(np.asarray(sample.vectors @ sample.vectors[i], np.float64), sample.categories[i], sample.groups[i])
        for i in order[len(order) // 2 :]
    )
    known = _known_rows(questions, sample, scale)
    if not known:
        return []
    data = _weighted(known, 1.0)
    found = np.array([curve.relevance(z, vote) for z, vote in data[:, :2].tolist()])
    number = np.minimum((found * BINS).astype(int), BINS - 1)
    return [
        Reliability(float(found[each].mean()), float(data[each, 2].mean()), int(each.sum()))
        for each in (number == bin for bin in range(BINS))
        if each.any()
    ]


def _by_departments(sample: Sample) -> Sample:
    """Return the sample, without departments if one has all of the items, so nothing is left without it, or if each has
    one category."""
    sold = frozenset[str]().union(*sample.categories)
    departments = {sample.department(name) & sold for name in sold}
    return sample if 1 < len(departments) < len(sold) else replace(sample, departments={})


@dataclass(frozen=True, slots=True)
class _Question:
    """A query with the ``scores`` of all items, the categories of relevant hits, and the group of the item itself."""

    scores: Array
    categories: frozenset[str]
    group: str


def _background(
    scores: Array, of_rows: Sequence[frozenset[str]], of_columns: Sequence[frozenset[str]], prior: Background
) -> Background:
    """Return the mean and the deviation of the ``scores`` (rows, columns) of pairs that share no category, or the
    ``prior`` if there are too few. ``of_rows``, ``of_columns``: the categories of each row and column."""
    import numpy as np

    names = {name: number for number, name in enumerate(sorted({each for names in of_columns for each in names}))}
    rows = np.zeros((len(of_rows), len(names) + 1), dtype=bool)
    columns = np.zeros((len(of_columns), len(names) + 1), dtype=bool)
    for table, values in ((rows, of_rows), (columns, of_columns)):
        for number, each in enumerate(values):
            table[number, [names.get(name, len(names)) for name in each]] = True
    rows[:, -1] = columns[:, -1] = False
    unlike = scores[~((rows.astype(np.float32) @ columns.astype(np.float32).T) > 0)]
    unlike = unlike[unlike < 0.999]  # exclude the item itself if there are no categories
    if len(unlike) < 3:
        return prior
    return Background(float(unlike.mean()), max(float(unlike.std()), 1e-3))


class _Rows(NamedTuple):
    """The first hits of a query, and those without its department: (hits, 4) of standardised score, vote, whether it is
    relevant, weight."""

    hits: Array
    elsewhere: Array


def _known_rows(questions: Iterable[_Question], sample: Sample, scale: Background) -> list[_Rows]:
    """Return the rows of those questions that have hits."""
    return [rows for question in questions if (rows := _rows(question, sample, scale)) is not None]


def _rows(question: _Question, sample: Sample, scale: Background) -> _Rows | None:
    """Return the rows of a question; None if it has no categories or no hits."""
    import numpy as np

    if not question.categories:
        return None
    known = np.array([group != question.group for group in sample.groups]) if question.group else None
    department = frozenset[str]().union(*map(sample.department, question.categories))
    elsewhere = np.array([not (names & department) for names in sample.categories])
    found = []
    for hits in (_hits(question.scores, sample, known), _hits(question.scores, sample, elsewhere)):
        ordered = [float(question.scores[i]) for i in hits]
        ballot = Ballot(ordered, [sample.categories[i] for i in hits], scale.deviation)
        rows = [
            (
                scale.standardise(score),
                ballot.share(sample.categories[i], number),
                float(bool(sample.categories[i] & question.categories)),
                1 / len(hits),
            )
            for number, (score, i) in enumerate(zip(ordered, hits, strict=True))
        ]
        found.append(np.array(rows).reshape(-1, 4))
    return _Rows(*found) if any(map(len, found)) else None


def _weighted(known: Sequence[_Rows], open_weight: float) -> Array:
    """Return the rows of all queries, (hits, 4); ``open_weight``: the weight of those without an answer."""
    import numpy as np

    weights = np.array([1.0, 1.0, 1.0, open_weight])
    data: Array = np.concatenate([part for rows in known for part in (rows.hits, rows.elsewhere * weights)])
    return data


def _kept(curve: Curve, known: Sequence[_Rows]) -> float:
    """Return the share of the first relevant hits of each query that reach the floor."""
    first = [[row for row in rows.hits.tolist() if row[2]][:FIRST] for rows in known]
    kept = [curve.relevance(z, vote) >= FLOOR for each in first for z, vote, *_others in each]
    return sum(kept) / max(1, len(kept))


def _hits(scores: Array, sample: Sample, mask: npt.NDArray[np.bool_] | None) -> list[int]:
    """Return the numbers of the best :data:`VOTERS` items of the mask, one per group."""
    import numpy as np

    order = np.argsort(-scores if mask is None else np.where(mask, -scores, np.inf), kind="stable")
    hits: list[int] = []
    seen: set[str] = set()
    for i in order.tolist():
        if (mask is not None and not mask[i]) or len(hits) == VOTERS:
            break
        if sample.groups[i] not in seen:
            seen.add(sample.groups[i])
            hits.append(i)
    return hits


def _logistic(data: Array, prior: Curve, *, votes: bool) -> Curve:
    """Return the curve fitted by logistic regression, by Newton's method with a Gaussian prior on the coefficients. The
    coefficients of the score and the vote are never negative; without ``votes`` the latter is 0."""
    import numpy as np

    centre = np.array([prior.score, prior.vote, prior.intercept])
    inputs = np.column_stack([data[:, 0], data[:, 1] if votes else np.zeros(len(data)), np.ones(len(data))])
    belongs, weight = data[:, 2], data[:, 3]
    precision = 1 / np.array(SPREAD) ** 2

    def loss(at: Array) -> float:
        power = inputs @ at
        missed = np.logaddexp(0.0, power) - belongs * power
        return float(weight @ missed + precision @ (at - centre) ** 2 / 2)

    found = centre.copy()
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(inputs @ found, -500, 500)))
        gradient = inputs.T @ (weight * (p - belongs)) + precision * (found - centre)
        hessian = (inputs * (weight * p * (1 - p))[:, None]).T @ inputs + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        now = loss(found)
        while loss(found - step) > now and np.abs(step).max() > 1e-6:
            step /= 2
        found = found - step
        if np.abs(step).max() < 1e-6:
            break
    score, vote, intercept = (float(value) for value in found)
    return Curve(max(score, 0.05), max(vote, 0.0), intercept)
