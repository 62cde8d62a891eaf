"""Combine the rules that apply to a query into a plan for its answer, and arrange the candidates by it.

Rules are looked up by their triggers in dictionaries, so hundreds of them cost a search next to nothing.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from math import inf
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.database import primary
from imagesim.exceptions import BadQuery
from imagesim.filter_types import COMPARE, several
from imagesim.indexes.validation import MAX_NONE_OF, CompiledFilters, compile_filters
from imagesim.items.measured_colours import filter_values
from imagesim.items.registry import registry
from imagesim.merchandising.conditions import (
    IN_STOCK,
    check_field,
    lines_of,
    read_filters,
    read_key,
    read_pins,
    words_of,
)
from imagesim.merchandising.models import OTHERS, LabelCategories, Rule
from imagesim.retrieval.rerank import Pin, Plan, Question
from imagesim.shared_cache import Versioned
from imagesim.types import Candidate, Condition, FilterKind, Filters, Message

logger = logging.getLogger(__name__)

Action, When = Rule.Action, Rule.When

MAX_PINS = 48
MAX_ALTERNATIVES = 3
"""The maximum number of alternative texts of a query, each of which is another query in the same request."""

MAX_SAME = 48
"""The maximum number of texts that mean the same as a query: all of one rule, but not those of each word of a long
query."""

Trigger = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Ready:
    """A parsed rule. ``number``: its position among the rules."""

    number: int
    rule: Rule
    triggers: tuple[str, ...]
    filters: Filters
    pins: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, number: int, rule: Rule) -> Ready:
        """:raises ValidationError: if a text or a field is invalid, or no longer valid."""
        check_field(rule.limit_field if rule.action == Action.LIMIT else rule.same_field if rule.is_selecting else "")
        read = read_key if rule.when == When.PRODUCT else words_of if rule.is_by_words else str
        triggers = tuple(dict.fromkeys(map(read, lines_of(rule.triggers)))) if rule.when != When.ALWAYS else ("",)
        return cls(number, rule, triggers, read_filters(rule.filters), tuple(read_pins(rule.pins)))


@dataclass
class RuleSet:
    """All rules of a shop, by priority. A ``Reranker`` that returns the plans for queries."""

    rows: str = ""
    """The version of the rows."""
    lengths: frozenset[int] = frozenset()
    """The numbers of words that the phrases have."""
    by_trigger: Mapping[tuple[str, str, str], list[Ready]] = field(default_factory=dict)
    """The rules by place, condition and trigger."""
    label_categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The categories that the shop chose for labels of regions."""
    dates: Sequence[datetime] = ()
    """The times at which a rule begins or ends, in order."""
    variants: frozenset[str] = frozenset()
    """The keys of the variants that rules are for, or that rules exclude."""

    @classmethod
    def of(cls, rules: Iterable[Rule], version: str = "", labels: Iterable[LabelCategories] = ()) -> RuleSet:
        """Index the rules by their triggers; one that no longer matches the shop's declarations is skipped and
        logged. One that is not saved yet comes after the others of its priority, as it will when it is saved."""
        found: dict[tuple[str, str, str], list[Ready]] = defaultdict(list)
        lengths = set[int]()
        dates = list[datetime]()
        for number, rule in enumerate(sorted(rules, key=lambda rule: (-rule.priority, rule.pk or inf))):
            dates += filter(None, (rule.starts, rule.ends))
            try:
                ready = Ready.of(number, rule)
            except ValidationError as error:
                logger.warning("The rule %r is not applied: %s", rule.name, " ".join(error.messages))
                continue
            triggers = ready.triggers
            if rule.action == Action.REPLACE and rule.both_ways:
                triggers = tuple(dict.fromkeys((*triggers, words_of(rule.replacement))))
            if rule.when == When.CONTAIN:
                lengths |= {len(phrase.split()) for phrase in triggers}
            for where in rule.places:
                for trigger in triggers:
                    found[where, rule.when, trigger].append(ready)
        categories = {each.label: tuple(each.categories) for each in labels}
        variants = {each.rule.variant.removeprefix(OTHERS) for ready in found.values() for each in ready}
        return cls(version, frozenset(lengths), dict(found), categories, sorted(dates), frozenset(variants - {""}))

    @property
    def version(self) -> str:
        """Return a version that changes with the rows, and whenever a rule begins or ends."""
        passed = bisect(self.dates, timezone.now()) if self.dates else 0
        return f"{self.rows}.{passed}" if passed else self.rows

    def plan(self, question: Question) -> Plan | None:
        """Return the plan for a query; None if no rule applies."""
        if not self.by_trigger:
            return None
        now = timezone.now()
        asked, typed = words_of(question.text), words_of(question.typed)
        texts = [asked] if asked else []
        replacing: list[Ready] = []
        if asked:
            same = [(When.EQUAL, asked), (When.SYNONYM, asked), *self._phrases(asked)]
            found = self._find(question.where, same, now, question.variant)
            replacing = [ready for ready in found if ready.rule.action == Action.REPLACE]
            texts = _other_words(asked, replacing)
        triggers = [(When.ALWAYS.value, ""), *((When.CATEGORY.value, each) for each in question.categories)]
        if question.key:
            triggers.append((When.PRODUCT, question.key))
        for text in filter(None, {*texts[:1], asked, typed}):
            triggers += [(When.EQUAL, text), *self._phrases(text)]
        triggers += [(When.SYNONYM, text) for text in {asked, *texts} if text]
        found = self._find(question.where, triggers, now, question.variant)
        found = [ready for ready in found if ready.rule.action != Action.REPLACE]
        if not found and not replacing:
            return None
        plan = _plan(found, question)
        if not replacing:
            return plan
        return replace(
            plan, text=texts[0] if texts[0] != asked else "", alternatives=tuple(texts[1 : MAX_ALTERNATIVES + 1])
        )

    def _phrases(self, text: str) -> Iterator[Trigger]:
        """Yield every sequence of words of the text that can be a phrase of a rule."""
        words = text.split()
        for length in self.lengths:
            for start in range(len(words) - length + 1):
                yield When.CONTAIN, " ".join(words[start : start + length])

    def _find(self, where: str, triggers: Iterable[Trigger], now: datetime, variant: str) -> list[Ready]:
        found = {
            ready.number: ready
            for when, trigger in triggers
            for ready in self.by_trigger.get((where, when, trigger), ())
            if ready.rule.is_active(now) and ready.rule.concerns(variant)
        }
        return [found[number] for number in sorted(found)]


def _other_words(asked: str, replacing: Iterable[Ready]) -> list[str]:
    """Return the words to search for, then at most :data:`MAX_SAME` synonyms of them."""
    first, others = asked, dict[str, None]()
    for ready in replacing:
        replacement = words_of(ready.rule.replacement)
        if not ready.rule.both_ways:
            first = _replaced(first, ready.triggers, replacement)
            continue
        same = (*ready.triggers, replacement)
        meant = (phrase for phrase in same if f" {phrase} " in f" {asked} ")
        pairs = ((phrase, other) for phrase in meant for other in same if other != phrase)
        for phrase, other in islice(pairs, MAX_SAME - len(others)):
            others[_replaced(asked, [phrase], other)] = None
    return list(dict.fromkeys((first, *(other for other in others if other != asked))))


def _replaced(text: str, phrases: Iterable[str], by: str) -> str:
    """Return the text with any of the phrases replaced, no longer than a visitor may send. Replacements are not
    replaced again."""
    words = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
    return re.sub(rf"(?<!\S)(?:{words})(?!\S)", lambda _match: by, text)[: get_settings().MAX_TEXT_LENGTH]


def _plan(found: Iterable[Ready], question: Question) -> Plan:
    none_of: list[Filters] = []
    pins: list[Pin] = []  # by priority: the first that can be shown gets the place
    messages: list[Message] = []
    boosts: list[Boost] = []
    limits: list[Limit] = []
    for ready in found:
        rule = ready.rule
        if rule.action == Action.PIN:
            pins += (Pin(key, position - 1, rule.name) for position, key in ready.pins)
        elif rule.action == Action.MESSAGE:
            messages.append(Message(rule.message, rule.link))
        elif rule.action == Action.LIMIT:
            if rule.limit_field in (*question.meta.filters, IN_STOCK):
                limits.append(Limit(rule.name, rule.limit_field, rule.limit_count or 1, rule.limit_first or 2))
        elif (selected := _selected(ready, question)) is not None:
            if rule.action == Action.EXCLUDE:
                none_of.append(selected)
            else:
                factor = rule.factor if rule.action == Action.BOOST else 1 / rule.factor
                boosts.append(Boost(rule.name, selected, factor))
    arrangement = Arrangement(boosts, limits, question.meta.filters) if boosts or limits else None
    return Plan(
        none_of=tuple(none_of[:MAX_NONE_OF]),
        pins=tuple(pins[:MAX_PINS]),
        fields=arrangement.fields if arrangement else (),
        arrange=arrangement,
        messages=tuple(messages),
    )


def _selected(ready: Ready, question: Question) -> Filters | None:
    """Return the filters that a rule selects; None if it selects nothing, because the index does not have a filter yet,
    or has it with values of another kind, or the query has no product with a value."""
    filters, name = ready.filters, ready.rule.same_field
    if name:
        if question.item is None:
            return None
        items = registry.for_item(question.item)
        if name == IN_STOCK:
            filters = replace(filters, in_stock=items.get_in_stock(question.item))
        else:
            value = filter_values(items, [question.item])[0].get(name)
            values = tuple(each for each in several(value) if each not in (None, ""))
            if not values:
                return None
            filters = replace(filters, conditions=(*filters.conditions, Condition(name, "in", values)))
    try:
        compile_filters(filters, question.meta.filters)
    except BadQuery:
        return None
    return filters


def _load(version: str) -> RuleSet:
    return RuleSet.of(primary(Rule).filter(enabled=True), version, primary(LabelCategories).all())


rules = Versioned("rules", Rule, _load, RuleSet)
"""The rules of this process."""


class CachedRules:
    """The reranker that the app registers."""

    @property
    def version(self) -> str:
        return rules.current().version

    @property
    def label_categories(self) -> Mapping[str, tuple[str, ...]]:
        return rules.current().label_categories

    @property
    def variants(self) -> frozenset[str]:
        return rules.current().variants

    def plan(self, question: Question) -> Plan | None:
        return rules.current().plan(question)


@dataclass(frozen=True, slots=True)
class Boost:
    """Multiply the relevance of candidates that match the filters; a factor below 1 buries."""

    rule: str
    filters: Filters
    factor: float


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """Allow at most ``count`` candidates with one value of a field among the first. Limits are equal only if they are
    the same: those of two rules are counted apart, even if the rules have one name."""

    rule: str
    field: str
    count: int
    first: int


@dataclass
class Arrangement:
    """Reorders the candidates of a window by the rules. ``kinds``: the kinds of the index's filters.

    Candidates that no rule concerns keep their order. The relevance that a boost multiplies is that of the candidate's
    place: the highest of its own and of all after it. A boosted candidate therefore passes those before it that are
    less relevant than it has become, and a factor has the same effect for all.
    """

    boosts: Sequence[Boost]
    limits: Sequence[Limit]
    kinds: Mapping[str, FilterKind]

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Return the fields whose values are compared."""
        names = [condition.field for boost in self.boosts for condition in boost.filters.conditions]
        names += [limit.field for limit in self.limits]
        names += [IN_STOCK for boost in self.boosts if boost.filters.in_stock is not None]
        return tuple(dict.fromkeys(names))

    def __call__(self, judged: Sequence[Candidate], placed: Mapping[int, Candidate]) -> list[Candidate]:
        found = self._boosted(judged) if self.boosts else list(judged)
        return self._limited(found, placed) if self.limits else found

    def _boosted(self, judged: Sequence[Candidate]) -> list[Candidate]:
        compiled = [(boost, compile_filters(boost.filters, self.kinds)) for boost in self.boosts]
        worth: list[tuple[float, Candidate]] = []
        best = 0.0
        for each in reversed(judged):
            best = max(best, each.relevance)
            passed = [boost for boost, filters in compiled if passes(each, filters)]
            value = best
            for boost in passed:
                value *= boost.factor
            worth.append((value, each.moved_by(*(boost.rule for boost in passed)) if passed else each))
        worth.reverse()
        return [each for _value, each in sorted(worth, key=lambda pair: -pair[0])]  # stable

    def _limited(self, judged: Sequence[Candidate], placed: Mapping[int, Candidate]) -> list[Candidate]:
        """Assign each position to the first candidate that no limit forbids there, or to the first one if all are
        forbidden."""
        counts = Counter[tuple[Limit, Any]]()
        for limit in self.limits:
            for position, each in placed.items():
                if position < limit.first:
                    counts.update((limit, value) for value in each.values.get(limit.field, ()))
        left, found = list(judged), list[Candidate]()
        position = 0
        while left and position < max(limit.first for limit in self.limits):
            if position not in placed:
                limits = [limit for limit in self.limits if position < limit.first]
                number = next((n for n, each in enumerate(left) if not _forbidding(each, limits, counts)), 0)
                for passed_over in range(number):
                    rules = {limit.rule for limit in _forbidding(left[passed_over], limits, counts)}
                    left[passed_over] = left[passed_over].moved_by(*sorted(rules - set(left[passed_over].rules)))
                each = left.pop(number)
                for limit in limits:
                    counts.update((limit, value) for value in each.values.get(limit.field, ()))
                found.append(each)
            position += 1
        return found + left


def _forbidding(each: Candidate, limits: Sequence[Limit], counts: Mapping[tuple[Limit, Any], int]) -> list[Limit]:
    values = each.values
    return [
        limit
        for limit in limits
        if any(counts.get((limit, value), 0) >= limit.count for value in values.get(limit.field, ()))
    ]


def passes(candidate: Candidate, compiled: CompiledFilters) -> bool:
    """Return whether a candidate matches filters, by its values."""
    filters = compiled.filters
    if filters.categories and set(filters.categories).isdisjoint(candidate.categories):
        return False
    if filters.in_stock is not None and (filters.in_stock,) != candidate.values.get(IN_STOCK):
        return False
    for group in compiled.groups:
        values = candidate.values.get(group[0].field, ())
        if group[0].operator in ("eq", "in"):
            if set(values).isdisjoint(group[0].values):
                return False
        elif not any(all(COMPARE[test.operator](value, test.values[0]) for test in group) for value in values):
            return False
    return True
