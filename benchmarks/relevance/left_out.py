"""Choose each constant of relevance on two shops, and judge it on the third, which had no part in the choice.

``python -m benchmarks.relevance SHOP --row constants`` measures every value on one shop and stores the figures in the
cache; ``python -m benchmarks.relevance left-out`` chooses and prints. The figures, of which higher is better:

* ``KIND_MATCH``: for queries of a kind and a modifier (``two_words``), the harmonic mean of the share of hits that are
  of the kind and the share of queries that show one;
* ``CLOSEST_RELEVANCE``: for pictures of items whose department, or only whose category, is removed from the shop, the
  mean of the share of the former without any closest hit, and of the share of the nearest hits from the department
  that the latter keep;
* ``EVIDENCE``: for photos of scenes (groceries and outfits), P@5 of the main region's hits or of the whole photo's,
  whichever the constant chooses.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.relevance import photo_entry, two_words
from benchmarks.relevance.data import Shop

SHOPS = ("demo", "grocery", "fashion")
GRID: Mapping[str, tuple[float, ...]] = {
    "KIND_MATCH": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "CLOSEST_RELEVANCE": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4),
    "EVIDENCE": (1, 2, 3, 5, 8, 10),
}
Figures = dict[str, dict[str, float]]
"""Figures by constant and by value."""


def kind_match(questions: Sequence[two_words.Question], search: Callable[[str], Any]) -> dict[str, float]:
    """Return the figure of each value of ``KIND_MATCH``."""
    found = {}
    for value in GRID["KIND_MATCH"]:
        with patch("imagesim.retrieval.words.match_rules.KIND_MATCH", value):
            rows = two_words.measure(questions, search, lambda hit: hit.item.category.slug)
        means = [(1 - row.junk, row.right) for row, _junk in rows.values()]
        found[str(value)] = float(np.mean([2 * p * r / (p + r) if p + r else 0.0 for p, r in means]))
    return found


def closest_relevance(shop: Shop, floor: float, count: int = 150) -> dict[str, float]:
    """Return the figure of each value of ``CLOSEST_RELEVANCE``."""
    rng = random.Random(0)
    asked = rng.sample(range(len(shop.owner)), min(count, len(shop.owner)))
    lacking = [_relevances(shop, row, floor, whole_department=True) for row in asked]
    beside = [_relevances(shop, row, floor, whole_department=False) for row in asked]
    found = {}
    for value in GRID["CLOSEST_RELEVANCE"]:
        none = np.mean([not any(relevance >= value for relevance, _ in each) for each in lacking if each is not None])
        near = [relevance >= value for each in beside for relevance, same in each or () if same]
        found[str(value)] = float((none + np.mean(near)) / 2) if near else float(none)
    return found


def _relevances(shop: Shop, row: int, floor: float, *, whole_department: bool) -> list[tuple[float, bool]] | None:
    """Return the relevances of the items nearest to the picture ``row`` in a shop without its category, or without its
    department, and whether each is of that department; None if one reaches the floor."""
    from imagesim.indexes import get_index
    from imagesim.retrieval.relevance import CLOSEST, Judge, calibration_of
    from imagesim.types import Candidate, Query

    index = get_index()
    category = shop.categories[shop.owner[row]]
    department = shop.parents[category]
    scores = shop.vectors @ shop.vectors[row]
    candidates: dict[str, Candidate] = {}
    for place in np.argsort(-scores)[:4000]:
        number = int(shop.owner[place])
        own = shop.categories[number]
        if own == category or (whole_department and shop.parents[own] == department):
            continue
        key = shop.keys[number]
        candidates.setdefault(key, Candidate(key, float(scores[place]), key, "", "", categories=(own,)))
        if len(candidates) == 32:
            break
    known = list(candidates.values())
    judge = Judge(calibration_of(index.meta(index.active())), "photo")
    found = judge.relevances(Query(shop.vectors[row]), known, [each.score for each in known])
    if max(found, default=0.0) >= floor:
        return None
    return [(found[n], shop.parents[known[n].categories[0]] == department) for n in range(min(CLOSEST, len(known)))]


def evidence(photos: Sequence[tuple[bytes, frozenset[str]]]) -> dict[str, float]:
    """Return the figure of each value of ``EVIDENCE``, for photos with the categories (slugs) that are right. No label
    counts as certain."""
    import imagesim
    from imagesim.retrieval import look

    pairs = []
    for photo, allowed in photos:
        seen: list[Any] = []
        own = look._evidence
        with (
            patch.object(look, "_evidence", lambda hits, seen=seen, own=own: seen.append(hits) or own(hits)),
            patch.object(look, "CERTAIN", 2.0),
        ):
            imagesim.search(image=photo, region="auto", limit=10, min_relevance=0.0)
        if len(seen) == 2:
            pairs.append([([hit.relevance for hit in hits], photo_entry.precision(hits[:5], allowed)) for hits in seen])
    found = {}
    for value in GRID["EVIDENCE"]:
        taken = [region if sum(region[0][:value]) >= sum(whole[0][:value]) else whole for region, whole in pairs]
        found[str(value)] = float(np.mean([right for _relevances, right in taken]))
    return found


def store(cache: Path, shop: str, figures: Figures) -> None:
    """Add figures to those stored for a shop."""
    file = cache / f"left-out-{shop}.json"
    known: Figures = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | figures, indent=1))


def report(cache: Path) -> None:
    """Print, for each constant and shop, the value that is best on the other shops, with its figure on this one, the
    figure of the value in the code, and the best possible figure."""
    from imagesim.retrieval import fusion, look, relevance

    shipped = {
        "KIND_MATCH": fusion.KIND_MATCH,
        "CLOSEST_RELEVANCE": relevance.CLOSEST_RELEVANCE,
        "EVIDENCE": look.EVIDENCE,
    }
    known: dict[str, Figures] = {
        shop: json.loads(file.read_text()) for shop in SHOPS if (file := cache / f"left-out-{shop}.json").exists()
    }
    print("constant            left out  chosen on the others  figure  shipped  figure  best figure")
    for constant, value in shipped.items():
        shops = [shop for shop in known if constant in known[shop]]
        for left in shops:
            others = [known[shop][constant] for shop in shops if shop != left]
            if not others:
                continue
            mean = {each: np.mean([figures[each] for figures in others]) for each in known[left][constant]}
            best = max(mean.values())
            # Of equally good values, take the middle one.
            equal = [each for each in mean if mean[each] >= best - 1e-9]
            chosen = equal[len(equal) // 2]
            own = known[left][constant]
            print(
                f"{constant:19} {left:9} {chosen:>20} {own[chosen]:7.3f} {value:>8} {own[str(value)]:7.3f}"
                f" {max(own.values()):12.3f}"
            )
