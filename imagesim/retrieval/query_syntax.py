"""How the words of a query belong together: which of them asks for something, and what the others say of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from imagesim.indexes.codes import is_article_number
from imagesim.indexes.query_words import QueryWord
from imagesim.indexes.stop_words import HEAD_FIRST
from imagesim.retrieval.query_requirements import is_circumstance, is_clothing, is_for_people
from imagesim.word_roles import Roles


def is_filler(word: QueryWord, stems: Collection[str], spelled: Collection[str], roles: Roles) -> bool:
    """Whether a word asks for nothing that the catalogue has. A number that it lacks is a size, or a quantity, unless
    it may be that of an article."""
    if word.filler and (word.before_amount or not roles.calls(stems)):
        return True
    is_amount = word.word[0].isdigit() and not (word.code or is_article_number(word.word))
    unknown = is_amount or (word.slip and word.word not in spelled)
    return unknown and not roles.has(stems)


def is_sought(
    number: int,
    head: int,
    words: Sequence[QueryWord],
    meant: Sequence[Collection[str]],
    kinds: Sequence[frozenset[str]],
    roles: Roles,
    named: Collection[int],
) -> bool:
    """Whether a word that says elsewhere what a thing is like names one here: the French "bureau" is an office, or a
    desk. Beside a kind, one for people, a place or a season does not: "sleeping bags winter" are sleeping bags. One for
    people does not beside a category, unless some of that is for them: "wallet men" asks for wallets, whatever else is
    called "Men's shirts". Nor does it beside what the catalogue does not know: "mens hovercraft".

    ``kinds``: the categories that each word names, of those that the query does not exclude; ``named``: the numbers of
    the words that may name a thing.
    """
    own, others = kinds[number], [stems for n, stems in enumerate(meant) if n != number]
    beside = [each for n, each in enumerate(kinds) if each and n != number]
    if beside and is_circumstance(words[number]) and not own:
        return False
    if named and not beside and is_for_people(words[number]):
        return False
    if is_for_people(words[number]) and any(map(roles.is_category, others)) and all(map(own.isdisjoint, beside)):
        return False
    return bool(own) or (number == head and roles.calls(meant[number]))


def clothing_for_others(
    words: Sequence[QueryWord], meant: Sequence[Collection[str]], kinds: Sequence[frozenset[str]], roles: Roles
) -> set[int]:
    """Return the numbers of the words for all clothes by which categories are called, but none for those whom the query
    names: where the "Kids' clothes" alone are called so, "mens clothing" asks for whatever is for men."""
    return {n for n, word in enumerate(words) if is_clothing(word) and roles.names_kind(meant[n]) and not kinds[n]}


def complements_of(
    words: Sequence[QueryWord], meant: Sequence[Collection[str]], fillers: Collection[int], roles: Roles
) -> set[int]:
    """Return the numbers of the words that say what the thing before is for, if the catalogue has such a thing."""
    things = [n for n, word in enumerate(words) if not word.complement and n not in fillers]
    is_called = any(roles.calls(meant[n]) for n in things)
    return {n for n, word in enumerate(words) if word.complement and is_called}


def compound_of(
    words: Sequence[QueryWord], fillers: Collection[int], languages: Sequence[str]
) -> tuple[int, Sequence[int]]:
    """Return the number of the word that is the head if the query is a compound, and those of the words that specify
    it: the last of "office chair", the first of "silla de oficina"; none if the languages differ in it."""
    numbers = [number for number in range(len(words)) if number not in fillers]
    head_first = {language in HEAD_FIRST for language in languages}
    if not numbers or len(head_first) != 1:
        return 0, ()
    if head_first == {True}:
        return numbers[0], numbers[1:]
    start = len(numbers) - 1
    while start and words[numbers[start]].follows:
        start -= 1
    return numbers[-1], numbers[start:-1]
