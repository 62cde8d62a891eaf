"""Compounds that the catalogue lacks, searched by their parts: "Lederjacke" (leather jacket) finds a jacket described
as made of leather. For languages that write compounds as one word, and for English words of which the catalogue has
both parts ("lunchbox").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from imagesim.language.dictionaries import has_dictionary, in_dictionary
from imagesim.language.query_words import QueryWord
from imagesim.language.stop_words import INFLECTIONS
from imagesim.language.word_forms import may_be_compound
from imagesim.language.word_roles import SHORTEST, Roles
from imagesim.retrieval.fusion import KIND_MATCH
from imagesim.retrieval.words.lookup import has_all, own_stems, words_in
from imagesim.retrieval.words.spacing import LONGEST
from imagesim.types import Candidate, Candidates

OF_PARTS = 0.74
"""The factor of the match of an entry that has both parts of a compound: a sofa of leather answers "Ledersofa"."""

BOTH_PARTS = 0.6
"""The minimum match of the parts together, and of the last part alone, for an entry to have both."""

FIRST_PART = 0.19
"""The minimum match of the first part in an entry of a category that the last part names: the "Takken telescoop" in
the Dutch category "Scharen" answers "takkenschaar"."""

OF_ENDING = 0.4
"""The factor of the match of an entry that has the last part alone. It is shown as one of the closest at best: a
"Bürostuhl" is a "Stuhl", but a "Dachstuhl" (roof truss) is not one."""


MOST_LETTERS = 96
"""The maximum total number of letters in the words of a query that are divided. Each word costs a lookup before each of
its letters, in each language."""


def divided_compound(word: str, roles: Roles, languages: Sequence[str], *, known: bool) -> str:
    """Return a compound as two words, such as "büro stühle" for "bürostühle"; empty if it has no such parts.

    The second part is the longest ending by which the catalogue calls something or, if there is none, the longest one
    that ends another compound of the catalogue. One after a word of the catalogue comes before longer ones: if this has
    "baumwolle" and "wolldecke", "baumwolldecke" is "baumwoll decke". If the word is ``known`` (to a dictionary, or to
    the catalogue) or the ending is short, the catalogue has to contain the first part as well: "lunchbox" is divided,
    and "shorthand" is not. A word that is not known is also divided into any two words of the catalogue: "dollhouse"
    into "doll house".
    """

    def is_called(word: QueryWord) -> bool:
        return roles.calls(own_stems(word, roles))

    def ends_compounds(word: QueryWord) -> bool:
        return roles.ends_compounds(word.endings)

    starts = list(range(SHORTEST - 1, len(word) - SHORTEST + 2) if len(word) <= LONGEST else ())
    # "Schultertasche" ends with "ertasche" and "Esstisch" with "isch", which are not words: they do not end
    # "elektrisch".
    spelled = [start for start in starts if any(in_dictionary(word[start:], language) for language in languages)]
    if not all(has_dictionary(language) for language in languages if language in INFLECTIONS):
        spelled = spelled or starts
    begun = {start for start in starts if has_all(word[:start], roles, languages)}
    for is_thing in (is_called, ends_compounds):
        for start in sorted(spelled if is_thing is ends_compounds else starts, key=lambda start: start not in begun):
            first, ending = word[:start], word[start:]
            is_end = any(map(is_thing, words_in(ending, languages)))
            if start in begun:
                fits = is_end or (not known and has_all(ending, roles, languages))
            else:
                fits = is_end and not (known or len(ending) < SHORTEST)
            if fits:
                return f"{first} {ending}"
    return ""


def kinds_of_ending(word: QueryWord, ending: str, roles: Roles, languages: Sequence[str]) -> frozenset[str]:
    """Return the categories whose name ends with the ``ending`` of a compound, or lists it: "Kerzen" for
    "Duftkerze"."""
    if not any(each in INFLECTIONS and may_be_compound(word.word, ending, each) for each in languages):
        return frozenset()
    stems = {stem for part in words_in(ending, languages) for stem in own_stems(part, roles)}
    called = (categories for name, categories in roles.names.items() if name[-1] in stems)
    return frozenset(chain(*called, *(roles.listed.get(stem, ()) for stem in stems)))


def lower_parts(
    found: Candidates, kinds: Collection[str], firsts: Mapping[str, float], whole: Collection[str] = ()
) -> Candidates:
    """Lower the matches of candidates that were found by the parts of a compound, for which the last part is the head.

    ``kinds``: the categories that the last part names; ``firsts``: the match of the first part, by the key of the
    entry; ``whole``: the categories that both parts name together, such as "Paper clips & pins" for "paperclips".
    """
    of_kinds, of_whole = frozenset(kinds), frozenset(whole)

    def lowered(each: Candidate) -> Candidate:
        both = min(each.text, each.head) >= BOTH_PARTS
        of_kind = firsts.get(each.key, 0.0) >= FIRST_PART and not of_kinds.isdisjoint(each.categories)
        of_kind = of_kind or not of_whole.isdisjoint(each.categories)
        factor = OF_PARTS if both else OF_ENDING
        text = factor * (each.text if both else min(each.text, each.head))
        return each._replace(text=max(text, KIND_MATCH if of_kind else 0.0), head=factor * each.head)

    return replace(found, candidates=tuple(map(lowered, found.candidates)))
