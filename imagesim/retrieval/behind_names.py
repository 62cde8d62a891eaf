"""What is shown behind entries that have all words of a query.

By its looks, an entry of the same category as these is relevant. But if the words tell one thing of a category from the
others, as "starry night" does among paintings, the others are no answer, however much they look like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagesim.retrieval.relevance import BY_NAME, KIND_MATCH

if TYPE_CHECKING:
    from imagesim.retrieval.query_text import QueryTexts
    from imagesim.types import Candidate
    from imagesim.word_roles import Roles

OTHER_CATEGORY = 0.45
"""The most that a match of the kind alone counts in other categories than those of what has all words. It is low enough
that vectors decide."""

LOOKALIKE = 0.35
"""The factor of the relevance by looks of what looks like an entry that is called by the words, and is not called so.
At the default floor, none is shown."""

HARDLY = 0.125
"""The match below which an entry has hardly any of the words: that of every print for "cow print"."""


def without_other_categories(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Lower the match of what only is of the kind, if entries of other categories have the other words, too: for
    "balance bike", that of racing bikes, if children's bikes have one. Colours and qualifiers are wishes."""
    fitting: set[str] = set()
    if texts.categories and texts.text.narrowed:
        fitting.update(name for each in candidates if each.text >= BY_NAME for name in each.categories)

    def is_aside(each: Candidate) -> bool:
        return bool(fitting) and OTHER_CATEGORY < each.text <= KIND_MATCH and fitting.isdisjoint(each.categories)

    return [each._replace(text=OTHER_CATEGORY) if is_aside(each) else each for each in candidates]


def without_other_departments(looks: Sequence[Candidate], texts: QueryTexts, roles: Roles) -> list[Candidate]:
    """Lower the relevance by looks of what is in other departments than the kind that the words name: no wall paint for
    "clothing", whatever the pictures of clothes look like."""
    departments = roles.departments_of(texts.categories)

    def is_elsewhere(each: Candidate) -> bool:
        return bool(each.categories) and departments.isdisjoint(roles.departments_of(each.categories))

    if not departments:
        return [*looks]
    return [each._replace(relevance=LOOKALIKE * each.relevance) if is_elsewhere(each) else each for each in looks]


def name_entries(texts: QueryTexts, candidates: Sequence[Candidate], roles: Roles) -> bool:
    """Whether some of the candidates are called by the words, and these name no kind. Without categories nothing tells
    kinds."""
    return bool(roles.kinds) and not texts.categories and any(each.text >= BY_NAME for each in candidates)


def without_lookalikes(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Lower the relevance by looks of what has hardly any of the words, except in categories that synonyms of them
    name: for "settee", sofas are an answer."""

    def is_lookalike(each: Candidate) -> bool:
        return each.text < HARDLY and texts.of_synonyms.isdisjoint(each.categories)

    return [each._replace(relevance=LOOKALIKE * each.relevance) if is_lookalike(each) else each for each in candidates]
