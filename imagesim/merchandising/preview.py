"""Preview a rule before it is saved: the answers to a query without it and with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, ImagesimError
from imagesim.merchandising.engine import RuleSet
from imagesim.merchandising.models import LabelCategories, Rule
from imagesim.merchandising.products import product_of
from imagesim.registry import key_of
from imagesim.retrieval import look, query_image, search
from imagesim.retrieval.concurrency import deadline, photo_slot
from imagesim.retrieval.rerank import replaced_by
from imagesim.types import Hits, Message
from imagesim.widgets import Card, cards, of_its_kind

LIMIT = 12


@dataclass(frozen=True)
class Place:
    """A hit of a preview: its card, its position from 1, and a text that says how it moved."""

    card: Card
    position: int
    moved: str = ""


@dataclass(frozen=True)
class Preview:
    """Both answers with the messages of the second, or the reason why there are none."""

    before: list[Place] = field(default_factory=list)
    after: list[Place] = field(default_factory=list)
    messages: tuple[Message, ...] = ()
    gone: list[str] = field(default_factory=list)
    """The names of hits that are no longer on the first page."""
    error: str = ""
    is_same: bool = False
    """Whether the rule changes nothing, whatever the others do."""


def compare(rule: Rule, *, words: str = "", product: str = "", photo: Any = None) -> Preview:
    """Run a query twice: with the other active rules, and with this rule as if it were active."""
    try:
        ask = _question(rule, words.strip(), product.strip(), photo)
        others = list(Rule.objects.filter(enabled=True).exclude(pk=rule.pk))
        shown = copy(rule)
        shown.enabled, shown.starts, shown.ends, shown.variant = True, None, None, ""
        with photo_slot() if photo else nullcontext(), deadline(get_settings().REQUEST_SECONDS):
            labels = LabelCategories.objects.all()
            with replaced_by(RuleSet.of(others, labels=labels)):
                before = ask()
            with replaced_by(RuleSet.of([*others, shown], labels=labels)):
                after = ask()
    except (ImagesimError, ValidationError) as error:
        return Preview(error=" ".join(error.messages) if isinstance(error, ValidationError) else str(error))
    return _compared(before, after)


def _compared(before: Hits, after: Hits) -> Preview:
    old, new = cards(before), cards(after)
    former = {card.key: position for position, card in enumerate(old, 1)}
    kept = {card.key for card in new}
    return Preview(
        before=[Place(card, position) for position, card in enumerate(old, 1)],
        after=[Place(card, position, _moved(former.get(card.key), position)) for position, card in enumerate(new, 1)],
        messages=after.messages,
        gone=[card.title for card in old if card.key not in kept],
        is_same=_shown(before) == _shown(after),
    )


def _shown(hits: Hits) -> tuple[object, ...]:
    """What the rules can change of an answer."""
    return ([(key_of(hit.item), hit.rules) for hit in hits], hits.messages)


def _moved(former: int | None, position: int) -> str:
    if former is None:
        return _("new on this page")
    places = abs(former - position)
    if former > position:
        return ngettext("%(places)d place up", "%(places)d places up", places) % {"places": places}
    if former < position:
        return ngettext("%(places)d place down", "%(places)d places down", places) % {"places": places}
    return ""


def _question(rule: Rule, words: str, product: str, photo: Any) -> Callable[[], Hits]:
    least = get_settings().MIN_RELEVANCE or None
    if sum(map(bool, (words, product, photo))) != 1:
        raise BadQuery(_("Type words, or choose a product or a photo."))
    if product:
        item = product_of(product)
        return lambda: search.similar_to(item, **of_its_kind(item, {"limit": LIMIT}))
    if words:
        return lambda: search.search(text=words, limit=LIMIT, min_relevance=least)
    picture = query_image.read_picture(photo)
    if rule.where == [Rule.Where.LOOK]:
        return lambda: _whole(picture, least)
    return lambda: search.search(image=picture, limit=LIMIT, min_relevance=least)


def _whole(picture: Any, least: float | None) -> Hits:
    seen = look.shop_the_look(picture, regions=[], limit=LIMIT, min_relevance=least)
    return seen.hits.replace(messages=seen.messages)
