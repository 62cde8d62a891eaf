"""Combine the rules that apply to a query into a plan for its answer.

Rules are found by what triggers them, in dictionaries, so that hundreds of them cost a search next to nothing.
"""

from __future__ import annotations

import logging
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone

from imagesim.conf import get_settings
from imagesim.database import primary
from imagesim.indexes.validation import MAX_NONE_OF
from imagesim.measured_colours import filter_values
from imagesim.merchandising.conditions import CATEGORY, IN_STOCK, lines_of, read_filters, read_key, read_pins, words_of
from imagesim.merchandising.models import LabelCategories, Rule
from imagesim.merchandising.moves import Arrangement, Boost, Limit
from imagesim.registry import registry
from imagesim.retrieval.rerank import Pin, Plan, Question
from imagesim.types import Condition, Filters, IndexMeta, Message
from imagesim.versioned import Versioned

logger = logging.getLogger(__name__)

Action, When = Rule.Action, Rule.When

MAX_PINS = 48
MAX_ALTERNATIVES = 3
"""The maximum number of alternative texts of a query, each of which is another query in the same request."""

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
        """:raises ValidationError: if a text is invalid, or no longer valid."""
        read = read_key if rule.when == When.PRODUCT else words_of if rule.is_by_words else str
        triggers = tuple(dict.fromkeys(map(read, lines_of(rule.triggers)))) if rule.when != When.ALWAYS else ("",)
        return cls(number, rule, triggers, read_filters(rule.filters), tuple(read_pins(rule.pins)))

    @property
    def where(self) -> Iterable[str]:
        return self.rule.where or Rule.Where.values


@dataclass
class RuleSet:
    """All rules of a shop, by priority. A ``Reranker`` that returns the plans for queries."""

    rows: str = ""
    """The version of the rows."""
    lengths: frozenset[int] = frozenset()
    """How many words the phrases have."""
    by_trigger: Mapping[tuple[str, str, str], list[Ready]] = field(default_factory=dict)
    """The rules by place, condition and trigger."""
    label_categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The categories that the shop chose for labels of regions."""
    dates: Sequence[datetime] = ()
    """When a rule begins or ends, in order."""

    @classmethod
    def of(cls, rules: Iterable[Rule], version: str = "", labels: Iterable[LabelCategories] = ()) -> RuleSet:
        """Index the rules by their triggers; one that no longer matches the shop's declarations is skipped and
        logged."""
        found: dict[tuple[str, str, str], list[Ready]] = defaultdict(list)
        lengths = set[int]()
        dates = list[datetime]()
        for number, rule in enumerate(sorted(rules, key=lambda rule: (-rule.priority, rule.pk or 0))):
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
            for where in ready.where:
                for trigger in triggers:
                    found[where, rule.when, trigger].append(ready)
        categories = {each.label: tuple(each.categories) for each in labels}
        return cls(version, frozenset(lengths), dict(found), categories, sorted(dates))

    @property
    def version(self) -> str:
        """Return what changes with the rows, and when a rule begins or ends."""
        passed = bisect(self.dates, timezone.now()) if self.dates else 0
        return f"{self.rows}.{passed}" if passed else self.rows

    def plan(self, question: Question) -> Plan | None:
        """Return the plan for a query; None if no rule applies."""
        if not self.by_trigger:
            return None
        now = timezone.now()
        asked = words_of(question.text)
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
        for text in texts[:1]:
            triggers += [(When.EQUAL, text), *self._phrases(text)]
        if asked and texts[0] != asked:
            triggers += [(When.EQUAL, asked), *self._phrases(asked)]
        triggers += [(When.SYNONYM, text) for text in dict.fromkeys((asked, *texts)) if text]
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
    """Return the words to search, then their synonyms."""
    first, others = asked, list[str]()
    for ready in replacing:
        replacement = words_of(ready.rule.replacement)
        if not ready.rule.both_ways:
            for phrase in ready.triggers:
                first = _replaced(first, phrase, replacement)
            continue
        same = (*ready.triggers, replacement)
        others += [_replaced(asked, phrase, other) for phrase in same for other in same if other != phrase]
    return list(dict.fromkeys((first, *(other for other in others if other != asked))))


def _replaced(text: str, phrase: str, by: str) -> str:
    """The text with other words, no longer than a visitor may send."""
    return f" {text} ".replace(f" {phrase} ", f" {by} ").strip()[: get_settings().MAX_TEXT_LENGTH]


def _plan(found: Iterable[Ready], question: Question) -> Plan:
    none_of: list[Filters] = []
    pins: list[Pin] = []  # by priority: the first that can be shown has the place
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
            if _is_known([rule.limit_field], question.meta):
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
    """Return the filters that a rule selects; None if it selects nothing: the index does not have a filter yet, or the
    query has no product with a value."""
    filters, name = ready.filters, ready.rule.same_field
    if name:
        if question.item is None:
            return None
        items = registry.for_item(question.item)
        if name == IN_STOCK:
            filters = replace(filters, in_stock=items.get_in_stock(question.item))
        else:
            value = filter_values(items, [question.item])[0].get(name)
            values = value if isinstance(value, tuple) else (value,)
            values = tuple(each for each in values if each not in (None, ""))
            if not values:
                return None
            filters = replace(filters, conditions=(*filters.conditions, Condition(name, "in", values)))
    return filters if _is_known([condition.field for condition in filters.conditions], question.meta) else None


def _is_known(names: Iterable[str], meta: IndexMeta) -> bool:
    return all(name in meta.filters or name in (CATEGORY, IN_STOCK) for name in names)


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

    def plan(self, question: Question) -> Plan | None:
        return rules.current().plan(question)
