"""The rules of a process (:mod:`imagesim.versioned`)."""

from __future__ import annotations

from collections.abc import Mapping

from imagesim.merchandising.engine import RuleSet
from imagesim.merchandising.models import LabelCategories, Rule
from imagesim.retrieval.rerank import Plan, Question
from imagesim.versioned import Versioned


def _load(version: str) -> RuleSet:
    return RuleSet.of(Rule.objects.filter(enabled=True), version, LabelCategories.objects.all())


rules = Versioned("rules", Rule, _load, RuleSet)


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
