"""The labels of regions, and the words for each in the names of shops' categories, in eight languages.

This table is the default mapping from labels to categories: a category belongs to a label if its name contains one of
the label's words. A shop whose categories have other names maps them in its ``Items``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

from imagesim.language.analysis import base_language, stem_of
from imagesim.language.letters import fold
from imagesim.language.query_words import query_words
from imagesim.language.stop_words import HEAD_FIRST, INFLECTIONS, read_lists


@dataclass(frozen=True, slots=True)
class Label:
    """A label: the name shown to visitors, the words in names of its categories, and, for a neutral label, those it
    covers."""

    name: str | Promise
    words: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


WORDS = {
    language: dict(line.split(": ") for line in lines.strip().splitlines())
    for language, lines in read_lists(Path(__file__).parent / "assets" / "category_words.txt").items()
}
"""The words for each label, by the code of their language; those of English, which may be phrases, are kept apart."""
ENGLISH = {label: _words(text) for label, text in WORDS.pop("en").items()}

ITEM = "item"
"""The label of a single thing of any kind on a plain ground, for which no category is preferred."""

LABELS: dict[str, Label] = {
    "top": Label(pgettext_lazy("garment", "Top"), ENGLISH["top"]),
    "outerwear": Label(pgettext_lazy("garment", "Outerwear"), ENGLISH["outerwear"]),
    "trousers": Label(pgettext_lazy("garment", "Trousers"), ENGLISH["trousers"]),
    "shorts": Label(pgettext_lazy("garment", "Shorts"), ENGLISH["shorts"]),
    "skirt": Label(pgettext_lazy("garment", "Skirt"), ENGLISH["skirt"]),
    "dress": Label(pgettext_lazy("garment", "Dress"), ENGLISH["dress"]),
    "shoes": Label(pgettext_lazy("garment", "Shoes"), ENGLISH["shoes"]),
    "bag": Label(pgettext_lazy("garment", "Bag"), ENGLISH["bag"]),
    "hat": Label(pgettext_lazy("garment", "Hat"), ENGLISH["hat"]),
    "scarf": Label(pgettext_lazy("garment", "Scarf"), ENGLISH["scarf"]),
    "glasses": Label(pgettext_lazy("garment", "Glasses"), ENGLISH["glasses"]),
    "belt": Label(pgettext_lazy("garment", "Belt"), ENGLISH["belt"]),
    "hosiery": Label(pgettext_lazy("garment", "Hosiery"), ENGLISH["hosiery"]),
    "suit": Label(pgettext_lazy("garment", "Suit"), ENGLISH["suit"]),
    # Neutral labels, for a garment whose likeliest labels are close.
    "upper_body": Label(pgettext_lazy("garment", "Top or jacket"), parts=("top", "outerwear")),
    "lower_body": Label(pgettext_lazy("garment", "Trousers or skirt"), parts=("trousers", "shorts", "skirt")),
    "full_body": Label(pgettext_lazy("garment", "Whole outfit"), parts=("dress", "top", "skirt", "outerwear", "suit")),
    ITEM: Label(pgettext_lazy("garment", "Product")),
}

# A category with one of these words holds nothing that is seen in a photo of a person.
NOT_SEEN = _words("innerwear, lingerie, underwear, drinking")
# Nor does one with such a word after that for a garment, as in "shoe care"; "lace dresses" and "accessories-belts" do.
NOT_GARMENTS = _words("accessory, care, cleaner, hanger, insole, lace, polish, rack")

SHORTEST_PART = 4
"""The minimum number of letters of a word that is found at the end of a compound, as "schuh" is in "Damenschuhe"."""

_TRANSLITERATED = {"de": str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})}
"""How slugs may spell letters, if not without their accents."""

NO_GARMENT = "none"
"""The label of words that end like a garment's, or name one that is not seen."""

GARMENTS: tuple[str, ...] = tuple(name for name, label in LABELS.items() if label.words)
NEUTRAL: tuple[str, ...] = tuple(name for name, label in LABELS.items() if label.parts)


def name_of(label: str) -> str:
    """Return the name of a label in the visitor's language; an unknown label itself, without underscores."""
    known = LABELS.get(label)
    return str(known.name) if known else label.replace("_", " ").strip().capitalize()


def words_of(label: str, alternatives: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the words in names of a label's categories; for a neutral label, those of ``alternatives``, or of all
    labels that it covers.

    The words of a label that is not in the table, such as ``"shirt, blouse"`` of another finder, are those it consists
    of.
    """
    known = LABELS.get(label)
    if known is None:
        return tuple(dict.fromkeys(word for part in re.split(r"[,/|]", label) if (word := _plain(part))))
    parts = _parts(label, alternatives)
    return tuple(dict.fromkeys(word for part in parts for word in LABELS[part].words)) if parts else known.words


def _parts(label: str, alternatives: Iterable[str]) -> Sequence[str]:
    """Return the labels that a neutral one stands for."""
    parts = LABELS[label].parts if label in LABELS else ()
    return parts and ([part for part in alternatives if part in LABELS] or parts)


def label_for(name: str) -> str:
    """Return the first garment that a name belongs to (``"ankle boots"`` -> ``"shoes"``); empty if there is none."""
    return next((label for label in GARMENTS if likely_categories(label, [name])), "")


def likely_categories(label: str, categories: Iterable[str], alternatives: Iterable[str] = ()) -> list[str]:
    """Return those of a shop's ``categories`` (slugs or names) whose name contains a word of ``label``, in the same
    order.

    ``womens-ankle-boots`` belongs to ``shoes``; ``shoulder-straps`` does not. If the last such word of a name belongs
    to another label (``boot socks``, ``belt-bags``), the last word decides, as the head noun of an English compound.
    Words are English, or of the language in ``LANGUAGE_CODE``.
    """
    alternatives, language = tuple(alternatives), base_language(settings.LANGUAGE_CODE)
    return [category for category in categories if _belongs(category, label, alternatives, language)]


@lru_cache(maxsize=50_000)  # called with all of a shop's categories for each region of each photo
def _belongs(category: str, label: str, alternatives: tuple[str, ...], language: str) -> bool:
    if found := labels_in(_spaced(category), language, lambda word: _singular(word) in _garment_words()):
        return not found.isdisjoint(_parts(label, alternatives) or (label,))
    name = f" {_plain(category)} ".partition(" for ")[0] + " "  # not of "accessories for shoes"
    words = {_plain(word) for word in words_of(label, alternatives)}
    held = [word for word in words | _garment_words() if f" {word} " in name]
    if not held or any(f" {word} " in name for word in NOT_SEEN):
        return False
    last = max(name.rfind(f" {word} ") + len(word) for word in held)
    if any(name.rfind(f" {word} ") >= last for word in NOT_GARMENTS):
        return False
    final = {word for word in held if name.rfind(f" {word} ") + len(word) == last}
    return max(final, key=len) in words


def labels_in(name: str, language: str, is_english: Callable[[str], bool]) -> frozenset[str]:
    """Return the labels of the word that says what the things of a category are; empty if no word of ``language`` does.

    That is the first garment of a name in languages such as Spanish, and the last one in others, but not a complement,
    as in "accessoires pour chaussures"; none if a garment in English comes before or after it.
    """
    known, endings = _by_stem(language)
    words = [word for word in query_words(name, (language,)) if not word.complement]
    for word in words if language in HEAD_FIRST else reversed(words):
        stem = word.stems[language]
        if stem not in known:
            if is_english(word.word):
                break
            if language in INFLECTIONS:
                stem = max(filter(stem.endswith, endings), key=len, default=stem)
        if stem in known:
            return known[stem] - {NO_GARMENT}
    return frozenset()


@cache
def _by_stem(language: str) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """Return the labels of each stem, and the stems with which compounds may end."""
    found: dict[str, frozenset[str]] = defaultdict(frozenset)
    endings: set[str] = set()
    for label, words in WORDS.get(language, {}).items():
        for word in words.split():
            spellings = (word, fold(word), word.translate(_TRANSLITERATED.get(language, {})))
            stems = {stem_of(spelling, language) for spelling in spellings}
            for stem in stems:
                found[stem] |= {label}
            if len(word) >= SHORTEST_PART:
                endings |= stems
    return dict(found), frozenset(endings)


@cache
def _garment_words() -> frozenset[str]:
    return frozenset(_plain(word) for name in GARMENTS for word in LABELS[name].words)


def _plain(text: str) -> str:
    """Normalise a name: lower case, words separated by one space, in the singular: ``"Womens-Boots"`` -> ``"women
    boot"``."""
    words = re.findall(r"[^\W_]+", _spaced(text).casefold())
    return " ".join(_singular(word) for word in words)


def _spaced(text: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)


_IE = frozenset(("beanies", "booties", "camies", "hoodies", "neckties", "onesies", "ties"))


def _singular(word: str) -> str:
    if word in _IE:
        return word[:-1]
    for ending, instead in (("sses", "ss"), ("ies", "y"), ("shes", "sh"), ("ches", "ch")):
        if word.endswith(ending) and len(word) > 4:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 3 else word
