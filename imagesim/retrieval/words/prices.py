"""Price limits in the words of a query: "dress under 50", "Schuhe bis 100 €", "between $20 and $40"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from django.utils.formats import number_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from imagesim.language.analysis import NO_SPACES, base_language, languages_of
from imagesim.language.letters import spelled
from imagesim.language.stop_words import AMOUNTS, UNITS, read_table
from imagesim.language.word_lists import is_on_a_list
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.words.negated_limits import Negation, is_verb, negation_of
from imagesim.types import Condition, IndexMeta, Message, Operator

WORDS = read_table(Path(__file__).with_name("prices.txt"))

CURRENCIES = (
    "euros|euro|eur|dollars|dollar|usd|bucks|pounds|pound|quid|gbp|franken|francs|francos|franchi|chf|złotych|złote|"
    "zloty|zł|zl|pln|kronor|kroner|kronen|kr|sek|nok|dkk|korun|kč|kc|czk|рублей|руб|лир|tl|lira|reais|reales|pesos|"
    "гривень|гривні|грн|uah|лева|лв|евро|євро|ευρώ|ευρω|lei|leu|ron|forint|huf|eura|evra|evrov|eurai|eurų|eiro|"
    'dinara|din|rsd|динара|дин|евра|đồng|đ|vnd|บาท|thb|שקלים|שקל|ש"ח|nis|تومان|تومن|ریال|'
    "ريالا|ريال|درهما|درهم|دينارا|دينار|جنيها|جنيه|دولار|يورو"
)
"""Words and codes of currencies, as a pattern."""

SIGNS = r"us\$|[$€£¥₹₺₽₩￥₪₫฿]"
"""Signs of currencies, as a pattern."""

IN_NAMES = ("max", "mak", "máx", "massimo")
"""The beginnings of words for a maximum that also occur in names. They state a limit only with a currency: "Air Max 90"
is not a price."""

CURRENCIES_BEHIND = "円|元|块|块钱|人民币|원|ユーロ|ドル|欧元|美元|유로|달러|ft|forint|euró|रुपये|रुपए|रुपयों|tl|lira"
"""Currencies before such words, in Chinese, Japanese, Korean, Hungarian, Hindi and Turkish."""

PARTICLES = r"の|的|\s*aras[ıi](?:nda(?:ki)?)?(?!\w)|\s*के बीच(?: के| की| में)?"
"""What follows a limit before the next word: particles in Japanese and Chinese, "between" in Turkish and Hindi."""

_NUMBER = r"\d{1,9}(?:[.,'’]\d{1,9}){0,3}"
_SPACED = rf"(?:\d{{1,3}}(?:\s\d{{3}}){{1,2}}(?!\d)(?:,\d{{1,2}}(?!\d))?|{_NUMBER})"
"""The same with spaces between thousands, as in French and Polish. Not in a range such as "50-100", before which
another number may stand."""
_CURRENCY = rf"(?:{SIGNS}|(?:{CURRENCIES})(?!\w)|{CURRENCIES_BEHIND})"
_OPPOSITES: Mapping[Operator, Operator] = {"gte": "lte", "lt": "gte"}
_TIMES = {"k": 1_000, "千": 1_000, "천": 1_000, "万": 10_000, "만": 10_000}


class PriceLimits(NamedTuple):
    """The ``text`` of a query without its price limits, the limits by operator, and the ``name`` of the filter that
    they are for."""

    text: str
    limits: Mapping[Operator, float]
    name: str = ""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The limits as conditions of the filter."""
        return tuple(Condition(self.name, operator, limit) for operator, limit in self.limits.items())

    def message(self) -> Message:
        """Return the message that tells the visitor about the limits."""
        numbers = {operator: number_format(limit, 2 if limit % 1 else 0) for operator, limit in self.limits.items()}
        least, below, most = numbers.get("gte"), numbers.get("lt"), numbers.get("lte")
        if least and (highest := most or below):
            return Message(
                _("Only what costs between %(least)s and %(most)s is shown.") % {"least": least, "most": highest}
            )
        if least:
            return Message(_("Only what costs at least %(number)s is shown.") % {"number": least})
        if below:
            return Message(_("Only what costs less than %(number)s is shown.") % {"number": below})
        return Message(_("Only what costs at most %(number)s is shown.") % {"number": most})


def limits_of(text: str, searched: Searched, meta: IndexMeta) -> PriceLimits | None:
    """Return the price limits in a query, if all searched models have the same price filter and the index has it; else
    None."""
    names = {items.price_filter for items in searched}
    name = names.pop() if len(names) == 1 else ""
    if name not in meta.filters or any(items.kinds.get(name) != "number" for items in searched):
        return None
    found = price_limits(text, (*languages_of(meta), get_language() or ""))
    return found and found._replace(name=name)


def price_limits(text: str, languages: Sequence[str]) -> PriceLimits | None:
    """Return the price limits in a query, with the rest of the text, which may be empty; None if it has none.

    ``languages``: those in which the query may be written. A number is a price if it has a currency, or if it comes
    after a word such as "under" and either ends the query or precedes a filler word. So "kids under 5", "size below 40"
    and "under 2 kg" state no price, and neither does "from 3" without a currency. A lower and an upper limit may be
    apart: "over 20 €, under 50 €".
    """
    known = tuple(sorted({base_language(language) for language in languages} | {"en"}))
    found = _first_limits(text, known)
    other = _first_limits(found.text, known) if found and len(found.limits) == 1 else None
    if found and other and len(other.limits) == 1 and ("gte" in found.limits) != ("gte" in other.limits):
        limits = {**found.limits, **other.limits}
        if limits["gte"] < min(limit for operator, limit in limits.items() if operator != "gte"):
            return PriceLimits(other.text, limits)
    return found


def _first_limits(text: str, known: tuple[str, ...]) -> PriceLimits | None:
    """Return the first limits in a text, with the rest of it. ``known``: the base codes of the languages."""
    for pattern in _patterns(known):
        for match in pattern.finditer(text):
            limits = _limits_of(match)
            negation = negation_of(text[: match.start()], text[match.end() :], known)
            limited = _negated(match, limits) if negation.negates else limits
            if not _is_price(match, limited or limits, negation, known):
                continue
            if len(limits) > 1 and (not limited or limits["gte"] >= limits["lte"]):
                return None  # "not from 20 to 50 €" and "from 50 to 20 €": half of it would be the opposite
            if not limited or negation.is_open or (negation.is_far and match.groupdict().get("over")):
                continue
            rest = " ".join(f"{negation.before} {negation.after}".split()).strip(" ,;-–")
            return PriceLimits(rest if any(map(str.isalnum, rest)) else "", limited)
    return None


def _limits_of(match: re.Match[str]) -> dict[Operator, float]:
    """Return the limits in a match of one of the patterns."""
    found = match.groupdict()
    numbers = [_amount(found[f"number{n}"], found[f"times{n}"]) for n in "12" if found.get(f"number{n}")]
    if len(numbers) == 2:
        return {"gte": numbers[0], "lte": numbers[1]}
    operator: Operator = "gte" if found["least"] or found["over"] else "lt" if found["below"] else "lte"
    return {operator: numbers[0]}


def _negated(match: re.Match[str], limits: Mapping[Operator, float]) -> dict[Operator, float]:
    """Return the opposite of the limits in a match; empty if they have none: "not from 50 €", "not from 20 to 50 €"."""
    found = match.groupdict()
    if not (found.get("below") or found.get("over")):
        return {}
    return {_OPPOSITES[operator]: limit for operator, limit in limits.items()}


def _has_currency(match: re.Match[str]) -> bool:
    """Return whether a number in a match has a currency."""
    found = match.groupdict()
    return any(found.get(f"{side}{n}") for side in ("before", "behind") for n in "12")


def _is_price(
    match: re.Match[str], limits: Mapping[Operator, float], negation: Negation, languages: tuple[str, ...]
) -> bool:
    """Return whether the numbers in a match are prices (see :func:`price_limits`)."""
    if _has_currency(match):
        return True
    found = match.groupdict()
    said = found.get("below") or found.get("most") or found.get("between") or (negation.negates and found.get("over"))
    if not said or said.casefold().startswith(IN_NAMES) or set(limits) == {"gte"}:
        return False
    before, after = negation.before.split(), negation.after.split()
    last = before[-1].casefold().strip(",.") if before else ""
    if last in AMOUNTS or last[:1].isdigit() or _aged(languages).fullmatch(last):
        return False
    if not after or negation.after.startswith(","):
        return True
    follower = after[0].casefold().strip(",.")
    if len(follower) > 1 and follower in UNITS:  # "år" (years), which differs from "är" (is) only in its accent
        return False
    return is_verb(follower, languages) or any(
        is_on_a_list(spelled(follower, language), language) for language in languages
    )


def _amount(number: str, times: str | None) -> float:
    """Return the value of a number in the notation of any language: "1,299.00", "1.299,00", "1 299,00", "1'299",
    "1万5000"."""
    *ten_thousands, number = re.split("[万만]", "".join(number.split()))
    *groups, last = re.split(r"[.,'’]", number)
    has_cents = bool(groups) and (len(last) != 3 or (len(groups) > 1 and len(set(re.findall(r"[.,'’]", number))) > 1))
    whole = "".join(groups if has_cents else [*groups, last])
    amount = float(f"{whole}.{last}" if has_cents else whole) * _TIMES.get((times or "").casefold(), 1)
    return amount + sum(map(float, ten_thousands)) * 10_000


def _any_of(name: str, languages: tuple[str, ...]) -> str:
    """Return a pattern of the words in the list ``name`` in these languages; without any, one that matches nothing."""
    words = "|".join(line for language in languages for line in WORDS[name].get(language, ()))
    words = "|".join(sorted(words.split("|"), key=len, reverse=True))
    return rf"(?:{words})" if words else r"(?!)"


def _price(n: int, number: str = _SPACED) -> str:
    """Return a pattern of a price, with a currency before or after it, or none; ``n`` numbers its groups."""
    return (
        rf"(?P<before{n}>{SIGNS})?\s*(?P<number{n}>{number})(?:\s*(?P<times{n}>k)(?!\w))?"
        rf"(?:\s*(?P<behind{n}>{_CURRENCY})|(?![\w%]))(?:,-)?"
    )


def _sum(n: int) -> str:
    """Return a pattern of a number before the word of its limit, with a sign before it, or none; ``n`` numbers its
    groups."""
    number = rf"(?<![\d.,])(?P<number{n}>(?:\d{{1,4}}[万만])?{_SPACED})"
    return rf"(?:(?P<before{n}>{SIGNS})\s*)?{number}\s*(?P<times{n}>[千천万만])?"


@lru_cache(maxsize=64)
def _aged(languages: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of the words before a limit of age or number: "kids" in "kids under 5"."""
    return re.compile(_any_of("aged", languages))


@lru_cache(maxsize=64)
def _patterns(languages: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of limits in these languages: first those of two prices, then those of one."""

    def words(name: str) -> str:
        return _any_of(name, languages)

    lead = rf"(?:(?<![\w.,-])|(?<={NO_SPACES.pattern.removesuffix('+')}))(?:{words('before')}\s+)?"
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
    behind = (
        rf"{_sum(1)}(?(before1)|\s*(?P<behind1>{_CURRENCY}))\s*"
        rf"(?:(?P<most>{words('at most behind')})|(?P<least>{words('at least behind')})"
        rf"|(?P<below>{words('less than behind')})|(?P<over>{words('more than behind')}))(?:{PARTICLES})?"
    )
    ranges_behind = (
        rf"{_sum(1)}\s*(?P<behind1>{SIGNS}|{CURRENCIES_BEHIND})?\s*{words('to behind')}\s*{_sum(2)}"
        rf"(?(before2)|(?(before1)|\s*(?P<behind2>{SIGNS}|{CURRENCIES_BEHIND})))(?:{PARTICLES})?"
    )
    found = [*(lead + each for each in (*pairs, ranges, single)), ranges_behind, behind]
    return tuple(re.compile(each, re.IGNORECASE) for each in found)
