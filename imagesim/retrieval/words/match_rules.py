"""Rules that correct how well a candidate matches the words of a query, and how relevant its looks make it.

The index compares the words with the texts of one entry at a time. It cannot know that a red blind "for the window
beside the table" is not an answer to "red table". That takes the categories that the words name, and the names of the
other candidates. The rules on texts correct ``Candidate.text``, the match of all words, 0 to 1; those on looks correct
``Candidate.relevance``. ``Candidate.head`` is the match of the heads alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from imagesim.retrieval.fusion import ALL_OF_NAME, BY_NAME, HALF_OF_NAME, KIND_MATCH

if TYPE_CHECKING:
    from imagesim.language.word_roles import Roles
    from imagesim.retrieval.words.query_text import QueryTexts
    from imagesim.types import Candidate

CALLED = 0.6
"""The minimum match of the heads by which the words name an entry outside the categories that they name. A mention in a
description, which has a third of a name's weight, gives less: the "red blind" for the window beside a table."""

OUTSIDE = 0.45
"""The maximum match of an entry outside the named categories that the words do not name: for "red shoes", red boxing
gloves come after shoes, although their German name ("Boxhandschuhe") contains the word."""

OTHER_KIND = 0.35
"""The same if the words are the whole name of a category: for "desk", a desk lamp is shown only if it looks more like a
desk than most things do."""

OF_OTHERS = 0.45
"""The minimum match of the words other than the heads by which an entry of the named category ranks among those found
by name. A mention in a description suffices if it is spelled as in the query."""

OF_PART = 0.8
"""If the words name a part of a category, the share of the best match there that an entry needs to belong to that part:
for "sofa", the sofas of "Sofas & tables"."""

AFTER = 0.01
"""By how much the match of an entry outside the named categories is lowered below the best one inside them."""

ASIDE = 0.8
ASIDE_SHARE = 0.65
"""If some entries are named by the words, matches below this share of the best one are multiplied by this factor, so
that vectors decide about them: a cable described as lying "behind the desk" is not a desk."""

OTHER_CATEGORY = 0.45
"""The maximum match of an entry that has only the word for the kind, if entries of other categories have all words. It
is low enough that vectors decide."""

LOOKALIKE = 0.35
"""The factor of the relevance of an entry that looks like those named by the words, but has none of the words. The
result is below the default floor, whatever its looks."""

HARDLY = 0.125
"""The match below which an entry counts as having none of the words: for "cow print", every print has more."""


def lower_mentions(candidates: Sequence[Candidate], texts: QueryTexts) -> Sequence[Candidate]:
    """Lower the match of candidates that only mention a word by which others are called."""
    best = max((each.head for each in candidates), default=0.0)
    if not texts.own.is_name or best < BY_NAME:
        return candidates
    least = ASIDE_SHARE * best
    return _with_matches(candidates, lambda each: each.text if each.head >= least else ASIDE * each.text)


def prefer_kinds(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Raise the match of candidates in the categories that the words name to at least :data:`KIND_MATCH`, and lower
    that of candidates elsewhere that the words do not name to at most :data:`OUTSIDE`.

    Candidates elsewhere whose own name has the words (see :func:`_match_outside`) come directly after the best of the
    categories. If the words name no category, see :func:`_lower_specified`.
    """
    if not texts.categories:
        return _lower_specified(candidates, texts)
    kinds = {names for names in {each.categories for each in candidates} if is_of_kind(texts, names)}
    of_kind = _best_of_part(candidates, texts).union(each.key for each in candidates if each.categories in kinds)
    best = max((each.text for each in candidates if each.key in of_kind), default=0.0)
    fuller = keys_with_other_words(candidates) if texts.own.specified_head else set[str]()
    of_whole = BY_NAME if texts.own.only_kind else KIND_MATCH
    outside = _match_outside(texts, best)

    def match(each: Candidate) -> float:
        if each.key not in of_kind:
            return outside(each)
        # A lower match of the heads may be that of a stem which two languages share: a tablet is not a table.
        least = of_whole if each.categories in kinds and each.head >= OF_OTHERS else KIND_MATCH
        return max(each.text, BY_NAME if each.key in fuller else least)

    return _with_matches(candidates, match)


def _lower_specified(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Return the candidates, with those of categories that the head specifies placed after the best of the mentioned
    ones.

    Words may mention a category without naming it: for "canon camera", "Camera lenses" come after the cameras. Nothing
    changes if no candidate of a mentioned category is named by the words.
    """
    mentioned, specified = texts.mentioned, texts.own.meaning.specified - texts.mentioned
    of_mentioned = (each.text for each in candidates if not mentioned.isdisjoint(each.categories))
    best = max(of_mentioned, default=0.0)
    if best < BY_NAME:
        return [*candidates]
    return _with_matches(
        candidates,
        lambda each: each.text if specified.isdisjoint(each.categories) else min(each.text, best - AFTER),
    )


def _match_outside(texts: QueryTexts, best: float) -> Callable[[Candidate], float]:
    """Return a function that gives the match of a candidate that is not of the kind that the words name; ``best``: the
    best match of those that are.

    Such a candidate counts as named by the words if its own name has their heads. If the words are the whole name of a
    category, that takes more: they have to be all of the candidate's name. So "glasses" does not find a coffee table
    made of glass, nor "oak table" a table lamp with a long name. With a colour, half of the name suffices: "black soap"
    may be a cleanser.

    Candidates named by the words come directly after the ``best``, or at :data:`OUTSIDE` if the head only specifies
    their category ("Table lamps" for "table").
    """
    own, named = texts.own, texts.categories
    is_name, in_full, specified = own.is_name, own.meaning.in_full, own.meaning.specified
    least, most = CALLED, OUTSIDE
    if in_full or (own.listed and best < BY_NAME):
        alone = HALF_OF_NAME if own.colours else ALL_OF_NAME
        whole = is_name or len(own.heads) <= 1  # none: all words are the name of a category
        least, most = alone if whole else BY_NAME, OTHER_KIND

    def match(each: Candidate) -> float:
        is_called = (each.head if own.heads and not in_full else min(each.head, each.text)) >= least
        is_specified = not specified.isdisjoint(each.categories)
        is_best = is_called and (each.text >= ALL_OF_NAME or best < OF_PART * each.text)
        if (is_best and not (is_specified and is_name)) or not named.isdisjoint(each.categories):
            return each.text
        # For "sneakers", the "Allstar Sneakers" of the category "Footwear" follow those of the category "Sneakers".
        follows = is_called or (in_full and is_name and each.head >= least)
        return min(each.text, best - AFTER if follows and not is_specified else most)

    return match


def is_of_kind(texts: QueryTexts, categories: Sequence[str]) -> bool:
    """Return whether the words name one of these categories as a whole, and not a part of it."""
    return not texts.categories.intersection(categories) <= texts.partly


def raise_heads(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Raise the match of candidates whose name has the heads of the query, if no candidate has all of its words: for
    "desk lamp", any lamp, if none is called a desk lamp.

    Apply it after the feedback, which uses only candidates that have all words.
    """
    nothing_has_all = all(each.text < BY_NAME for each in candidates)
    by_name = texts.own.meaning.in_full or (texts.categories and texts.own.listed)
    least = BY_NAME if nothing_has_all and not by_name else math.inf
    mentioned = texts.mentioned

    def match(each: Candidate) -> float:
        of_head = each.head >= least and texts.own.meaning.specified.isdisjoint(each.categories)
        of_head = of_head and (not mentioned or not mentioned.isdisjoint(each.categories))
        return max(each.text, KIND_MATCH) if of_head else each.text

    return _with_matches(candidates, match)


def _best_of_part(candidates: Sequence[Candidate], texts: QueryTexts) -> set[str]:
    """Return the keys of the candidates that belong to the part of a category that the words name: those whose match is
    nearly the best one there."""
    within = [each for each in candidates if not texts.partly.isdisjoint(each.categories)]
    least = OF_PART * max((each.text for each in within), default=0.0)
    return {each.key for each in within if each.text >= least}


def keys_with_other_words(candidates: Sequence[Candidate]) -> set[str]:
    """Return the keys of the candidates that have most of the words other than the heads, in any of their texts.

    The share of the heads in the match of all words is not known here. It is estimated from the candidate that has the
    least of the other words.
    """
    share = min((each.text / each.head for each in candidates if each.head > 0), default=1.0)
    return {each.key for each in candidates if each.text - share * each.head >= OF_OTHERS * (1 - share) > 0}


def _with_matches(candidates: Sequence[Candidate], match: Callable[[Candidate], float]) -> list[Candidate]:
    return [each if (text := match(each)) == each.text else each._replace(text=text) for each in candidates]


def lower_other_categories(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Lower the match of candidates that are only of the named kind, if candidates of other categories have all words:
    for "balance bike", that of racing bikes, if one of the children's bikes is a balance bike. Nothing changes if all
    other words are colours or qualifiers, which a shopper may do without."""
    fitting: set[str] = set()
    if texts.categories and texts.own.narrowed:
        fitting.update(name for each in candidates if each.text >= BY_NAME for name in each.categories)

    def is_aside(each: Candidate) -> bool:
        return bool(fitting) and OTHER_CATEGORY < each.text <= KIND_MATCH and fitting.isdisjoint(each.categories)

    return [each._replace(text=OTHER_CATEGORY) if is_aside(each) else each for each in candidates]


def lower_other_departments(looks: Sequence[Candidate], texts: QueryTexts, roles: Roles) -> list[Candidate]:
    """Lower the relevance of candidates outside the departments of the categories that the words name: for "clothing",
    that of wall paint, whatever its picture looks like."""
    departments = roles.departments_of(texts.categories)

    def is_elsewhere(each: Candidate) -> bool:
        return bool(each.categories) and departments.isdisjoint(roles.departments_of(each.categories))

    if not departments:
        return [*looks]
    return [each._replace(relevance=LOOKALIKE * each.relevance) if is_elsewhere(each) else each for each in looks]


def names_entries(texts: QueryTexts, candidates: Sequence[Candidate], roles: Roles) -> bool:
    """Return whether some of the candidates are named by the words, while no category is. False in a catalogue without
    categories, where nothing tells a name from a kind."""
    return bool(roles.kinds) and not texts.categories and any(each.text >= BY_NAME for each in candidates)


def lower_lookalikes(candidates: Sequence[Candidate], texts: QueryTexts) -> list[Candidate]:
    """Lower the relevance of candidates that have none of the words, except in categories that synonyms of the words
    name: for "settee", sofas are an answer."""

    def is_lookalike(each: Candidate) -> bool:
        return each.text < HARDLY and texts.synonym_categories.isdisjoint(each.categories)

    return [each._replace(relevance=LOOKALIKE * each.relevance) if is_lookalike(each) else each for each in candidates]
