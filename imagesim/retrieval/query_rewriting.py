"""Rewrites the words of a query as the catalogue writes them, joined or divided: "skateboard" for "skate board",
"750 ml" for "750ml"."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from imagesim import kana
from imagesim.indexes.analysis import DECIMAL, NO_SPACES, fold, normalised, stem_of, stop_words
from imagesim.indexes.codes import HYPHEN, codes
from imagesim.indexes.query_words import MAX_TERMS, QueryWord, divided, qualifiers, query_words, shades
from imagesim.indexes.stemmers import CHANGED_WITHIN
from imagesim.indexes.stop_words import INFLECTIONS, PARTICLES
from imagesim.word_roles import SHORTEST_FIRST, Roles, has_digit

_RUNS = re.compile(rf"{DECIMAL}|\d+|[^\W\d_]+")
"""The runs of digits and the runs of letters in a word."""

_DIVISION = re.compile(rf"[\W_]|[xX]\d|{NO_SPACES.pattern}")
"""The places at which the analysis divides a typed word into several."""

_APART = re.compile(r"[-‐‑/_*×]|^[^\W\d_]\d+$")
"""Words that are not divided further: those that the analysis divides, and the thread of a screw such as "M8"."""

LONGEST = 32
"""The maximum number of letters of a word that is divided."""

MOST_JOINED = 3
"""The maximum number of words that are joined: "hoge druk reiniger" (pressure washer) is the Dutch
"hogedrukreiniger"."""


def own_stems(word: QueryWord, roles: Roles) -> Collection[str]:
    """Return the stems of a word, and those of its other forms that the catalogue contains: the French stemmer gives
    "oreiller" (pillow) the stem of "oreille" (ear), and "oreillers" another one."""
    return (word.other_stems & roles.known).union(word.stems.values())


def known_words(
    words: Sequence[QueryWord],
    written: Sequence[Collection[str]],
    spelled: Collection[str],
    roles: Roles,
    endings: Mapping[int, str],
) -> str:
    """Return the words of a query that tell what is sought, if the catalogue lacks others; empty if it has all of them.

    These are words by which things are called, also as the last part of compounds ("Pumpe", if there is a
    "Tauchpumpe"), and names, which are in no dictionary. Of a compound that the catalogue lacks it is the last part.
    ``written``: the stems of the words as they are spelled; ``spelled``: the words in a dictionary; ``endings``: the
    last parts of the compounds that the catalogue lacks, by the number of the word.
    """
    if all(map(roles.has, written)):
        return ""

    def tells(word: QueryWord, stems: Collection[str]) -> bool:
        is_name = word.word not in spelled and not word.qualifier and roles.is_written(stems)
        ends = not INFLECTIONS.keys().isdisjoint(word.stems) and roles.ends_compounds(word.endings)
        return not word.filler and (is_name or ends or roles.identifies(stems))

    known = ((endings.get(n), word.word if tells(word, written[n]) else "") for n, word in enumerate(words))
    return " ".join(filter(None, (ending or word for ending, word in known)))


def words_in(typed: str, languages: Sequence[str]) -> Sequence[QueryWord]:
    """Return the words into which the analysis divides a typed one, to look them up in the catalogue. A single word has
    only its stems, and none of the properties from lists of words, which take the most time."""
    if not typed or _DIVISION.search(typed):
        return query_words(typed, languages)
    return [QueryWord(fold(typed), {each: stem_of(normalised(typed, each), each) for each in languages})]


def has_all(typed: str, roles: Roles, languages: Sequence[str]) -> bool:
    """Whether the catalogue has all words into which the analysis divides a typed one."""
    words = words_in(typed, languages)
    return bool(words) and all(roles.has(own_stems(word, roles)) for word in words)


def spaced(text: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return ``text`` with its words joined or divided as in the catalogue, if that does not have them as they are.

    - "skate board" and "skate-board" become "skateboard", "750ml" becomes "750 ml", and "GSB18V55" "GSB 18V 55".
    - The shade of a colour and a qualifier become words of their own: "hellblau" (light blue) is "hell blau", and
      "Herrenschuhe" (men's shoes) "Herren schuhe".
    - Words that name a kind only when joined are joined, even if the catalogue has each of them.
    """

    has = partial(has_all, roles=roles, languages=languages)
    stop = stop_words(tuple(languages))
    compounding = tuple(each for each in languages if each in INFLECTIONS)
    alike = CHANGED_WITHIN.isdisjoint(languages)

    def is_joined(parts: Sequence[str]) -> bool:
        if len(parts) > 2 and min(map(len, parts)) < SHORTEST_FIRST:
            return False
        joined = "".join(parts)
        # Most pairs of words are no compound, and stemming them takes the most time of reading a query.
        if alike and not roles.has_beginning(fold("".join(parts[:-1])) + fold(parts[-1])[:1]):
            return False
        # The stem has to contain a part of the last word: that of "silverring" is "silver".
        stems = [own_stems(word, roles) for word in words_in(joined, languages)]
        first = len(joined) - len(parts[-1])
        if not stems or not all(roles.has(each) and min(map(len, each)) > first for each in stems):
            return False
        # A stop word may be part of a compound: the "e" of "e-bike" is "and" in Italian. But the stem has to begin with
        # the first word and a letter of the second: "the" and "rings" joined have the stem of "there".
        with_stop = not stop.isdisjoint(map(fold, parts))
        known = (stem for each in stems for stem in roles.known.intersection(each))
        if with_stop and not any(stem.startswith(fold(joined[: first + 2])) for stem in known):
            return False
        apart = not with_stop and all(map(has, parts))
        return not apart or _is_kind(joined, parts, roles, languages)

    def is_called(typed: str) -> bool:
        # A word that only descriptions have is not what anything is called.
        words = words_in(typed, languages)
        return bool(words) and all(roles.is_in_names(own_stems(word, roles)) for word in words)

    def is_colour(typed: str) -> bool:
        words = words_in(typed, languages)
        return bool(words) and all(not roles.colours.isdisjoint(word.stems.values()) for word in words)

    text = NO_SPACES.sub(lambda match: segmented(match[0], roles, languages), text)
    given = text.split()
    words = given[:MAX_TERMS]
    for end in range(len(words), 0, -1):
        parts = HYPHEN.split(words[end - 1])
        sequences = (words[end - count : end] for count in range(min(MOST_JOINED, end), 1, -1))
        if written_as_one := next(filter(is_joined, sequences), []):
            words[end - len(written_as_one) : end] = ["".join(written_as_one), *[""] * (len(written_as_one) - 1)]
        elif 1 < len(parts) <= MOST_JOINED and not has_digit(words[end - 1]) and is_joined(parts):
            words[end - 1] = "".join(parts)
        elif (shade := divided(words[end - 1], shades(tuple(languages))))[0] and is_colour(shade[1]):
            words[end - 1] = " ".join(shade)
        elif is_called(words[end - 1]):
            continue
        elif written := _apart(words[end - 1], has):
            words[end - 1] = written
        else:
            qualifier, rest = divided(words[end - 1], qualifiers(compounding))
            if qualifier and has(rest):
                words[end - 1] = f"{qualifier} {rest}"
    return text if words == given[:MAX_TERMS] else " ".join(filter(None, [*words, *given[MAX_TERMS:]]))


def segmented(run: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return text of a script without spaces with a space between its words: "白色 运动鞋" for "白色运动鞋". A run of
    katakana is a word: "防水 スニーカー" for "防水スニーカー"."""
    return " ".join(part if kana.is_written(part) else _segmented(part, roles, languages) for part in kana.parts(run))


def _segmented(run: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return text of such a script, which has no katakana, with a space between its words.

    Two neighbouring characters belong to different words if the catalogue has each together with its other neighbour,
    but not the two together: it has 白色 and 运动, but no 色运. A last character may name a kind alone: 鞋 in 白鞋.
    Particles after a word of the catalogue are left out: "红色的连衣裙" becomes "红色 连衣裙", and "운동화를" "운동화".
    """

    def is_known(pair: str) -> bool:
        return all(word.filler or roles.has(own_stems(word, roles)) for word in query_words(pair, languages))

    for at in kana.endings(run):  # "赤い りんご"
        if roles.has({kana.spelled(run[at:])}):
            return f"{_segmented(run[:at], roles, languages)} {run[at:]}"
    together = [is_known(run[at : at + 2]) for at in range(len(run) - 1)]
    if all(together):
        return run
    known = {at for first, is_word in enumerate(together) if is_word for at in (first, first + 1)}
    for at, letter in enumerate(run):
        ends = at not in known and letter in roles.kinds and (run[at + 1 : at + 2] or "的") in PARTICLES
        before = run[max(at - 1, 0)]
        if ends and (at == 0 or at - 1 in known or before in PARTICLES or before in roles.modifiers):
            known |= {at, at - 1} if before in roles.modifiers else {at}
    if 1 in known and run[0] in roles.modifiers:
        known.add(0)
    divided = run[0]
    for at, letter in enumerate(run[1:], start=1):
        if letter in PARTICLES and at not in known and at - 1 in known:
            divided += " "
        else:
            apart = not together[at - 1] and {at - 1, at} <= known
            divided += f" {letter}" if apart else letter
    return divided.strip()


def _is_kind(joined: str, parts: Sequence[str], roles: Roles, languages: Sequence[str]) -> bool:
    """Whether words name a kind when they are joined ("screw driver"), and no category's name has them as separate
    words. If one of them is a single letter, a longer name may: a shop with "Kids' t-shirts" may have "t shirts"
    joined."""
    stems, *of_parts = (
        frozenset(stem for word in words_in(typed, languages) for stem in word.stems.values())
        for typed in (joined, *parts)
    )
    if not roles.names_kind(stems):
        return False
    longest = len(parts) if min(map(len, parts)) == 1 else MAX_TERMS
    called = (name for name in roles.names if all(map(frozenset(name).intersection, of_parts)))
    return all(len(name) > longest for name in called)


def units_apart(text: str, roles: Roles, languages: Sequence[str]) -> list[str]:
    """Return ``text`` with a space between numbers and their units ("12 v" for "12v"), if the catalogue writes any of
    them so; nothing otherwise. Not if the text has a part number, whose parts are searched with any character between
    them.
    """
    if codes(normalised(text)):
        return []
    has = partial(has_all, roles=roles, languages=languages)
    words = text.split()
    apart = [(typed[0].isdigit() and _apart(typed, has)) or typed for typed in words]
    return [" ".join(apart)] if apart != words else []


def _apart(typed: str, has: Callable[[str], bool]) -> str:
    """Return a word of digits and letters divided into words of the catalogue, such as "gsb 18v 55" for "gsb18v55";
    empty if it cannot be."""
    runs = _RUNS.findall(typed) if len(typed) <= LONGEST else []
    if len(runs) < 2 or not has_digit(typed) or _APART.search(typed):
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
