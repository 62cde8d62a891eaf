"""Rewrites a query with synonyms by which the catalogue calls its things: "sofa" for "settee"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from imagesim.language import kana
from imagesim.language.analysis import NO_SPACES, analyse, stop_words
from imagesim.language.codes import HYPHEN
from imagesim.language.dictionaries import in_dictionary
from imagesim.language.letters import fold
from imagesim.language.query_words import MAX_TERMS, QueryWord, query_words
from imagesim.language.stop_words import HEAD_FIRST, INFLECTIONS
from imagesim.language.word_forms import other_endings, other_spellings, plurals
from imagesim.language.word_lists import negations
from imagesim.language.word_roles import SHORTEST, SHORTEST_FIRST, Roles
from imagesim.retrieval.words.lookup import own_stems
from imagesim.retrieval.words.spacing import LONGEST

LONGEST_PHRASE = 5
"""The maximum number of words of a phrase with synonyms."""

MAX_SYNONYMS = 3
"""The maximum number of synonyms of a query: each is one more search of texts."""

FOLDER = Path(__file__).with_name("synonym_lists")
"""A file per language. Each line is a group of words and phrases that shoppers use for the same thing, separated by
commas. One with "?" before it may be replaced by the others, but replaces none of them, because shops use it for other
things: "shades" may be sunglasses, but also lampshades."""

LISTED_AS = {"no": "nb"}
"""Languages that use the list of another: the code "no" stands for either form of Norwegian."""


@lru_cache(maxsize=64)
def _listed(language: str) -> dict[str, list[tuple[str, list[str]]]]:
    """Return the phrases of a list by their first letters, each with those of its group that may replace it.

    A phrase also has an entry for the singular and the plural of each of its words: the stems of "bookshelf" and
    "bookshelves" differ. Nothing is stemmed before it is compared, because a whole list would take a second.
    """
    found: dict[str, list[tuple[str, list[str]]]] = {}
    path = FOLDER / f"{LISTED_AS.get(language, language)}.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        group = line.split(", ")
        unmistakable = [phrase for phrase in group if not phrase.startswith("?")]
        for phrase in group:
            words = phrase.removeprefix("?").split()
            others = ((at, form) for at, word in enumerate(words) for form in plurals(word, language))
            for form in (words, *([*words[:at], other, *words[at + 1 :]] for at, other in others)):
                spelled = " ".join(form)
                found.setdefault(_beginning(spelled), []).append((spelled, unmistakable))
    return found


@lru_cache(maxsize=4_000)
def _groups_with(beginning: str, language: str) -> dict[str, list[list[str]]]:
    """Return the groups of the phrases with these first letters, by the joined stems of a phrase, and by those without
    the stop words within if there are any."""
    found: dict[str, list[list[str]]] = {}
    for phrase, group in _listed(language).get(beginning, ()):
        stems, without = _stems(phrase, language)
        for key in (stems,) if without == f" {stems}" else (stems, without):
            groups = found.setdefault(key, [])
            if group not in groups:
                groups.append(group)
    return found


def _groups_of(phrase: str, language: str) -> list[list[str]]:
    """Return the groups that a phrase is in; of each, the phrases that may replace it.

    Shoppers leave out or exchange the stop words within: "goma pelo" and "gomas para el pelo" are the "goma de pelo" of
    a list. But a "curtain with rod" is no "curtain rod". A list has one spelling of a word: "tyre pump" is its "tire
    pump".
    """
    # The German "phone" is no "Fön" (hair dryer), which is also written "Fon".
    spellings = () if language in INFLECTIONS else other_spellings(phrase, language)
    for written in (phrase, *spellings):
        groups = _groups_with(_beginning(written), language)
        stems, without = _stems(written, language) if groups else ("", "")
        if found := groups.get(stems) or groups.get(without):
            return found
    return []


def is_listed(phrase: str, language: str) -> bool:
    """Return whether a list has synonyms of a phrase."""
    return bool(_groups_of(phrase, language))


def _beginning(phrase: str) -> str:
    """Return the first two letters of a phrase, which all of its spellings share: no letters in scripts without spaces,
    and only the first of "ae", "oe", "ue" and "aa", which may stand for "ä", "ö", "ü" and "å"."""
    if NO_SPACES.match(phrase):
        return ""
    letters = fold(HYPHEN.sub("", phrase).replace(" ", ""))
    return letters[0] + letters[2:3] if letters[:2] in ("ae", "oe", "ue", "aa") else letters[:2]


@lru_cache(maxsize=4_000)
def _stems(phrase: str, language: str) -> tuple[str, str]:
    """Return the joined stems of the words of a phrase, which are the same for "pinboard" and "pin board", and, after a
    space, those without the stop words within."""
    tokens = [token for word in HYPHEN.sub(" ", phrase).split() for token in analyse(word, language)]
    aside = stop_words((language,)) - negations((language,))
    inner = (token for token in tokens[1:-1] if token.word not in aside)
    without = (*tokens[:1], *inner, *tokens[1:][-1:])
    return "".join(token.stem for token in tokens), " " + "".join(token.stem for token in without)


@lru_cache(maxsize=4_000)
def _replacements(phrase: str, language: str) -> tuple[str, ...]:
    """Return the phrases that may replace a phrase: those of its groups or, if it is in none, compounds with another
    word for one of its parts: "außenleuchte" for "außenlampe". A compound that is in the dictionary has a meaning of
    its own: a "Kinderwagen" (pram) is not a car for children."""
    if groups := _groups_of(phrase, language):
        return tuple(dict.fromkeys(other for group in groups for other in group))
    if language not in INFLECTIONS or not (phrase.isalpha() and _listed(language)) or len(phrase) > LONGEST:
        return ()
    if in_dictionary(fold(phrase), language):
        return ()
    parts = [(phrase[:at], phrase[at:]) for at in range(SHORTEST_FIRST, len(phrase) - SHORTEST + 1)]
    found = [first + other for first, last in parts for other in _words_for(last, language)]
    found += [other + last for first, last in parts for other in _words_for(first, language)]
    return tuple(dict.fromkeys(found))


def _words_for(part: str, language: str) -> Iterator[str]:
    """Yield the single words that may replace a part of a compound."""
    for group in _groups_of(part, language):
        yield from (other for other in group if other.isalpha() and other != part)


def replace_with_synonyms(
    text: str,
    roles: Roles,
    languages: Sequence[str],
    *,
    grammar: Sequence[str] = (),
    even_if_known: bool = False,
    beside: bool = False,
) -> list[tuple[str, str]]:
    """Return ``text`` with one phrase replaced by a synonym by which the catalogue calls things: a text for each of the
    best synonyms, at most :data:`MAX_SYNONYMS`, with the language of the synonym.

    Empty if the catalogue calls things by the phrase itself (unless ``even_if_known``), or by none of its synonyms. A
    single word is replaced if it is what is sought, or, with ``beside``, if it is not; then the caller has to check
    that something has all words, because "dress shoes" are not "gown shoes". ``grammar``: the languages whose grammar
    tells which word is sought; by default all.
    """
    words = _with_listed_ending_apart(text, languages).split()
    windows = ((start, end, " ".join(words[start:end])) for start, end in _windows(min(len(words), MAX_TERMS)))
    listed = [each for each in windows if any(_replacements(each[2], language) for language in languages)]
    head = _head(query_words(text, languages), roles, grammar or languages) if listed else ""
    for start, end, phrase in listed:
        is_sought = end - start > 1 or any(token.word == head for each in languages for token in analyse(phrase, each))
        synonyms = [] if is_sought == beside else _called_so(phrase, roles, languages, even_if_known)
        if synonyms:
            return [(" ".join([*words[:start], each, *words[end:]]), language) for each, language in synonyms]
    return []


def replaced_word(text: str, other: str, languages: Sequence[str]) -> str:
    """Return the synonym if ``other`` is ``text`` with a synonym of a single word: "sofa" for "settee grey" and "sofa
    grey". Otherwise return an empty text: polish alone is not varnish, although "nail polish" is "nail varnish"."""
    words, others = text.split(), other.split()
    pairs = [pair for pair in zip(words, others, strict=False) if pair[0] != pair[1]]
    if len(words) != len(others) or len(pairs) != 1:
        return ""
    ((word, synonym),) = pairs
    return synonym if any(synonym in _replacements(word, each) for each in languages) else ""


def _called_so(phrase: str, roles: Roles, languages: Sequence[str], even_if_known: bool) -> list[tuple[str, str]]:
    """Return the synonyms of a phrase by which the catalogue calls something, each with its language; none if it calls
    something by the phrase, unless ``even_if_known``."""
    listed = [each for each in languages if _replacements(phrase, each)]
    # The English "telephone" is not a German compound of "phone": only languages of the list have compounds with it.
    asked = [each for each in languages if each in listed or each not in INFLECTIONS]
    if not listed or (not even_if_known and any(_is_known(phrase, roles, each) for each in asked)):
        return []
    found: dict[str, str] = {}
    for language in listed:
        for synonym in _synonyms(phrase, roles, language):
            found.setdefault(synonym, language)
    return [*found.items()][:MAX_SYNONYMS]


def _with_listed_ending_apart(text: str, languages: Sequence[str]) -> str:
    """Return ``text`` with a space before a phrase of the lists that ends a run of text without spaces: "白い 靴下" for
    "白い靴下"."""

    def divided(match: re.Match[str]) -> str:
        run = match[0]
        # Not within a word of kana: "レディース" (ladies') is not a compound with "イス" (chair).
        starts = () if kana.is_written(run) else range(max(0, len(run) - LONGEST), len(run) - 1)
        listed = (at for at in starts if any(_groups_of(run[at:], each) for each in languages))
        at = next(listed, 0)
        return f"{run[:at]} {run[at:]}" if at else run

    return NO_SPACES.sub(divided, text)


def _windows(count: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each phrase among ``count`` words, the longest first."""
    for length in range(min(LONGEST_PHRASE, count), 0, -1):
        yield from ((start, start + length) for start in range(count - length + 1))


def _head(words: Sequence[QueryWord], roles: Roles, languages: Sequence[str]) -> str:
    """Return the word that says what is sought: the last noun before "for" or "with", or, in languages such as French,
    the first. Qualifiers count only if there is nothing else."""
    things = [
        word
        for word in words
        if not (word.filler or word.complement or word.unit) and roles.colours.isdisjoint(word.stems.values())
    ]
    things = [word for word in things if not word.qualifier] or things
    return things[0 if HEAD_FIRST.issuperset(languages) else -1].word if things else ""


def _is_known(phrase: str, roles: Roles, language: str) -> bool:
    """Return whether the catalogue calls something by a phrase.

    A single word may also be in names or brands only; of several words, a category must have all in its name. Only the
    index knows whether a thing is called by several words together: "shaving" and "cream" may be in the names of
    different things.
    """
    words = query_words(phrase, (language,))
    if len(words) != 1:
        return _is_category(words, roles)
    if _calls(phrase, roles, language):
        return True
    if not roles.is_in_names(own_stems(words[0], roles)):
        return False
    # In a shop with rucksacks, "backpack" means these, even if it has "Backpacking tents".
    own = set(own_stems(words[0], roles))
    specifies = any(own <= stems for stems in roles.specifiers_of_categories.values())
    return not (specifies and any(_names_kind(each, roles, language) for each in _synonyms(phrase, roles, language)))


def _synonyms(phrase: str, roles: Roles, language: str) -> list[str]:
    """Return the synonyms of a phrase by which the catalogue calls something, those that name a kind first."""
    own = {phrase, *other_spellings(phrase, language)}
    found = [each for each in _replacements(phrase, language) if each not in own and _calls(each, roles, language)]
    return sorted(found, key=lambda each: not _names_kind(each, roles, language))


def _calls(phrase: str, roles: Roles, language: str) -> bool:
    """Return whether the catalogue may call something by a phrase.

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
