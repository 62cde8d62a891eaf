"""Joins or divides the words of a query as the catalogue writes them: "skateboard" for "skate board", "750 ml" for
"750ml".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product

from imagesim.language import kana
from imagesim.language.analysis import NO_SPACES, normalised, qualifiers, stop_words, word_list
from imagesim.language.codes import DECIMAL, HYPHEN, codes
from imagesim.language.letters import characters, fold, spelled
from imagesim.language.query_words import MAX_TERMS, divided, query_words
from imagesim.language.stemmers import CHANGED_WITHIN
from imagesim.language.stop_words import (
    ATTACHED,
    CONJUNCTIONS,
    FEATURES,
    INFLECTIONS,
    NEGATIONS,
    PARTICLES,
    PREPOSITIONS,
    STOP_WORDS,
)
from imagesim.language.word_forms import LINKS
from imagesim.language.word_lists import shades
from imagesim.language.word_roles import SHORTEST_FIRST, Roles, has_digit
from imagesim.retrieval.words.lookup import has_all, own_stems, words_in

COMPOUNDING = frozenset(INFLECTIONS.keys() - {"ja"})
"""The languages in which two words of a query may be the parts of a compound that the catalogue writes as one word."""

_aside = word_list(
    {each: " ".join(words.get(each, "") for words in (STOP_WORDS, FEATURES, PREPOSITIONS)) for each in COMPOUNDING}
)
"""The words that may stand between the parts of a compound: "sofa aus leder"."""

_separate = word_list(
    {each: " ".join(words.get(each, "") for words in (NEGATIONS, CONJUNCTIONS)) for each in COMPOUNDING}
)
"""Those that may not: "sofa ohne leder", "sofa und kissen"."""

_attached = word_list(ATTACHED)

_RUNS = re.compile(rf"{DECIMAL}|\d+|[^\W\d_]+")
"""The runs of digits and the runs of letters in a word."""

_UNDIVIDED = re.compile(r"[-‐‑/_*×]|^[^\W\d_]\d+$")
"""Words whose runs are not divided: those that the analysis divides, and the thread of a screw such as "M8"."""

LONGEST = 32
"""The maximum number of letters of a word that is divided."""

MOST_JOINED = 3
"""The maximum number of words that are joined: "hoge druk reiniger" (pressure washer) is the Dutch
"hogedrukreiniger"."""


def spaced(text: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return ``text`` with its words joined or divided as in the catalogue, if the catalogue lacks them as typed.

    - "skate board" and "skate-board" become "skateboard", "750ml" becomes "750 ml", and "GSB18V55" "GSB 18V 55".
    - The shade of a colour and a qualifier become words of their own: "hellblau" (light blue) is "hell blau", and
      "Herrenschuhe" (men's shoes) "Herren schuhe".
    - Words that name a kind only when joined are joined, even if the catalogue has each of them.

    Only the first :data:`~imagesim.language.query_words.MAX_TERMS` words are changed.
    """
    text = NO_SPACES.sub(lambda match: segmented(match[0], roles, languages), text)
    typed = text.split()
    words, rest = typed[:MAX_TERMS], typed[MAX_TERMS:]
    spacing = _Spacing(roles, languages)
    for end in range(len(words), 0, -1):
        sequences = (words[end - count : end] for count in range(min(MOST_JOINED, end), 1, -1))
        if parts := next(filter(spacing.is_compound, sequences), []):
            words[end - len(parts) : end] = ["".join(parts), *[""] * (len(parts) - 1)]
        else:
            words[end - 1] = spacing.of_word(words[end - 1])
    return text if words == typed[:MAX_TERMS] else " ".join(filter(None, [*words, *rest]))


@dataclass(frozen=True, slots=True)
class _Spacing:
    """How a catalogue with these roles of words writes the words of its ``languages``."""

    roles: Roles
    languages: Sequence[str]

    def of_word(self, typed: str) -> str:
        """Return a word joined at its hyphens or divided, if that is how the catalogue writes it, or unchanged."""
        parts = HYPHEN.split(typed)
        if 1 < len(parts) <= MOST_JOINED and not has_digit(typed) and self.is_compound(parts):
            return "".join(parts)
        shade, rest = divided(typed, shades(tuple(self.languages)))
        if shade and self._is_colour(rest):
            return f"{shade} {rest}"
        if self._is_in_names(typed):
            return typed
        if runs := _divided_runs(typed, self._has):
            return runs
        compounding = tuple(each for each in self.languages if each in INFLECTIONS)
        for first in (qualifiers(compounding), _attached(tuple(self.languages))):
            part, rest = divided(typed, first)
            if part and self._has(rest):
                return f"{part} {rest}"
        return typed

    def is_compound(self, parts: Sequence[str]) -> bool:
        """Return whether the catalogue writes these words as one, and not also as several words."""
        if len(parts) > 2 and min(map(len, parts)) < SHORTEST_FIRST:
            return False
        roles, joined = self.roles, "".join(parts)
        # Most pairs of words are not compounds, and stemming them takes most of the time of reading a query.
        if CHANGED_WITHIN.isdisjoint(self.languages) and not roles.has_beginning(
            spelled("".join(parts[:-1]), *self.languages) + spelled(parts[-1], *self.languages)[:1]
        ):
            return False
        # The stem has to contain a part of the last word: that of "silverring" is "silver".
        stems = [own_stems(word, roles) for word in words_in(joined, self.languages)]
        first = len(joined) - len(parts[-1])
        if not stems or not all(roles.has(each) and min(map(len, each)) > first for each in stems):
            return False
        # A stop word may be part of a compound: the "e" of "e-bike" is "and" in Italian. But the stem has to begin with
        # the first word and a letter of the second: "the" and "rings" joined have the stem of "there".
        with_stop = not stop_words(tuple(self.languages)).isdisjoint(spelled(part, *self.languages) for part in parts)
        known = (stem for each in stems for stem in roles.known.intersection(each))
        if with_stop and not any(stem.startswith(spelled(joined[: first + 2], *self.languages)) for stem in known):
            return False
        has_parts = not with_stop and all(map(self._has, parts))
        return not has_parts or _is_kind(joined, parts, roles, self.languages)

    def _has(self, typed: str) -> bool:
        return has_all(typed, self.roles, self.languages)

    def _is_in_names(self, typed: str) -> bool:
        """Return whether the catalogue has all words of ``typed``, and not in descriptions alone."""
        words = words_in(typed, self.languages)
        return bool(words) and all(self.roles.is_in_names(own_stems(word, self.roles)) for word in words)

    def _is_colour(self, typed: str) -> bool:
        words = words_in(typed, self.languages)
        return bool(words) and all(not self.roles.colours.isdisjoint(word.stems.values()) for word in words)


def segmented(run: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return a run of a script that is written without spaces, with a space between its words: "白色 运动鞋" for
    "白色运动鞋". Consecutive katakana are one word: "防水 スニーカー" for "防水スニーカー"."""
    return " ".join(
        part if kana.is_written(part) else _segmented_run(part, roles, languages) for part in kana.parts(run)
    )


def _segmented_run(run: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return a run without katakana with a space between its words.

    Two neighbouring characters belong to different words if the catalogue has each together with its other neighbour,
    but not the two together: it has 白色 and 运动, but not 色运. A last character may name a kind alone: 鞋 in 白鞋.
    Particles after a word of the catalogue are left out: "红色的连衣裙" becomes "红色 连衣裙", and "운동화를" "운동화".
    """

    def is_known(pair: str) -> bool:
        return all(word.filler or roles.has(own_stems(word, roles)) for word in query_words(pair, languages))

    for at in kana.endings(run):  # "赤い りんご"
        if roles.has({kana.spelled(run[at:])}):
            return f"{_segmented_run(run[:at], roles, languages)} {run[at:]}"
    letters = characters(run)
    together = [is_known(first + second) for first, second in pairwise(letters)]
    if all(together):
        return run
    known = {at for first, is_word in enumerate(together) if is_word for at in (first, first + 1)}
    for at, letter in enumerate(letters):
        ends = at not in known and letter in roles.kinds and PARTICLES.issuperset(letters[at + 1 : at + 2])
        before = letters[max(at - 1, 0)]
        if ends and (at == 0 or at - 1 in known or before in PARTICLES or before in roles.modifiers):
            known |= {at, at - 1} if before in roles.modifiers else {at}
    if 1 in known and letters[0] in roles.modifiers:
        known.add(0)
    divided = letters[0]
    for at, letter in enumerate(letters[1:], start=1):
        if letter in PARTICLES and at not in known and at - 1 in known:
            divided += " "
        else:
            apart = not together[at - 1] and {at - 1, at} <= known
            divided += f" {letter}" if apart else letter
    return divided.strip()


def _is_kind(joined: str, parts: Sequence[str], roles: Roles, languages: Sequence[str]) -> bool:
    """Return whether words name a kind when they are joined ("screw driver"), and no category's name has them as
    separate words. If one of them is a single letter, longer names do not count: in a shop with "Kids' t-shirts",
    "t shirts" may still be joined."""
    stems, *of_parts = (
        frozenset(stem for word in words_in(typed, languages) for stem in word.stems.values())
        for typed in (joined, *parts)
    )
    if not roles.names_kind(stems):
        return False
    longest = len(parts) if min(map(len, parts)) == 1 else MAX_TERMS
    called = (name for name in roles.names if all(map(frozenset(name).intersection, of_parts)))
    return all(len(name) > longest for name in called)


def with_compound(text: str, roles: Roles, languages: Sequence[str]) -> list[str]:
    """Return a list of one text: ``text`` with two of its words replaced by the compound of them that names of the
    catalogue have: "ledersofa" for "sofa leder" and "sofa aus leder", "küchenstuhl" for "küche stuhl".
    Empty if there is none, or none of the ``languages`` writes compounds as one word.

    Only stop words and prepositions may stand between the two; then the first is the last part of the compound. Of
    neighbours, either may be, but the second is preferred: an "armband uhr" is a watch, and not its strap. The first is
    not if only the second names a kind: "orange säfte" are juices, and not the oranges called "saftorangen". An index
    finds neighbours in one piece anyway (:attr:`~imagesim.language.query_words.QueryWord.joined`).
    """

    def names_kind(word: str) -> bool:
        return any(roles.names_kind(own_stems(each, roles)) for each in words_in(word, compounding))

    def may_be_part(word: str) -> bool:
        return word.isalpha() and SHORTEST_FIRST <= len(word) <= LONGEST

    compounding = tuple(each for each in languages if each in COMPOUNDING)
    typed = text.split()
    aside, separate = _aside(compounding), _separate(compounding)
    said = [n for n, word in enumerate(typed[:MAX_TERMS]) if fold(word) not in aside]
    for at, next_at in pairwise(said) if compounding else ():
        first, last, between = typed[at], typed[next_at], [*map(fold, typed[at + 1 : next_at])]
        if not (may_be_part(first) and may_be_part(last)):
            continue
        orders = [] if between else [(first, last)]
        if separate.isdisjoint(between) and (between or names_kind(first) or not names_kind(last)):
            orders.append((last, first))
        if found := _compound_among(orders, roles, compounding):
            is_joined = not between and found == (first + last).lower()
            return [] if is_joined else [" ".join([*typed[:at], found, *typed[next_at + 1 :]])]
    return []


def _compound_among(pairs: Iterable[tuple[str, str]], roles: Roles, languages: Sequence[str]) -> str:
    """Return the first compound of two words that names of the catalogue have; empty if there is none.

    A first part may lose its ending, and be followed by letters that link it to the last one: "wollhemd" has those of
    "wolle" and "hemd". A short one has at most one such letter: "ledergürtel" is not one of "led" and "gürtel".
    """
    for first, last in pairs:
        stems = frozenset(stem for word in words_in(first, languages) for stem in word.stems.values())
        forms = {form: fold(form) for form in (first.lower(), *sorted(stems))}
        for (form, folded), link in product(forms.items(), ("", *LINKS)):
            part = form + link
            if len(form) < 2 * len(link) or not roles.has_beginning(folded + link + fold(last[:1])):
                continue
            compound = part + last.lower()
            found = [own_stems(word, roles) for word in words_in(compound, languages)]
            # The Swedish "doftljus" and "set" in one piece are a form of the first.
            if found and all(
                roles.is_in_names(each) and stems.isdisjoint(each) and min(map(len, each)) > len(part) for each in found
            ):
                return compound
    return ""


def with_divided_units(text: str, roles: Roles, languages: Sequence[str]) -> list[str]:
    """Return a list of one text: ``text`` with a space between numbers and their units ("12 v" for "12v") wherever the
    catalogue writes them this way. Empty if that changes nothing, or if the text has a part number, whose parts are
    found with any character between them."""
    if codes(normalised(text)):
        return []
    has = partial(has_all, roles=roles, languages=languages)
    words = text.split()
    apart = [(typed[0].isdigit() and _divided_runs(typed, has)) or typed for typed in words]
    return [" ".join(apart)] if apart != words else []


def _divided_runs(typed: str, has: Callable[[str], bool]) -> str:
    """Return a word of digits and letters divided into words that the catalogue ``has``, such as "gsb 18v 55" for
    "gsb18v55"; empty if that is impossible."""
    runs = _RUNS.findall(typed) if len(typed) <= LONGEST else []
    if len(runs) < 2 or not has_digit(typed) or _UNDIVIDED.search(typed):
        return ""
    parts: list[str] = []
    while runs:
        most = len(runs) if parts else len(runs) - 1
        known = next((end for end in range(most, 0, -1) if has("".join(runs[:end]))), 0)
        if not known:
            return ""
        parts.append("".join(runs[:known]))
        runs = runs[known:]
    return " ".join(parts)
