"""Numbers of articles, parts and models in texts, however they are divided ("0 986 494 797", "OC 517.96",
"6204-2RS/C3"), and fractions of an inch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

from imagesim.language.stop_words import UNITS

HYPHEN = re.compile("[-‐‑\u200c]")
"""A hyphen, or the character that separates the parts of a Persian word ("تی‌شرت") without a space."""
_SEPARATOR = "[ ./_‐‑-]"

SHORTEST_SPACED = 7
"""The minimum number of characters of a code whose parts are separated by spaces: "13 128" of "iPhone 13 128 GB" is not
a part number."""

SHORTEST = 5
"""The minimum number of characters of a code with another separator, and of the beginning of one that two words
form."""

LONGEST = 24

SHORTEST_BEGINNING = 6
"""The minimum number of characters of a number by which longer ones are found: 100 does not stand for 1,000, but
"0986714" may be the first digits of an article number."""

MODEL = r"[^\W\d_]{2,3} ?\d{3,}"
"""A short word and a number, which may be those of a model, "SPA 1250", or a word and a quantity."""

FRACTION = r"(?<![\d/.,])(?:[1-9][ -])?(?:\d?[13579]/(?:2|4|8|16|32|64)|[12]/3)(?![/.,]?\d)"
"""A fraction of an inch, or a mixed number: "1/2", "1 1/4". Others are two numbers: the "4/64 GB" of a phone."""

# With more than two numbers, a comma may separate the items of a list: "38,39,40".
DECIMAL = r"(?<!\d[.,])(?<!\d)\d+[.,]\d+(?![.,]?\d)"
"""A decimal number, or one with a separator of thousands."""
_DECIMAL = re.compile(r"(\d+)[.,](\d+)(.*)")

UNIT = "|".join(sorted(UNITS, key=len, reverse=True)).replace("i", "[iı]")
"""The units as a pattern. In Turkish, the lower case of "INCH" is "ınch"."""

_SPOKEN = re.compile(
    r"\b(?:(?P<whole>one|two|three|\d+) and (?:a )?)?(?:(?P<times>a|an|one|three|five|seven)[ -])?"
    r"(?P<part>half|quarter|eighth)s?[ -](?:(?:of )?an )?(?P<unit>inch(?:es)?)\b",
    re.IGNORECASE,
)
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "five": 5, "seven": 7}
_PARTS = {"half": 2, "quarter": 4, "eighth": 8}

_BEFORE_FRACTION = re.compile(r"(?<=[^\W\d_])(?=\d?\d/\d)")
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2153-\u215e])")
_FRACTION_SLASH = "\u2044"

DIGITS = {
    code: str(digit) for code in range(0x660, 0x2000) if (digit := unicodedata.decimal(chr(code), None)) is not None
}
"""The digits of other scripts, such as the Arabic "٤٢" (42), as ASCII digits."""

_IN_ONE_PIECE = re.compile(r"[^\W\d_]{0,2}\d[\d.]*(?:x\d[\d.]*)+")

_NUMERALS = DIGITS | {ord("٫"): ".", ord("٬"): ","}
_NUMERAL = re.compile(f"[{''.join(map(chr, _NUMERALS))}]")

_PART = r"(?=[^\W_]*\d)[^\W_]+"
# A few letters in front and at the end belong to the code: "5Q0 615 301 F". After a space at the end, only one letter
# does. Numbers with hyphens and a space between them are two.
_CODE = re.compile(
    rf"(?<![^\W_])(?<!\d[.,])(?:[^\W\d_]{{1,3}}{_SEPARATOR})?{_PART}(?:(?: {_PART})+|(?:[./_‐‑-]{_PART})+)"
    r"(?: [^\W\d_](?![^\W_])|[./_‐‑-][^\W\d_]{1,3}(?![^\W_]))?(?![/_‐‑-]?[^\W_])"
)
_DIVIDED = re.compile(rf"\d[^\W\d_]*{_SEPARATOR}[^\W\d_]*\d")
_SPACED = re.compile(r"\d[^\W\d_]* [^\W\d_]*\d")
_HYPHENATED = re.compile(rf"(?<![^\W_])[^\W_]+(?:{HYPHEN.pattern}[^\W_]+){{2,}}")
_TWO_HYPHENS = re.compile(rf"{HYPHEN.pattern}[^\W_]+{HYPHEN.pattern}")
_QUANTITY = re.compile(rf"\d*(?:{UNIT})")
_ONE_LETTER = re.compile(r"\d+[^\W\d_]")
# Dimensions, a decimal, thousands, or a date.
_OTHER_NUMBER = re.compile(
    r".*\d[x×*]\d.*|\d+\.\d{1,2}|\d{1,3}(?:\.\d{3})+|\d{4}[-./]\d\d?[-./]\d\d?|\d\d?[-./]\d\d?[-./]\d{4}"
)
_MODEL = re.compile(rf"(?<![^\W_]){MODEL}(?![^\W_]|[ ./,-]?\d| (?:{UNIT})\b)")
_THREE_DIGITS = re.compile(r"\d{3}")
_YEAR_OR_ROUND = re.compile(r"(?:19|20)\d\d|\d\d\d?0")


# Width, height in percent, and diameter of a tyre: "205/55 R16", "P205/55R16", "205 55 16", "120/70 ZR17".
_TYRE = re.compile(
    r"(?<![^\W_])(?:p|lt)?(?:(\d{2,3}) ?/ ?([2-9][05])|([1-3]\d5) ([2-8][05]))"
    r"(?:[ /] ?(?:z?r|b)?|z?r|b) ?(1\d|2[0-4])c?(?!\w|[.,/]\d)"
)


class Code(NamedTuple):
    """The number of a part or a model that is written in several parts: its text, and the words as which the parts may
    be written, the longest first. Letters in front of it may be another word."""

    text: str
    joined: tuple[str, ...]


@lru_cache(maxsize=500)
def codes(text: str) -> tuple[Code, ...]:
    """Return the numbers of parts and models in a text in lower case: ``5q0 615 301 f``, ``cn-hg601-11``.

    In hyphenated ones, any neighbouring parts may be written as one: ``cnhg601``.
    """
    return tuple(_codes(re.sub(FRACTION, " ", text) if "/" in text else text))


def _codes(text: str) -> Iterator[Code]:
    for match in _HYPHENATED.finditer(text) if _TWO_HYPHENS.search(text) else ():
        words = HYPHEN.split(match[0])
        if len(match[0]) <= LONGEST:
            runs = {"".join(words[i:j]) for i in range(len(words)) for j in range(i + 2, len(words) + 1)}
            named = (run for run in runs if not (run.isdecimal() or run.isalpha()))
            yield Code(match[0], tuple(sorted(named, key=lambda run: (-len(run), run))))
    for match in _CODE.finditer(text) if _DIVIDED.search(text) else ():
        parts = re.split(_SEPARATOR, match[0])
        while parts and _QUANTITY.fullmatch(parts[-1]) and not (len(parts) > 3 and len(parts[-1]) == 1):
            parts.pop()
        if _is_code(match[0], parts):
            numbers = parts[1:] if parts[0].isalpha() else parts
            joined = dict.fromkeys(("".join(parts), "".join(numbers)))
            yield Code(match[0], tuple(each for each in joined if SHORTEST <= len(each) <= LONGEST))


def _is_code(text: str, parts: list[str]) -> bool:
    numbers = [part for part in parts if not part.isalpha()]
    if len(numbers) < 2 or _OTHER_NUMBER.fullmatch(text):
        return False
    if any(_QUANTITY.fullmatch(part) and not _ONE_LETTER.fullmatch(part) for part in numbers if not part.isdecimal()):
        return False
    if not _SPACED.search(text):
        return len("".join(parts)) >= SHORTEST
    return len("".join(numbers)) >= SHORTEST_SPACED and max(map(len, numbers)) > 2


def models(text: str) -> list[str]:
    """Return the short words of a text in lower case with the numbers that follow, in one piece: ``spa1250``."""
    return [each.replace(" ", "") for each in _MODEL.findall(text)] if _THREE_DIGITS.search(text) else []


def with_tyre_sizes(text: str) -> str:
    """Return a text in lower case with sizes of tyres as dimensions, and their diameters as they are named alone:
    "205x55x16 r16" for "205/55 r16", "205 55 16" and the like."""
    return _TYRE.sub(_as_dimensions, text) if _THREE_DIGITS.search(text) else text


def _as_dimensions(match: re.Match[str]) -> str:
    width, height, diameter = filter(None, match.groups())
    return f"{width}x{height}x{diameter} r{diameter}"


def without_zeros(word: str) -> str:
    """Return a long number without its leading zeros, which spreadsheets take away and other systems add; empty if it
    has none."""
    stripped = word.lstrip("0")
    is_long = len(word) > len(stripped) >= SHORTEST - 1
    return stripped if is_long and stripped.isdecimal() else ""


def may_begin_code(word: str) -> bool:
    """Return whether a word may be the beginning of an article number."""
    return SHORTEST_BEGINNING <= len(word) <= LONGEST and any(map(str.isdigit, word))


def is_article_number(word: str) -> bool:
    """Return whether a number is too long, or too odd, for a size, a quantity or a year: "6204", but not "1500"."""
    is_long = len(word) >= SHORTEST and not word.endswith("000")
    is_odd = len(word) == SHORTEST - 1 and not _YEAR_OR_ROUND.fullmatch(word)
    return word.isdecimal() and (is_long or is_odd)


def are_dimensions(word: str) -> bool:
    """Return whether a word of the analysis is dimensions in one piece, such as "90x190" and "m8x40". It follows the
    other words of a text, which include each of the numbers."""
    return _IN_ONE_PIECE.fullmatch(word) is not None


def begun_codes(joined: Collection[str], code: Collection[str]) -> list[str]:
    """Return the beginnings of part numbers that a word of a query may form with its neighbours, from those ``joined``
    with it and those of a ``code``: "dhp180" for "DHP 180", where there is a "DHP180RTJ"."""
    found = [each for each in joined if len(each) >= SHORTEST and not each.isdecimal() and any(map(str.isdigit, each))]
    return list(dict.fromkeys((*found, *filter(may_begin_code, code))))


def are_numbers(first: str, second: str) -> bool:
    """Return whether these are two numbers, and not the thousands and hundreds of one: "7 13" is not 713."""
    return first.isdecimal() and second.isdecimal() and len(second) != 3


def plain_numbers(text: str) -> str:
    """Return a text in the normal form NFKC, with the characters of fractions in digits ("1-1/2" for "1½", which
    Unicode makes "11/2") and the digits of other scripts as ASCII ("1.5" for "١٫٥")."""
    text = unicodedata.normalize("NFKC", _VULGAR.sub("-", text)).replace(_FRACTION_SLASH, "/")
    return text.translate(_NUMERALS) if _NUMERAL.search(text) else text


def plain_decimal(word: str) -> str:
    """Return a decimal number, with or without a unit, as it is compared: "1.5" for "1,50", "2" for "2.0", and "1000"
    for "1,000"."""
    match = _DECIMAL.match(word)
    if not match:
        return word
    whole, places, unit = match.groups()
    if len(places) == 3 and len(whole) <= 3 and whole.strip("0"):
        return whole + places + unit
    places = places.rstrip("0")
    return (f"{whole}.{places}" if places else whole) + unit


def apart_from_letters(text: str) -> str:
    """Return a text with spaces between letters and a fraction: "g 1/2" for "g1/2"."""
    return _BEFORE_FRACTION.sub(" ", text) if "/" in text else text


def with_fractions(text: str) -> list[str]:
    """Return a list of one text: ``text`` with fractions of an inch in digits instead of English words, "1/2 inch" for
    "half inch" and "1 1/4 inch" for "one and a quarter inch". Empty if it has none."""
    written = _SPOKEN.sub(_in_digits, text)
    return [written] if written != text else []


def _in_digits(match: re.Match[str]) -> str:
    whole, times, part, unit = (match[name] or "" for name in ("whole", "times", "part", "unit"))
    number = f"{_COUNTS.get(whole.lower(), whole)} " if whole else ""
    return f"{number}{_COUNTS[times.lower()] if times else 1}/{_PARTS[part.lower()]} {unit}"
