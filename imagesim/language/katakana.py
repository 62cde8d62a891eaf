"""Latin names written in katakana: "ナイキ" is how a shopper in Japan types the brand Nike.

A name is written as it sounds, so one word of katakana may stand for several spellings: "ナイキ" for "nike", "naiki" or
"nyke". These are described by a regular expression, with which the names of a shop's brands are compared. Of 272 brands
known in Japan, five out of six are recognised among all of these. None is taken for another one; in a shop that has
Miele and not Millet, "ミレー" is. Of 21,000 English words, one sounds like a brand on average.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache

SHORTEST = 3
"""The minimum number of letters of a name, in either script: shorter ones sound like too many words."""

LONGEST = 16
"""The maximum number of letters of katakana that are compared."""

_ROWS = {
    "": "アイウエオ", "k": "カキクケコ", "s": "サ スセソ", "sh": " シ   ", "t": "タ  テト", "ch": " チ   ",
    "ts": "  ツ  ", "n": "ナニヌネノ", "h": "ハヒ ヘホ", "f": "  フ  ", "m": "マミムメモ", "y": "ヤ ユ ヨ",
    "r": "ラリルレロ", "w": "ワ   ヲ", "g": "ガギグゲゴ", "z": "ザ ズゼゾ", "j": " ジ   ", "d": "ダ  デド",
    "b": "バビブベボ", "p": "パピプペポ", "v": "  ヴ  ",
}  # fmt: skip
_SOUNDS = {
    letter: first + vowel
    for first, row in _ROWS.items()
    for letter, vowel in zip(row, "aiueo", strict=True)
    if letter != " "
}
_SOUNDS |= {"ヂ": "ji", "ヅ": "zu", "ン": "N", "ッ": ""}
_SMALL = dict(zip("ァィゥェォャュョ", ("a", "i", "u", "e", "o", "ya", "yu", "yo"), strict=True))

# The spellings of a sound. "ku" and "to" may also stand for a consonant without a vowel.
_VOWELS = {
    "a": "a|u|o|e|er|ar|or", "aa": "ar|er|ir|ur|or|our|a|ah|re|al", "ai": "i|y|ie|ai|ei|ay|eye|igh|ey|ye",
    "au": "ou|ow|au|ao", "e": "e|a|ai|ea", "ee": "a|ai|ay|ei|ey|e|ea", "ei": "a|ai|ay|ei|ey|e",
    "i": "i|y|e|ee|ie|ey|ea", "ii": "ee|ea|i|ie|y|e|ey", "o": "o|a|au|oh|ou|ow",
    "oi": "oi|oy|eu", "oo": "o|oa|ou|or|ore|au|aw|al|oo|ough|oh|ow", "ou": "o|oa|au|ou|ow",
    "u": "u|oo|ou|o|w|woo|wu|", "uu": "oo|u|ou|ew|ue|o",
}  # fmt: skip
_CONSONANTS = {
    "N": "m|n|mm|nn|ng", "b": "b|bb|v|vv", "ch": "ch|t|tch|cc|c|ci|ti", "d": "d|dd|th", "f": "f|ff|ph|h|hu",
    "g": "g|gg|gh|gu", "h": "h|wh|hu", "j": "j|g|z|d|dg|s|gi|di|ji", "k": "k|c(?![eiy])|ck|kk|cc(?![eiy])|ch|q",
    "m": "m|mm|mb", "n": "n|nn|kn|gn", "p": "p|pp", "r": "r|l|rr|ll|rh|wr|le",
    "s": "s|ss|c(?=[eiy])|sc(?=[eiy])|th|ps|z",
    "sh": "sh|ssh|ch|sch|ss?(?=[iey])|c(?=[iey])|ti(?=[ao])|si(?=[aou])|ci(?=[aou])|x(?=i)",
    "t": "t|tt|th", "ts": "ts|tz|t|z|zz", "v": "v|b|w", "w": "w|wh|v|u|o|hu", "y": "y|j|i", "z": "z|s|th|zz|ss|x|ts",
}  # fmt: skip
_SPELLINGS = {
    **_VOWELS,
    **_CONSONANTS,
    **{f"{each}y": f"(?:{_CONSONANTS[each]})(?:y|i|e|)" for each in "bdghkmnprt"},
    **{f"{each}ya": f"(?:{_CONSONANTS[each]})[eiy]?a" for each in "bdghkmnprt"},
    **{f"{each}i": f"(?:{_CONSONANTS[each]})(?:{_VOWELS['i']}|)" for each in ("ch", "j", "k", "sh")},
    **{f"{each}o": f"(?:{_CONSONANTS[each]})(?:{_VOWELS['o']}|)" for each in "td"},
    "kish": f"x|(?:{_CONSONANTS['k']})(?:{_VOWELS['i']}|)(?:{_CONSONANTS['sh']})",
    "kus": f"x|xx|(?:{_CONSONANTS['k']})(?:{_VOWELS['u']})s",
    "kw": "[ckq][uw]",
    "shu": "(?:sh|ssh|ch|sch|s(?=[tpm])|su)[eu]?",
    "uN": f"(?:{_VOWELS['u']}e)(?:{_CONSONANTS['N']})",
    "yu": "u|eu|ju|you|yu",
}
# The longest first. Those with a consonant do not end with a part of a long vowel: "kii", "tou".
_PIECES = re.compile(
    "|".join(
        piece if piece in _VOWELS or piece[-1] not in "aiueo" else f"{piece}(?![aiueo])"
        for piece in sorted(_SPELLINGS, key=len, reverse=True)
    )
)


def _sounds(word: str) -> str:
    """Return how a word of katakana sounds, in Latin letters; empty if it has other letters."""
    found = ""
    for letter in unicodedata.normalize("NFKC", word):
        if letter == "ー":
            found += found[-1:] if found[-1:] in "aiueo" else ""
        elif letter in _SMALL:
            before, vowel = found[:-1], _SMALL[letter]
            if found[-1:] == "u" and found[-2:-1] in ("", *"aiueoNk"):  # "ウィ", "クォ"
                before += "w"
            found = before + (vowel[-1] if before.endswith(("sh", "ch", "j", "w", "f", "v")) else vowel)
        elif letter in _SOUNDS:
            found += _SOUNDS[letter]
        else:
            return ""
    return found.replace("kiya", "kya")  # "キヤノン" (Canon)


@lru_cache(maxsize=200)
def _spelled(word: str) -> re.Pattern[str] | None:
    """Return a regular expression for the Latin words that sound like a word of katakana; None if nothing does."""
    sounds = _sounds(word)
    pieces = _PIECES.findall(sounds)
    if not pieces or "".join(pieces) != sounds:
        return None
    silent = "e?" if sounds.endswith(("u", "to", "do", "N")) else "[htr]?" if sounds[-1:] == sounds[-2:-1] else "h?"
    spelled = "".join(f"(?:{_SPELLINGS[each]})" for each in pieces)
    return re.compile(("h?" if sounds[0] in "aiueo" else "") + spelled + silent)


def name_of(word: str, names: Collection[str]) -> str:
    """Return which of the Latin ``names`` a word of katakana stands for, or which two, such as "new balance" for
    "ニューバランス"; empty if none or several may be meant."""
    if len(word) > LONGEST:
        return ""

    def alike(part: str) -> list[str]:
        spelled = _spelled(part) if len(part) >= SHORTEST else None
        return [each for each in names if spelled and len(each) >= SHORTEST and spelled.fullmatch(each)]

    found = alike(word)
    if not found:
        parts = ((word[:at], word[at:]) for at in range(SHORTEST, len(word)) if word[at] in _SOUNDS)
        pairs = ((firsts, alike(other)) for one, other in parts if (firsts := alike(one)))
        found = [f"{first} {last}" for firsts, lasts in pairs for first in firsts for last in lasts]
    return found[0] if len(found) == 1 else ""
