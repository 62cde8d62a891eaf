"""The words of a query as the catalogue writes them: divided as there ("skateboard" for "skate board", "750 ml" for
"750ml"), and synonyms by which it calls its things ("sofa" for "settee")."""

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
"""The numbers and the letters of a typed word."""

_DIVISION = re.compile(rf"[\W_]|[xX]\d|{NO_SPACES.pattern}")
"""Where a typed word may be divided into several."""

_APART = re.compile(r"[-‐‑/_*×]|^[^\W\d_]\d+$")
"""Words that are not divided: those that the analysis divides already, and a thread such as "M8"."""

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
"""A file per language, with a group per line: words and phrases that shoppers use for the same thing, with commas. One
after "?" is replaced by the others and replaces none of them, because a shop may well call something else so: the
"shades" of lamps are no sunglasses."""

LISTED_AS = {"no": "nb"}
"""The list of a language code that has none of its own: "no" is either form of Norwegian."""


def own_stems(word: QueryWord, roles: Roles) -> Collection[str]:
    """Return the stems of a word, and of its other forms if the catalogue has these: the French stemmer gives
    "oreillers" (pillows) another one than "oreiller", which has that of "oreille" (ear)."""
    return (word.other_stems & roles.known).union(word.stems.values())


def known_words(
    words: Sequence[QueryWord], written: Sequence[Collection[str]], spelled: Collection[str], roles: Roles
) -> str:
    """Return the words that tell what is sought, if the catalogue lacks others: what things are called by, and names,
    which are in no dictionary. ``written``: the stems of the words, not of those that they may be misspelled for."""
    if all(map(roles.has, written)):
        return ""

    def tells(word: QueryWord, stems: Collection[str]) -> bool:
        is_name = word.word not in spelled and not word.qualifier and roles.is_written(stems)
        return not word.filler and (is_name or roles.identifies(stems))

    return " ".join(word.word for word, stems in zip(words, written, strict=True) if tells(word, stems))


def words_in(typed: str, languages: Sequence[str]) -> Sequence[QueryWord]:
    """Return the words of a typed one, to look up whether the catalogue has them. What lists of words say of a single
    one is left out, because it takes the most time."""
    if not typed or _DIVISION.search(typed):
        return query_words(typed, languages)
    return [QueryWord(fold(typed), {each: stem_of(normalised(typed, each), each) for each in languages})]


def has_all(typed: str, roles: Roles, languages: Sequence[str]) -> bool:
    """Whether the catalogue has all words of a typed one."""
    words = words_in(typed, languages)
    return bool(words) and all(roles.has(own_stems(word, roles)) for word in words)


def spaced(text: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return ``text`` with its words divided as in the catalogue, where that has them only so.

    "skate board" and "skate-board" ask for a skateboard, "750ml" for 750 ml, and "GSB18V55" for a GSB 18V-55. The shade
    of a colour is a word of its own: "hellblau" asks for what is blue. So is a qualifier: "Herrenschuhe" asks for
    shoes. Two words that name a kind in one piece are one, even if the catalogue has both.
    """

    has = partial(has_all, roles=roles, languages=languages)
    stop = stop_words(tuple(languages))
    compounding = tuple(each for each in languages if each in INFLECTIONS)
    alike = CHANGED_WITHIN.isdisjoint(languages)

    def is_joined(parts: Sequence[str]) -> bool:
        if len(parts) > 2 and min(map(len, parts)) < SHORTEST_FIRST:
            return False
        joined = "".join(parts)
        # Most words are joined in vain, and stemming takes the most time of reading a query.
        if alike and not roles.has_beginning(fold("".join(parts[:-1])) + fold(parts[-1])[:1]):
            return False
        # "silver" and "ring" in one piece have the stem "silver", which contains nothing of the second word. So has the
        # plural of the French "tasse" and "à" in one piece.
        stems = [own_stems(word, roles) for word in words_in(joined, languages)]
        first = len(joined) - len(parts[-1])
        if not stems or not all(roles.has(each) and min(map(len, each)) > first for each in stems):
            return False
        # A stop word says nothing alone: the "e" of "e-bike" is "and" in Italian. But "the" and "rings" in one piece
        # have the stem of "there".
        with_stop = not stop.isdisjoint(map(fold, parts))
        known = (stem for each in stems for stem in roles.known.intersection(each))
        if with_stop and not any(stem.startswith(fold(joined[: first + 2])) for stem in known):
            return False
        apart = not with_stop and all(map(has, parts))
        return not apart or _is_kind(joined, parts, roles, languages)

    def is_called(typed: str) -> bool:
        # A description that mentions an "Abendkleid" (evening dress) calls nothing so.
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
    """Return text of a script without spaces, divided where two words meet: "白色 运动鞋" for "白色运动鞋", and "防水
    スニーカー" for "防水スニーカー", of which katakana is a word by itself."""
    return " ".join(part if kana.is_written(part) else _segmented(part, roles, languages) for part in kana.parts(run))


def _segmented(run: str, roles: Roles, languages: Sequence[str]) -> str:
    """Return text without words of katakana, divided where two words meet.

    Two characters are apart if the catalogue has each together with its other neighbour, but not both together: 白色
    and 运动, but no 色运. The last one may also name a kind alone: a 白鞋 is a shoe. Particles behind a word of the
    catalogue are left out: "红色的连衣裙" asks for a 红色 连衣裙, and "운동화를" for a 운동화.
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
    """Whether two words in one piece name a kind, and no category is called by both: screwdrivers of "screw driver". If
    one is a letter, no category may be called by both alone: T-shirts of "t shirts", if a shop has "Kids' t-shirts"."""
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
    """Return ``text`` with its numbers and their units apart ("12 v" of "12v"), if the catalogue writes some so. The
    thread "M8" is no size M, and the number of a part has the same parts with other characters between them."""
    if codes(normalised(text)):
        return []
    has = partial(has_all, roles=roles, languages=languages)
    words = text.split()
    apart = [(typed[0].isdigit() and _apart(typed, has)) or typed for typed in words]
    return [" ".join(apart)] if apart != words else []


def _apart(typed: str, has: Callable[[str], bool]) -> str:
    """Return a word of numbers and letters as the catalogue writes it in several, "gsb 18v 55" of "gsb18v55"; empty if
    it does not."""
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
    """Return the groups of each phrase, by its stems in one piece; of each group what may replace it."""
    found: dict[str, list[list[str]]] = {}
    path = FOLDER / f"{LISTED_AS.get(language, language)}.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        group = line.split(", ")
        unmistakable = [phrase for phrase in group if not phrase.startswith("?")]
        for stems in set[str]().union(*(_keys(phrase, language) for phrase in group)):
            found.setdefault(stems, []).append(unmistakable)
    return found


def _keys(phrase: str, language: str) -> set[str]:
    """Return the stems of a phrase in one piece, and those with the other number of one of its words: "bookshelf" and
    "bookshelves" have two."""
    words = phrase.split()
    stems = [_stems(word, language) for word in words]
    others = ((at, _stems(form, language)) for at, word in enumerate(words) for form in plurals(word, language))
    return {"".join(stems), *("".join([*stems[:at], other, *stems[at + 1 :]]) for at, other in others)}


@lru_cache(maxsize=4_000)
def _stems(phrase: str, language: str) -> str:
    """Return the stems of the words of a phrase in one piece: a "pinboard" may be written "pin board"."""
    return "".join(token.stem for word in HYPHEN.sub(" ", phrase).split() for token in analyse(word, language))


def in_other_words(
    text: str,
    roles: Roles,
    languages: Sequence[str],
    *,
    written_in: Sequence[str] = (),
    although_known: bool = False,
) -> list[tuple[str, str]]:
    """Return ``text`` in the words by which the catalogue calls its things, each with the language of the synonym;
    nothing if it calls some by those of ``text`` (unless ``although_known``), or none by a synonym.

    One phrase is replaced. A single word has to be what is sought: no "gown shoes" for "dress shoes". ``written_in``:
    the languages that tell which word that is; all if not given.
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
        # The English "telephone" is no German compound with "phone".
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
    """Return ``text`` with a space before a phrase of the lists at the end of what is written without spaces:
    "白い 靴下" for "白い靴下"."""

    def divided(match: re.Match[str]) -> str:
        run = match[0]
        # "レディース" (ladies') ends with no "イス" (chair).
        starts = () if kana.is_written(run) else range(max(0, len(run) - LONGEST), len(run) - 1)
        listed = (at for at in starts if any(_stems(run[at:], each) in _groups(each) for each in languages))
        at = next(listed, 0)
        return f"{run[:at]} {run[at:]}" if at else run

    return NO_SPACES.sub(divided, text)


def _windows(count: int) -> Iterator[tuple[int, int]]:
    """Yield where phrases may start and end among ``count`` words, the longest first."""
    for length in range(min(LONGEST_PHRASE, count), 0, -1):
        yield from ((start, start + length) for start in range(count - length + 1))


def _head(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> str:
    """Return the word that says what is sought: the last one before "for" or "with", or the first in French, that is no
    qualifier if there are others."""
    things = [
        word
        for word in words
        if not (word.filler or word.complement or word.unit) and roles.colours.isdisjoint(word.stems.values())
    ]
    things = [word for word in things if not word.qualifier] or things
    return things[0 if HEAD_FIRST.issuperset(languages) else -1].word if things else ""


def _is_known(phrase: str, roles: Roles, language: str) -> bool:
    """Whether something is called by a single word, or more than descriptions have it; or a category by the phrase.

    Whether anything is called by several words together, the index has to tell: "shaving" and "cream" may stand in
    different names.
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
    """Return the synonyms by which something is called, those that name a kind first."""
    others = [other for group in _groups(language).get(_stems(phrase, language), ()) for other in group]
    found = [each for each in others if each != phrase and _calls(each, roles, language)]
    return sorted(found, key=lambda each: not _names_kind(each, roles, language))


def _calls(phrase: str, roles: Roles, language: str) -> bool:
    """Whether something is called by a phrase: by a word, by a compound that ends with it, or maybe by all of several
    words, of which more than descriptions have each, and which call something or name a category."""
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
