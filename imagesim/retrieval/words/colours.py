"""The colours that a query names or excludes, and the message about a colour for which nothing is listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from imagesim.items.measured_colours import colours_by_stem
from imagesim.language.analysis import analyse, stop_words
from imagesim.language.query_words import query_words
from imagesim.language.word_lists import negations
from imagesim.retrieval.fusion import ALL_OF_NAME, KIND_MATCH
from imagesim.types import Message, Query

if TYPE_CHECKING:
    from imagesim.language.word_roles import Roles
    from imagesim.retrieval.retriever import Retriever
    from imagesim.retrieval.words.query_text import QueryText

_TYPED = re.compile(r"[^\W_]+")


def without_negated_colours(text: str, roles: Roles, languages: Sequence[str]) -> tuple[str, frozenset[str]]:
    """Return ``text`` without the colours that it excludes and their negations, and the stems of these colours: "lamp"
    and the stem of "white" for "lamp, not white". The text is unchanged if nothing else would be left.

    Other words after a negation are kept: "milk without lactose" asks for lactose-free milk.
    """
    negating, stop = negations(tuple(languages)), stop_words(tuple(languages))
    if negating.isdisjoint(token.word for token in analyse(text, languages[0])):
        return text, frozenset()
    kept: list[str] = []
    unwanted: set[str] = set()
    between: list[str] | None = None  # a negation and the stop words after it; None outside a negation
    for typed in text.split():
        words = query_words(typed, languages)
        named = [roles.colours.intersection(word.stems.values()) for word in words]
        if any(word.word in negating for word in words):
            kept, between = [*kept, *(between or ())], [typed]
        elif between is not None and words and all(named):
            unwanted.update(*named)
            between = []
        elif between is not None and all(word.word in stop for word in words):
            between.append(typed)
        else:
            kept, between = [*kept, *(between or ()), typed], None
    kept += between or ()
    return (" ".join(kept), frozenset(unwanted)) if kept and unwanted else (text, frozenset())


def named_colours(text: QueryText, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a query that name a colour, as they are typed; none if the query names no category."""
    if not text.categories:
        return ()
    words = query_words(text.text, languages, text.foreign)
    known = {words[number].word for number in text.colours}
    stems = colours_by_stem(tuple(languages)).keys()

    def is_colour(typed: str) -> bool:
        found = query_words(typed, languages, text.foreign)
        return any(word.word in known or not stems.isdisjoint(word.stems.values()) for word in found)

    return tuple(typed for typed in _TYPED.findall(text.text) if is_colour(typed))


def unlisted_colours(
    colours: Sequence[str], text: QueryText, match: float, query: Query, retriever: Retriever
) -> tuple[Message, ...]:
    """Return a message about each of the ``colours`` that no entry of the named categories has in its texts. Empty if
    the best ``match`` of a hit is that of all words.

    The texts of an entry include the names of the colours measured in its pictures. Pictures without a plain background
    have no measured colours, so a hit may have the colour nevertheless.
    """
    if match >= ALL_OF_NAME:
        return ()
    named = query.filters.categories or tuple(sorted(text.categories))
    of_kind = replace(query, offset=0, limit=1, min_score=None, filters=replace(query.filters, categories=named))
    asked = [replace(text.applied_to(of_kind), text=colour, heads=(), colours=()) for colour in colours]
    return tuple(
        Message(_("Nothing of this kind is listed as “%(colour)s”.") % {"colour": colour})
        for colour, found in zip(colours, retriever.search(asked), strict=True)
        if not any(each.text >= KIND_MATCH for each in found.candidates)
    )
