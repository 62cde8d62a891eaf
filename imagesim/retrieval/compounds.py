"""Compounds that the catalogue lacks, found by their parts: "Lederjacke" where it has jackets of leather, in languages
that write compounds as one word; and English ones of which it has both parts ("lunch box")."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from imagesim.indexes.dictionaries import in_dictionary
from imagesim.indexes.query_words import QueryWord
from imagesim.indexes.stop_words import INFLECTIONS
from imagesim.indexes.word_forms import may_be_compound
from imagesim.retrieval.query_rewriting import LONGEST, has_all, own_stems, words_in
from imagesim.retrieval.relevance import KIND_MATCH
from imagesim.types import Candidate, Candidates
from imagesim.word_roles import SHORTEST, Roles

OF_PARTS = 0.74
"""The factor of a match by both parts of a compound that the catalogue lacks: a sofa of leather is an answer for
"Ledersofa"."""

BOTH_PARTS = 0.6
"""The minimum of such a match, and of that of the last part alone."""

FIRST_PART = 0.19
"""The minimum match of the first part, if the last names the category: "Takken telescoop" of the Dutch "Scharen" is an
answer for "takkenschaar"."""

OF_ENDING = 0.4
"""The factor of lower matches, by the last part alone. They are shown as the closest only: a "Bürostuhl" is a "Stuhl",
but a "Dachstuhl" is none."""


MOST_LETTERS = 96
"""The maximum number of letters, together, of the words of a query that are divided: where a long word may be divided
is looked up before each of its letters, in each language."""


def divided_compound(word: str, roles: Roles, languages: Sequence[str], *, known: bool) -> str:
    """Return a word before its longest ending that the catalogue calls something by, or if there is none, of which it
    has another compound: "büro stühle" of "bürostühle"; empty if there is neither. The catalogue has to have the first
    part, too, if the word is known or the ending is short: "lunch box" of "lunchbox", and no hand of "shorthand". If it
    is not known, any two words that the catalogue has are its parts: "doll house"."""

    def is_called(word: QueryWord) -> bool:
        return roles.calls(own_stems(word, roles))

    def ends_compounds(word: QueryWord) -> bool:
        return roles.ends_compounds(word.endings)

    starts = list(range(SHORTEST - 1, len(word) - SHORTEST + 2) if len(word) <= LONGEST else ())
    spelled = [start for start in starts if any(in_dictionary(word[start:], language) for language in languages)]
    for is_thing in (is_called, ends_compounds):
        # "Schultertasche" ends with "ertasche", too: "Ledertasche" is one of "leder".
        for start in (spelled or starts) if is_thing is ends_compounds else starts:
            first, ending = word[:start], word[start:]
            is_end = any(map(is_thing, words_in(ending, languages)))
            if has_all(first, roles, languages):
                fits = is_end or (not known and has_all(ending, roles, languages))
            else:
                fits = is_end and not (known or len(ending) < SHORTEST)
            if fits:
                return f"{first} {ending}"
    return ""


def with_kinds_of_compounds(roles: Roles, words: Sequence[QueryWord], except_for: Collection[str]) -> Roles:
    """Return the roles, in which words that the catalogue lacks name the kinds that are called by compounds with them:
    "Schuh" the "Laufschuhe" and the "Hausschuhe". ``except_for``: words of languages without such compounds."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        if not word.word.isalpha() or word.word in except_for or word.filler or word.qualifier:
            continue
        if roles.has(own_stems(word, roles)):
            continue
        parts = [
            (ending, language)
            for ending, languages in word.endings.items()
            for language in (languages or word.stems)
            if language in INFLECTIONS
        ]
        endings = tuple({ending for ending, _language in parts})
        named = {
            category
            for kind, categories in (roles.kinds.items() if parts else ())
            if kind.endswith(endings)
            and any(kind.endswith(ending) and may_be_compound(kind, ending, language) for ending, language in parts)
            for category in categories
        }
        if named:
            found |= dict.fromkeys(word.stems.values(), tuple(sorted(named)))
    return replace(roles, kinds={**roles.kinds, **found}) if found else roles


def kinds_of_ending(word: QueryWord, ending: str, roles: Roles, languages: Sequence[str]) -> frozenset[str]:
    """Return the categories that are called by the ``ending`` of a compound, or list it: "Kerzen" for "Duftkerze"."""
    if not any(each in INFLECTIONS and may_be_compound(word.word, ending, each) for each in languages):
        return frozenset()
    stems = {stem for part in words_in(ending, languages) for stem in own_stems(part, roles)}
    called = (categories for name, categories in roles.names.items() if name[-1] in stems)
    return frozenset(chain(*called, *(roles.listed.get(stem, ()) for stem in stems)))


def by_parts(
    found: Candidates, kinds: Collection[str], firsts: Mapping[str, float], whole: Collection[str] = ()
) -> Candidates:
    """Lower the matches of candidates that were found by the parts of a compound.

    ``kinds``: the categories that are called by its last part; ``firsts``: the matches of its first part, by key;
    ``whole``: the categories that are called by both: for "paperclips", the "Paper clips & pins".
    """
    of_kinds, of_whole = frozenset(kinds), frozenset(whole)

    def weakened(each: Candidate) -> Candidate:
        both = min(each.text, each.head) >= BOTH_PARTS
        of_kind = firsts.get(each.key, 0.0) >= FIRST_PART and not of_kinds.isdisjoint(each.categories)
        of_kind = of_kind or not of_whole.isdisjoint(each.categories)
        factor = OF_PARTS if both else OF_ENDING
        text = factor * (each.text if both else min(each.text, each.head))
        return each._replace(text=max(text, KIND_MATCH if of_kind else 0.0), head=factor * each.head)

    return replace(found, candidates=tuple(map(weakened, found.candidates)))
