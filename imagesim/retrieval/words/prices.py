"""Price limits in the words of a query: "dress under 50", "Schuhe bis 100 €", "between $20 and $40"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from django.utils.formats import number_format
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from imagesim.language.analysis import base_language, languages_of, stop_words
from imagesim.language.letters import spelled
from imagesim.language.query_words import QueryWord, query_words
from imagesim.language.stop_words import AMOUNTS, UNITS
from imagesim.language.word_lists import is_on_a_list
from imagesim.language.word_roles import Roles
from imagesim.retrieval.arguments import Searched
from imagesim.retrieval.relevance import calibration_of
from imagesim.retrieval.words.clauses import is_open, says_everything
from imagesim.retrieval.words.negated_limits import Negation, is_verb, negation_of
from imagesim.retrieval.words.price_patterns import WORDS, aged_words, joining_words, price_patterns
from imagesim.types import Condition, IndexMeta, Message, Operator

IN_NAMES = ("max", "mak", "máx", "massimo")
"""The beginnings of words for a maximum that also occur in names. They state a limit only with a currency: "Air Max 90"
is not a price."""

_OPPOSITES: Mapping[Operator, Operator] = {"gte": "lte", "lt": "gte"}
_TIMES = {"k": 1_000, "千": 1_000, "천": 1_000, "万": 10_000, "만": 10_000}


class PriceLimits(NamedTuple):
    """The ``text`` of a query without its price limits, the limits by operator, the ``name`` of the filter that they
    are for, and whether the text asks for anything at that price (``is_all``)."""

    text: str
    limits: Mapping[Operator, float]
    name: str = ""
    is_all: bool = False

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


def nothing_at_this_price() -> Message:
    """Return the message above the closest items at any price."""
    return Message(_("Nothing was found at this price."))


def limits_of(text: str, searched: Searched, meta: IndexMeta) -> PriceLimits | None:
    """Return the price limits in a query, if all searched models have the same price filter and the index has it; else
    None."""
    names = {items.price_filter for items in searched}
    name = names.pop() if len(names) == 1 else ""
    if name not in meta.filters or any(items.kinds.get(name) != "number" for items in searched):
        return None
    languages = (*languages_of(meta), get_language() or "")
    found = price_limits(text, languages)
    return found and found._replace(
        name=name, is_all=_asks_for_anything(found.text, _known(languages), calibration_of(meta).roles)
    )


def price_limits(text: str, languages: Sequence[str]) -> PriceLimits | None:
    """Return the price limits in a query, with the rest of the text, which may be empty; None if it has none.

    ``languages``: those in which the query may be written. A number is a price if it has a currency, or if it comes
    after a word such as "under" and either ends the query or precedes a filler word. So "kids under 5", "size below 40"
    and "under 2 kg" state no price, and neither does "from 3" without a currency. A lower and an upper limit may be
    apart: "over 20 €, under 50 €".
    """
    known = _known(languages)
    found = _first_limits(text, known)
    other = _first_limits(found.text, known) if found and len(found.limits) == 1 else None
    if found and other and len(other.limits) == 1 and ("gte" in found.limits) != ("gte" in other.limits):
        limits = {**found.limits, **other.limits}
        return PriceLimits(other.text, limits) if _can_be_met(limits) else None
    return found


def _known(languages: Sequence[str]) -> tuple[str, ...]:
    """Return the base codes of the languages, and English."""
    return tuple(sorted({base_language(language) for language in languages} | {"en"}))


def _asks_for_anything(text: str, known: tuple[str, ...], roles: Roles) -> bool:
    """Return whether a text without price limits says nothing of what is sought: "something", "gift ideas" in a shop
    that calls nothing a gift, or no word at all."""
    gifts = _gifts(known)

    def is_gift(word: QueryWord) -> bool:
        return word.word in gifts and not roles.is_in_names(word.stems.values())

    words = query_words(text, known)
    return says_everything(text, known, roles) or all(is_gift(word) or is_open(word, known, roles) for word in words)


@lru_cache(maxsize=64)
def _gifts(known: tuple[str, ...]) -> frozenset[str]:
    lines = ((language, line) for language in known for line in WORDS["gifts"].get(language, ()))
    return frozenset(spelled(word, language) for language, line in lines for word in line.split())


def _first_limits(text: str, known: tuple[str, ...]) -> PriceLimits | None:
    """Return the first limits in a text, with the rest of it. ``known``: the base codes of the languages."""
    patterns = price_patterns(known)
    aside = set[tuple[int, int]]()
    for pattern in (*patterns.double, patterns.single, patterns.double_behind, patterns.behind):
        if pattern is patterns.single:
            found, aside = _first_range(text, known)
            if found:
                return found if found.limits else None
        for match in pattern.finditer(text):
            if match.span() in aside:
                continue
            limits = _limits_of(match)
            negation = negation_of(text[: match.start()], text[match.end() :], known)
            limited = _negated(match, limits) if negation.negates else limits
            if not _is_price(match, limited or limits, negation, known):
                continue
            in_doubt = negation.in_doubt and (negation.negates or "gte" in limits)
            if len(limits) > 1 and (not limited or in_doubt or not _can_be_met(limits)):
                return None  # "not from 20 to 50 €" and "from 50 to 20 €": half of it would be the opposite
            if not limited or negation.is_open or in_doubt or (negation.is_far and match.groupdict().get("over")):
                continue
            return PriceLimits(_rest_of(negation.before, negation.after), limited)
    return None


def _first_range(text: str, known: tuple[str, ...]) -> tuple[PriceLimits | None, set[tuple[int, int]]]:
    """Return the first price range of a lower and an upper limit beside each other, as in "over 50 but under 100 €",
    and the places of such limits that are no prices: "kids over 3 and under 8".

    The range has no limits if it is not certain, or if nothing can satisfy it.
    """
    aside = set[tuple[int, int]]()
    for first, second in _neighbours(text, known):
        between, unit = _without_unit(text[first.end() : second.start()], known)
        last = negation_of(negation_of("", between, known, followed=True).after, text[second.end() :], known)
        if not _are_joined(first, second, between, last.before, known):
            continue
        start = negation_of(text[: first.start()], between, known, followed=True)
        limits = _limits_of_both(first, second, start, last)
        if limits is None or start.is_open or last.is_open:
            continue
        if not unit and _are_prices(first, second, start, last, known):
            is_certain = not (start.in_doubt or (start.is_far and first["over"]))
            rest = _rest_of(start.before, last.after)
            return PriceLimits(rest, limits if is_certain and _can_be_met(limits) else {}), aside
        if not (_has_currency(first) or _has_currency(second)):
            aside |= {first.span(), second.span()}
    return None, aside


def _neighbours(text: str, known: tuple[str, ...]) -> Iterable[tuple[re.Match[str], re.Match[str]]]:
    """Return each two limits of one price that follow each other in a text."""
    patterns = price_patterns(known)
    found = [*patterns.single.finditer(text)]
    places = {place for match in found for place in range(*match.span())}
    found += (match for match in patterns.behind.finditer(text) if places.isdisjoint(range(*match.span())))
    return pairwise(sorted(found, key=re.Match.start))


def _without_unit(between: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Return a text behind a number without the unit that it may begin with, and this unit."""
    word, _, rest = between.lstrip().partition(" ")
    unit = word.casefold().strip(",.")
    return (rest, unit) if unit in UNITS and not joining_words(known).fullmatch(unit) else (between, "")


def _are_joined(first: re.Match[str], second: re.Match[str], between: str, left: str, known: tuple[str, ...]) -> bool:
    """Return whether two limits belong together, with these texts between them: with negations, and what is left
    without. If only one has a currency, there is a word such as "but": the puzzle "ab 3, unter 20 €" is for children
    from 3 on."""
    joining = joining_words(known)
    if any(not is_verb(word, known) for word in re.split(r"[\s,;、，–-]+", joining.sub(" ", left)) if word):
        return False
    return (
        any(map(joining.search, (between, left)))
        or (_has_currency(first) and _has_currency(second))
        or (_stands_behind(first) and _stands_behind(second))
    )


def _limits_of_both(
    first: re.Match[str], second: re.Match[str], start: Negation, last: Negation
) -> dict[Operator, float] | None:
    """Return the limits of two that are joined; None if they are no lower and upper one. One negation before the first,
    or behind the last, may be that of both: "nothing under 20 or over 50 €"."""
    stated = _limits_of(first), _limits_of(second)
    opposite = _negated(first, stated[0]), _negated(second, stated[1])
    own = (opposite if start.negates else stated)[0], (opposite if last.negates else stated)[1]
    if all(own) and ("gte" in own[0]) != ("gte" in own[1]):
        return {**own[0], **own[1]}
    both = {**opposite[0], **opposite[1]}
    if start.negates == last.negates or not all(opposite) or len(both) < 2:
        return None
    return both if start.negates or (last.is_behind and _can_be_met(both)) else None


def _are_prices(
    first: re.Match[str], second: re.Match[str], start: Negation, last: Negation, known: tuple[str, ...]
) -> bool:
    """Return whether the numbers of two joined limits are prices. A currency may stand next to only one of them."""
    if not (_has_currency(first) or _has_currency(second)) and any(
        _stands_behind(each) or each[0].casefold().startswith(IN_NAMES) for each in (first, second)
    ):
        return False
    return (_has_currency(first) or not _is_of_other(start.before, known, "aged", "aged in pairs")) and (
        _has_currency(second) or _stands_behind(second) or _ends_price(last.after, known)
    )


def _can_be_met(limits: Mapping[Operator, float]) -> bool:
    """Return whether a lower and an upper limit leave any price between them."""
    return limits["gte"] < min(limit for operator, limit in limits.items() if operator != "gte")


def _rest_of(before: str, after: str) -> str:
    """Return a text without the limits that it has between these parts."""
    rest = " ".join(f"{before} {after}".split()).strip(" ,;-–")
    return rest if any(map(str.isalnum, rest)) else ""


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


def _stands_behind(match: re.Match[str]) -> bool:
    """Return whether the words of a limit of one price stand behind its number."""
    return max(match.start(name) for name in ("most", "least", "below", "over")) > match.start("number1")


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
    if "most" in found and _stands_behind(match):
        return False
    return not _is_of_other(negation.before, languages, "aged") and _ends_price(negation.after, languages)


def _is_of_other(before: str, languages: tuple[str, ...], *lists: str) -> bool:
    """Return whether the text before a limit says that it is one of age, size or number, by words such as those in
    ``lists``: "kids" in "kids under 5"."""
    words = [word.casefold().strip(",.") for word in before.split()]
    if words and (words[-1] in AMOUNTS or words[-1][:1].isdigit()):
        return True
    joining, aged, stop = joining_words(languages), aged_words(languages, lists), stop_words(languages)
    while words and spelled(words[-1]) in stop and not joining.fullmatch(words[-1]):
        words.pop()  # "niños de menos de 5"
    return bool(words) and aged.fullmatch(words[-1]) is not None


def _ends_price(after: str, languages: tuple[str, ...]) -> bool:
    """Return whether a number before this text may be a price without a currency."""
    if not after.strip() or after.startswith(","):
        return True
    follower = after.split()[0].casefold().strip(",.")
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
