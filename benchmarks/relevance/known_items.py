"""Queries for products by name, as visitors type them: exact, with a typing error, reordered, or in part."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

KINDS = ("exact", "typo", "reordered", "two words")
WITHIN = {"exact": 1, "typo": 3, "reordered": 3, "two words": 10}
TO_REACH = {"exact": 0.98, "typo": 0.95, "reordered": 0.95, "two words": 0.95}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SMALL = {"the", "a", "an", "of", "in", "with", "and", "is", "mm", "to", "mit", "im", "der", "die", "das", "und"}


def queries(names: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """Return one query per name for each kind."""
    rng = random.Random(seed)
    return {
        "exact": list(names),
        "typo": [with_typo(name, rng) for name in names],
        "reordered": [reordered(name, rng) for name in names],
        "two words": [two_words(name, rng) for name in names],
    }


def with_typo(name: str, rng: random.Random) -> str:
    """Replace, omit, double or swap one letter of one of the longer words of ``name``."""
    words = list(re.finditer(r"[^\W\d_]{4,}", name)) or list(re.finditer(r"[^\W_]{3,}", name))
    if not words:
        return name
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.choice(["replace", "delete", "insert", "swap"])
    if kind == "replace":
        return name[:at] + rng.choice(_LETTERS.replace(name[at].lower(), "")) + name[at + 1 :]
    if kind == "delete":
        return name[:at] + name[at + 1 :]
    if kind == "insert":
        return name[:at] + rng.choice(_LETTERS) + name[at:]
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def reordered(name: str, rng: random.Random) -> str:
    """Reorder the words of ``name``; turn a single word into its plural or singular."""
    words = re.findall(r"[\w’'-]+", name)
    if len(set(words)) < 2:
        return name[:-1] if name.endswith("s") else name + "s"
    turned = words[:]
    while turned == words:
        rng.shuffle(turned)
    if rng.random() < 0.5:  # also change the number of the last word
        number = turned.index(words[-1])
        word = turned[number]
        turned[number] = word[:-1] if word.endswith("s") and not word.endswith("ss") else word + "s"
    return " ".join(turned)


def two_words(name: str, rng: random.Random) -> str:
    """Return two distinctive words of ``name``, in their order, or a shorter name as it is."""
    words = [word for word in re.findall(r"[\w’']+", name) if word.lower() not in _SMALL and len(word) > 1]
    if len(words) < 3:
        return " ".join(words) or name
    first, second = sorted(rng.sample(range(len(words)), 2))
    return f"{words[first]} {words[second]}"


def attainable(every: Sequence[str], asked: Sequence[str]) -> float:
    """Return the share of names that any ranking can, on average, find by these queries of two words among the places
    that count: nothing tells which of the names with both words (``every``: those of the catalogue) is meant."""
    words = [_stems(name) for name in every]
    having = [sum(_stems(query) <= each for each in words) for query in asked]
    return sum(min(1.0, WITHIN["two words"] / max(count, 1)) for count in having) / len(asked)


def _stems(text: str) -> set[str]:
    return {word.lower().rstrip("s") for word in re.findall(r"[\w’']+", text)}


def measure(
    names: Sequence[str], search: Callable[[str], Sequence[int]], seed: int = 0
) -> dict[str, tuple[float, list[tuple[str, str, int]]]]:
    """Return, per kind, the share of names found within the first places, and the misses (query, name, place or -1).

    ``search`` returns the positions in ``names`` of the hits, best first; items with the same name count as one.
    """
    found = {}
    for kind, asked in queries(names, seed).items():
        misses = []
        for name, query in zip(names, asked, strict=True):
            ranked = list(dict.fromkeys(names[number] for number in search(query)))
            place = ranked.index(name) + 1 if name in ranked else -1
            if not 0 < place <= WITHIN[kind]:
                misses.append((query, name, place))
        found[kind] = (1 - len(misses) / len(names), misses)
    return found
