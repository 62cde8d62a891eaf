"""The patterns of price limits, made from the words of each language in ``prices.txt``."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imagesim.language.analysis import NO_SPACES
from imagesim.language.stop_words import read_table

WORDS = read_table(Path(__file__).with_name("prices.txt"))

CURRENCIES = (
    "euros|euroa|euro|eur|dollars|dollar|usd|bucks|pounds|pound|quid|gbp|franken|francs|francos|franchi|chf|złotych|złote|"
    "zloty|zł|zl|pln|kronor|kroner|kronen|kr|sek|nok|dkk|korun|kč|kc|czk|рублей|руб|лир|tl|lira|reais|reales|pesos|"
    "гривень|гривні|грн|uah|лева|лв|евро|євро|ευρώ|ευρω|lei|leu|ron|forint|huf|eura|evra|evrov|eurai|eurų|eiro|"
    'dinara|din|rsd|динара|дин|евра|đồng|đ|vnd|บาท|thb|שקלים|שקל|ש"ח|nis|تومان|تومن|ریال|'
    "ريالا|ريال|درهما|درهم|دينارا|دينار|جنيها|جنيه|دولار|يورو"
)
"""Words and codes of currencies, as a pattern."""

SIGNS = r"us\$|[$€£¥₹₺₽₩￥₪₫฿]"
"""Signs of currencies, as a pattern."""

CURRENCIES_BEHIND = "円|元|块|块钱|人民币|원|ユーロ|ドル|欧元|美元|유로|달러|ft|forint|euró|रुपये|रुपए|रुपयों|tl|lira"
"""Currencies before such words, in Chinese, Japanese, Korean, Hungarian, Hindi and Turkish."""

PARTICLES = r"の|的|\s*aras[ıi](?:nda(?:ki)?)?(?!\w)|\s*के बीच(?: के| की| में)?"
"""What follows a limit before the next word: particles in Japanese and Chinese, "between" in Turkish and Hindi."""

_NUMBER = r"\d{1,9}(?:[.,'’]\d{1,9}){0,3}"
_SPACED = rf"(?:\d{{1,3}}(?:\s\d{{3}}){{1,2}}(?!\d)(?:,\d{{1,2}}(?!\d))?|{_NUMBER})"
"""The same with spaces between thousands, as in French and Polish. Not in a range such as "50-100", before which
another number may stand."""
_APART = NO_SPACES.pattern.removesuffix("+")
_ENDS = rf"(?:(?={_APART})|(?!\w))"
"""After a word: what is no letter, or one of a script without spaces."""
_CURRENCY = rf"(?:{SIGNS}|(?:{CURRENCIES}){_ENDS}|{CURRENCIES_BEHIND})"


def _any_of(name: str, languages: tuple[str, ...]) -> str:
    """Return a pattern of the words in the list ``name`` in these languages; without any, one that matches nothing."""
    words = "|".join(line for language in languages for line in WORDS[name].get(language, ()))
    words = "|".join(sorted(words.split("|"), key=lambda word: len(word.partition("(?!")[0]), reverse=True))
    return rf"(?:{words})" if words else r"(?!)"


def _price(n: int, number: str = _SPACED) -> str:
    """Return a pattern of a price, with a currency before or after it, or none; ``n`` numbers its groups."""
    return (
        rf"(?P<before{n}>{SIGNS})?\s*(?P<number{n}>{number})(?:\s*(?P<times{n}>k)(?!\w))?"
        rf"(?:\s*(?P<behind{n}>{_CURRENCY})|{_ENDS}(?!%))(?:,-)?"
    )


def _sum(n: int) -> str:
    """Return a pattern of a number before the word of its limit, with a sign before it, or none; ``n`` numbers its
    groups."""
    number = rf"(?<![\d.,])(?P<number{n}>(?:\d{{1,4}}[万만])?{_SPACED})"
    return rf"(?:(?P<before{n}>{SIGNS})\s*)?{number}\s*(?P<times{n}>[千천万만])?"


@lru_cache(maxsize=64)
def aged_words(languages: tuple[str, ...], lists: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of the words before a limit of age or number: "kids" in "kids under 5"."""
    return re.compile("|".join(_any_of(name, languages) for name in lists))


@lru_cache(maxsize=64)
def joining_words(languages: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of the words that join a lower and an upper limit: "but" in "over 50 but under 100 €"."""
    words = f"{_any_of('joining', languages)}|{_any_of('to', languages)}"
    return re.compile(rf"(?<!\w)(?:{words}|&)(?!\w)", re.IGNORECASE)


class PricePatterns(NamedTuple):
    """The patterns of limits in some languages: those of two prices, and those of one, each before the prices or behind
    them."""

    double: tuple[re.Pattern[str], ...]
    single: re.Pattern[str]
    double_behind: re.Pattern[str]
    behind: re.Pattern[str]


@lru_cache(maxsize=64)
def price_patterns(languages: tuple[str, ...]) -> PricePatterns:
    """Return the patterns of limits in these languages."""

    def words(name: str) -> str:
        return _any_of(name, languages)

    lead = rf"(?:(?<![\w.,-])|(?<={_APART})|(?<=\s[וو]))(?:{words('before')}\s+)?"
    pairs = [
        rf"(?P<between>{first})\s+{_price(1)}\s+(?:{second})\s*{_price(2)}"
        for first, second in (line.split(" / ") for each in languages for line in WORDS["between"].get(each, ()))
    ]
    ranges = (
        rf"(?:{words('at least')}\s+)?{_price(1, _NUMBER)}\s*(?:[-–]|\s{words('to')}\s)\s*{_price(2)}(?:{PARTICLES})?"
    )
    single = (
        rf"(?:(?P<most>{words('at most')}|<=|≤)|(?P<least>{words('at least')}|>=|≥)|(?P<below>{words('less than')}|<)"
        rf"|(?P<over>{words('more than')}|>))\.?\s*(?:of\s+)?{_price(1)}"
    )
    # The name of a group can occur only once in a pattern, so limits after their number have a pattern of their own.
    # Without a currency, one of them is no price, but may be the other end of a range.
    behind = (
        rf"{_sum(1)}(?(before1)|(?:\s*(?P<behind1>{_CURRENCY}))?)\s*"
        rf"(?:(?P<most>{words('at most behind')})|(?P<least>{words('at least behind')})"
        rf"|(?P<below>{words('less than behind')})|(?P<over>{words('more than behind')}))(?:{PARTICLES})?"
    )
    ranges_behind = (
        rf"{_sum(1)}\s*(?P<behind1>{SIGNS}|{CURRENCIES_BEHIND})?\s*{words('to behind')}\s*{_sum(2)}"
        rf"(?(before2)|(?(before1)|\s*(?P<behind2>{SIGNS}|{CURRENCIES_BEHIND})))(?:{PARTICLES})?"
    )
    double = tuple(re.compile(lead + each, re.IGNORECASE) for each in (*pairs, ranges))
    return PricePatterns(double, *(re.compile(each, re.IGNORECASE) for each in (lead + single, ranges_behind, behind)))
