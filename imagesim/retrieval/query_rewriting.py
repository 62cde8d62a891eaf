"""Rewrites the words of a query as the catalogue writes them: joined or divided as there ("skateboard" for "skate
board", "750 ml" for "750ml"), or with a synonym by which it calls its things ("sofa" for "settee").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from imagesim.indexes import kana
from imagesim.indexes.analysis import DECIMAL, NO_SPACES, analyse, fold, normalised, stem_of, stop_words
from imagesim.indexes.codes import HYPHEN, codes
from imagesim.indexes.query_words import MAX_TERMS, QueryWord, divided, qualifiers, query_words, shades
from imagesim.indexes.stemmers import CHANGED_WITHIN
from imagesim.indexes.stop_words import HEAD_FIRST, INFLECTIONS, PARTICLES
from imagesim.indexes.word_forms import other_endings, plurals
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

LONGEST_PHRASE = 5
"""The maximum number of words of a phrase with synonyms."""

MAX_SYNONYMS = 2
"""The maximum number of synonyms of a query: each is one more search of texts."""

FOLDER = Path(__file__).with_name("synonyms")
"""A file per language. Each line is a group of words and phrases that shoppers use for the same thing, divided by
commas. One with "?" before it may be replaced by the others, but replaces none of them, because shops use it for other
things: "shades" may be sunglasses, but also lampshades."""

LISTED_AS = {"no": "nb"}
"""Languages that use the list of another: the code "no" stands for either form of Norwegian."""


def own_stems(word: QueryWord, roles: Roles) -> Collection[str]:
    """Return the stems of a word, and those of its other forms that the catalogue contains: the French stemmer gives
    "oreiller" (pillow) the stem of "oreille" (ear), and "oreillers" another one."""
    return (word.other_stems & roles.known).union(word.stems.values())


def known_words(
    words: Sequence[QueryWord], written: Sequence[Collection[str]], spelled: Collection[str], roles: Roles
) -> str:
    """Return the words of a query that tell what is sought, if the catalogue lacks others; empty if it has all of them.

    These are words by which things are called, and names, which are in no dictionary. ``written``: the stems of the
    words as they are spelled; ``spelled``: the words in a dictionary.
    """
    if all(map(roles.has, written)):
        return ""

    def tells(word: QueryWord, stems: Collection[str]) -> bool:
        is_name = word.word not in spelled and not word.qualifier and roles.is_written(stems)
        return not word.filler and (is_name or roles.identifies(stems))

    return " ".join(word.word for word, stems in zip(words, written, strict=True) if tells(word, stems))


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


# Synonyms.


@lru_cache(maxsize=64)
def _groups(language: str) -> dict[str, list[list[str]]]:
    """Return the groups that each phrase is in, by its joined stems; of a group, the phrases that may replace it."""
    found: dict[str, list[list[str]]] = {}
    path = FOLDER / f"{LISTED_AS.get(language, language)}.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        group = line.split(", ")
        unmistakable = [phrase for phrase in group if not phrase.startswith("?")]
        for stems in set[str]().union(*(_keys(phrase, language) for phrase in group)):
            found.setdefault(stems, []).append(unmistakable)
    return found


def _keys(phrase: str, language: str) -> set[str]:
    """Return the joined stems of a phrase, and those with one of its words in the other number: the stems of
    "bookshelf" and "bookshelves" differ."""
    words = phrase.split()
    stems = [_stems(word, language) for word in words]
    others = ((at, _stems(form, language)) for at, word in enumerate(words) for form in plurals(word, language))
    return {"".join(stems), *("".join([*stems[:at], other, *stems[at + 1 :]]) for at, other in others)}


@lru_cache(maxsize=4_000)
def _stems(phrase: str, language: str) -> str:
    """Return the joined stems of the words of a phrase, which are the same for "pinboard" and "pin board"."""
    return "".join(token.stem for word in HYPHEN.sub(" ", phrase).split() for token in analyse(word, language))


def in_other_words(
    text: str,
    roles: Roles,
    languages: Sequence[str],
    *,
    written_in: Sequence[str] = (),
    although_known: bool = False,
) -> list[tuple[str, str]]:
    """Return ``text`` with one phrase replaced by synonyms by which the catalogue calls things: several texts, each
    with the language of its synonym.

    Return nothing if the catalogue calls things by the phrase itself (unless ``although_known``), or by none of its
    synonyms. A single word is replaced only if it is what is sought, so that "dress shoes" does not become "gown
    shoes". ``written_in``: the languages whose grammar tells which word that is; by default all.
    """
    words = _apart_from_listed(text, languages).split()
    stems = {each: [_stems(word, each) for word in words[:MAX_TERMS]] for each in languages}
    for start, end in _windows(min(len(words), MAX_TERMS)):
        listed = [each for each in languages if "".join(stems[each][start:end]) in _groups(each)]
        if not listed:
            continue
        phrase = " ".join(words[start:end])
        head = _head(query_words(text, languages), roles, written_in or languages)
        if end - start == 1 and not any(token.word == head for each in languages for token in analyse(phrase, each)):
            continue
        # The English "telephone" is no German compound of "phone": only languages of the list have compounds with it.
        asked = [each for each in languages if each in listed or each not in INFLECTIONS]
        if not although_known and any(_is_known(phrase, roles, each) for each in asked):
            continue
        found: dict[str, str] = {}
        for language in listed:
            for synonym in _synonyms(phrase, roles, language):
                found.setdefault(synonym, language)
        if found:
            others = [*found.items()][:MAX_SYNONYMS]
            return [(" ".join([*words[:start], other, *words[end:]]), language) for other, language in others]
    return []


def _apart_from_listed(text: str, languages: Sequence[str]) -> str:
    """Return ``text`` with a space before a phrase of the lists that ends a run of text without spaces: "白い 靴下" for
    "白い靴下"."""

    def divided(match: re.Match[str]) -> str:
        run = match[0]
        # Not within a word of kana: "レディース" (ladies') is no compound with "イス" (chair).
        starts = () if kana.is_written(run) else range(max(0, len(run) - LONGEST), len(run) - 1)
        listed = (at for at in starts if any(_stems(run[at:], each) in _groups(each) for each in languages))
        at = next(listed, 0)
        return f"{run[:at]} {run[at:]}" if at else run

    return NO_SPACES.sub(divided, text)


def _windows(count: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each phrase among ``count`` words, the longest first."""
    for length in range(min(LONGEST_PHRASE, count), 0, -1):
        yield from ((start, start + length) for start in range(count - length + 1))


def _head(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> str:
    """Return the word that says what is sought: the last noun before "for" or "with", or in languages such as French
    the first. Qualifiers count only if there is nothing else."""
    things = [
        word
        for word in words
        if not (word.filler or word.complement or word.unit) and roles.colours.isdisjoint(word.stems.values())
    ]
    things = [word for word in things if not word.qualifier] or things
    return things[0 if HEAD_FIRST.issuperset(languages) else -1].word if things else ""


def _is_known(phrase: str, roles: Roles, language: str) -> bool:
    """Whether the catalogue calls something by a phrase: by a single word, also if only names or brands have it, or a
    category by all of several words.

    Whether a thing is called by several words together, only the index knows: "shaving" and "cream" may be in the names
    of different things.
    """
    words = query_words(phrase, (language,))
    if len(words) != 1:
        return _is_category(words, roles)
    if _calls(phrase, roles, language):
        return True
    if not roles.is_in_names(own_stems(words[0], roles)):
        return False
    # In a shop of rucksacks, "backpack" means these, though it has "Backpacking tents".
    own = set(own_stems(words[0], roles))
    specifies = any(own <= stems for stems in roles.specifiers_of_categories.values())
    return not (specifies and any(_names_kind(each, roles, language) for each in _synonyms(phrase, roles, language)))


def _synonyms(phrase: str, roles: Roles, language: str) -> list[str]:
    """Return the synonyms of a phrase by which the catalogue calls something, those that name a kind first."""
    others = [other for group in _groups(language).get(_stems(phrase, language), ()) for other in group]
    found = [each for each in others if each != phrase and _calls(each, roles, language)]
    return sorted(found, key=lambda each: not _names_kind(each, roles, language))


def _calls(phrase: str, roles: Roles, language: str) -> bool:
    """Whether the catalogue may call something by a phrase.

    A single word has to be one by which something is called, or the end of such a compound. Of several words, each has
    to be in a name or a brand and one call something, or all have to be in the name of a category.
    """
    words = query_words(phrase, (language,))
    if len(words) == 1:
        return roles.calls(own_stems(words[0], roles)) or (
            language in INFLECTIONS
            and roles.ends_compounds(words[0].endings, others=partial(other_endings, language=language))
        )
    called = [roles.calls(own_stems(word, roles)) for word in words]
    return (any(called) and all(roles.is_in_names(own_stems(word, roles)) for word in words)) or _is_category(
        words, roles
    )


def _is_category(words: Sequence[QueryWord], roles: Roles) -> bool:
    stems = [own_stems(word, roles) for word in words]
    return any(all(map(frozenset(name).intersection, stems)) for name in roles.names)


def _names_kind(phrase: str, roles: Roles, language: str) -> bool:
    words = query_words(phrase, (language,))
    head = _head(words, roles, (language,))
    return any(roles.names_kind(own_stems(word, roles)) for word in words if word.word == head)
