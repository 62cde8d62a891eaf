"""Brands that are typed in katakana, and written in Latin letters in the catalogue: "ナイキ" for Nike."""

from __future__ import annotations

from collections.abc import Iterator

from imagesim.language import kana, katakana
from imagesim.language.word_roles import Roles
from imagesim.retrieval.words.synonyms import is_listed


def with_latin_name(text: str, roles: Roles) -> list[str]:
    """Return a list of one text: ``text`` with the Latin name of a brand in place of a word of katakana that the
    catalogue lacks, and that sounds like this brand alone: "nike スニーカー" for "ナイキ スニーカー" and for
    "ナイキスニーカー". Empty if there is none.

    Only the first such word is looked up. Words with synonyms are names of things: "コート" is a coat, and not a guitar
    by Cort.
    """
    typed = text.split()
    for at, word in enumerate(typed):
        spelled = kana.spelled(word)
        if kana.is_word(spelled) and not roles.has({spelled}):
            found = next(_named(word, roles), ())
            return [" ".join([*typed[:at], *found, *typed[at + 1 :]])] if found else []
    return []


def _named(word: str, roles: Roles) -> Iterator[tuple[str, ...]]:
    """Yield the Latin name of a brand that a word of katakana stands for or, before a word of the catalogue, begins
    with, and this other word."""
    brands = [each for each in roles.brands if each.isascii() and each.isalpha()]
    called = [at for at in range(katakana.SHORTEST, len(word)) if roles.calls({kana.spelled(word[at:])})]
    for end in (len(word), *called):
        first, rest = word[:end], word[end:]
        if not is_listed(first, "ja") and (name := katakana.name_of(first, brands)):
            yield (name, rest) if rest else (name,)
