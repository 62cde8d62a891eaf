"""Words in the two syllabic scripts of Japanese, in one spelling.

Katakana ("スニーカー") is the script of foreign words, hiragana that of endings and particles, and of words that may
also be written in katakana or in Chinese characters: "めがね", "メガネ", "眼鏡" (glasses). A word begins or ends where
katakana does. Hiragana that follows a Chinese character is the ending of its word or a particle, as in "革のベルト",
and not a word of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache

_KATAKANA = r"\u30a1-\u30fa"
_HIRAGANA = r"\u3041-\u3096"
_MARK = "ー"  # makes a vowel long, in either script

_PARTS = re.compile(rf"[{_KATAKANA}][{_KATAKANA}{_MARK}]*|[^{_KATAKANA}]+")
_HIRAGANA_ONLY = re.compile(rf"[{_HIRAGANA}][{_HIRAGANA}{_MARK}]*")
_HIRAGANA_AT_END = re.compile(rf"(?<=[^{_HIRAGANA}{_MARK}])[{_HIRAGANA}][{_HIRAGANA}{_MARK}]+$")
_PARTICLE = re.compile(rf"^[をがはのにでともや](?=[^{_HIRAGANA}])")
_WORD = re.compile(rf"[{_KATAKANA}][{_KATAKANA}{_MARK}]*")
KANA = re.compile(rf"[{_KATAKANA}{_HIRAGANA}{_MARK}]")

# The codes of katakana are those of hiragana plus 96. Small vowels are also written large ("ウェア", "ウエア").
_TO_KATAKANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_TO_HIRAGANA = {to: code for code, to in _TO_KATAKANA.items()}
_SMALL_VOWELS = str.maketrans("ァィゥェォヮヵヶ", "アイウエオワカケ")
_V = str.maketrans({"ヴ": "ブ", "ヂ": "ジ", "ヅ": "ズ"})
_LONG_ANYWAY = re.compile(f"(?<=[ァィ]){_MARK}")  # "ボディーソープ", "ソファーベッド"
_V_AND_VOWEL = {"ヴァ": "バ", "ヴィ": "ビ", "ヴェ": "ベ", "ヴォ": "ボ"}

SHORTEST_BEFORE_MARK = 3
"""The minimum number of letters before a long vowel at the end that need not be marked: a "カバ" is not a "カバー"."""

SHORTEST_BESIDE_PARTICLE = 2
"""The minimum number of letters on each side of a "の" (of) between two words in hiragana."""

SHORTEST_BEHIND_PARTICLE = 3
"""The minimum number of letters after a "の" that follows katakana, and before a "な" at the end, for these to be
divided from the word: a "カフェのれん" is a curtain ("のれん")."""

SHORTEST_PART = 2
"""The minimum number of letters of a part of a compound, "パン" (bread) of "メロンパン". Letters are syllables, so few
are enough."""

SHORTEST_BEFORE_PART = 2
"""The minimum number of letters before a part of a compound; one more before a last part of ``SHORTEST_PART``
letters."""

SHORTEST_MISSPELLED = 6
"""The minimum number of letters of a misspelled word."""


@lru_cache(maxsize=10_000)
def spelled(word: str) -> str:
    """Return a word of katakana or hiragana in the spelling by which it is compared: in katakana, with "バ" for "ヴァ",
    without the mark of a long vowel at its end ("プリンター", "プリンタ") and after a small vowel ("ボディー",
    "ボディ")."""
    word = _LONG_ANYWAY.sub("", word.translate(_TO_KATAKANA))
    for letters, other in _V_AND_VOWEL.items():
        word = word.replace(letters, other)
    word = word.translate(_V).translate(_SMALL_VOWELS)
    stem = word.rstrip(_MARK)
    return stem if len(stem) >= SHORTEST_BEFORE_MARK else word


def mappings() -> list[str]:
    """Return the spellings of :func:`spelled`, apart from the end of a word, as rules of a search server:
    "ァ => ア"."""
    katakana = [*map(chr, range(0x30A1, 0x30FB)), *_V_AND_VOWEL, f"ァ{_MARK}", f"ィ{_MARK}"]
    found = {text: spelled(text) for text in katakana}
    found |= {text.translate(_TO_HIRAGANA): other for text, other in found.items()}
    return [f"{text} => {other}" for text, other in found.items() if text != other]


def is_word(text: str) -> bool:
    """Return whether a text is a word in the spelling of :func:`spelled`."""
    return _WORD.fullmatch(text) is not None


def is_written(part: str) -> bool:
    """Return whether a part of a text is in one of the scripts alone, and so is a word by itself."""
    return len(part) > 1 and (_WORD.fullmatch(part) or _HIRAGANA_ONLY.fullmatch(part)) is not None


def parts(run: str) -> list[str]:
    """Return text of a script without spaces, divided where katakana begins or ends.

    Hiragana between these is divided at a "の" (of), and a single letter of it, which is a particle, is left out:
    "くまのぬいぐるみ" is a "くま" (bear) and a "ぬいぐるみ" (soft toy), and "ヨガのマット" has "ヨガ" and "マット". So
    are the "な" of adjectives ("おしゃれなランプ") and a particle before a Chinese character.
    """
    found = _PARTS.findall(run)
    divided: list[str] = []
    for number, part in enumerate(found):
        if not _HIRAGANA_ONLY.fullmatch(part):
            divided.append(_PARTICLE.sub("", part) if number else part)
            continue
        if number and part.startswith("を"):  # begins no word
            part = part[1:]
        if number and part.startswith("の") and len(part) > SHORTEST_BEHIND_PARTICLE:
            part = part[1:]
        ends = number + 1 < len(found) and part.endswith("の") and not part.endswith("もの")
        if ends and len(part) > SHORTEST_BESIDE_PARTICLE:
            part = part[:-1]
        if number + 1 < len(found) and part.endswith("な") and len(part) > SHORTEST_BEHIND_PARTICLE:
            part = part[:-1]
        divided += [each for each in _apart(part) if len(each) > 1 or len(found) == 1]
    return divided


def _apart(hiragana: str) -> list[str]:
    """Return hiragana, divided at each "の" between two words. In "もの" (thing), it is not a particle:
    "たべものいれ"."""
    words, start = [], 0
    for at in range(SHORTEST_BESIDE_PARTICLE, len(hiragana) - SHORTEST_BESIDE_PARTICLE):
        is_between = hiragana[at] == "の" and hiragana[at - 1] != "も"
        if is_between and at - start >= SHORTEST_BESIDE_PARTICLE:
            words.append(hiragana[start:at])
            start = at + 1
    return [*words, hiragana[start:]]


def words_within(part: str) -> list[str]:
    """Return the words of hiragana by which a part that also has Chinese characters is found: "メガネ" of "めがね拭き"
    and "イリンゴ", which ends with "リンゴ", of "赤いりんご"."""
    return [spelled(each) for each in _HIRAGANA_ONLY.findall(part) if len(each) >= SHORTEST_PART]


def endings(part: str) -> range:
    """Return where a word in hiragana may begin at the end of a part that also has Chinese characters."""
    found = _HIRAGANA_AT_END.search(part)
    return range(found.start() if found else len(part), len(part) - 1)


def may_begin(part: str, word: str) -> bool:
    """Return whether a longer word that begins with a part may be a compound with it: "ヨガマット" with "ヨガ", but not
    "パンツ" (trousers) with "パン" (bread)."""
    return len(part) > SHORTEST_PART or len(word) - len(part) > SHORTEST_PART


def is_within(part: str, word: str) -> bool:
    """Return whether a part is within a longer word, with a word before it and another after it."""
    at = word.find(part, SHORTEST_BEFORE_PART) if len(part) > SHORTEST_PART else 0
    return 0 < at < len(word) - len(part)


def shortest_before(part: str) -> int:
    """Return the minimum number of letters of a compound before its last part; 0 if this is too short. A "ポロシャツ"
    is a "シャツ"; but before two letters there have to be more: a "スパイス" (spice) is not an "イス" (chair)."""
    if len(part) < SHORTEST_PART:
        return 0
    return SHORTEST_BEFORE_PART + (len(part) == SHORTEST_PART)


def most_errors(word: str) -> int:
    """Return how many typing errors a word may have: in a short one, another syllable makes another thing
    ("スニーカー", sneakers, and "スピーカー", speakers)."""
    return 1 if len(word) >= SHORTEST_MISSPELLED else 0
