"""What the form of a rule shows in addition to its fields: the products that it can name, warnings of names that do not
exist, and the answers to a query without and with the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from imagesim.conf import get_settings
from imagesim.exceptions import BadQuery, ImagesimError
from imagesim.items.hydrate import load_items
from imagesim.items.registry import key_of, registry
from imagesim.merchandising.conditions import MAX_LINES, lines_of, read_filters, read_key, read_pins
from imagesim.merchandising.engine import RuleSet
from imagesim.merchandising.models import LabelCategories, Rule
from imagesim.pages.widgets import Card, cards, of_its_kind
from imagesim.retrieval import look, query_image, rerank, search, suggestions
from imagesim.retrieval.concurrency import deadline, photo_slot
from imagesim.retrieval.filters import categories_of
from imagesim.retrieval.rerank import replaced_by
from imagesim.types import Hit, HitImage, Hits, Message

SUGGESTED = 8
NEAREST = 5


def suggested(text: str) -> list[Card]:
    """Return the product with this key or primary key, else those whose names contain the words, whatever the rules
    say.

    :raises SearchIndexError: if the index is down or missing.
    """
    text = text.strip()
    if found := by_key([text]):
        return found
    if not text:
        return []
    with rerank.replaced_by(None):
        named = [each.hit.item for each in suggestions.suggest(text[:200], limit=SUGGESTED) if each.kind == "item"]
    return _cards(named)


def by_key(keys: Iterable[str]) -> list[Card]:
    """Return the products with these keys or primary keys, in the same order, without those that do not exist."""
    known = []
    for text in list(keys)[:MAX_LINES]:
        try:
            known.append(read_key(text))
        except ValidationError:
            continue
    items = load_items(key for key in known if "\0" not in key)
    return _cards(items[key] for key in known if key in items)


def product_of(text: str) -> models.Model:
    """Return the product with this key or primary key, or the first with this name.

    :raises BadQuery: if there is none.
    """
    if not (found := suggested(text)):
        raise BadQuery(_("There is no product “%(text)s”.") % {"text": text[:100]})
    item: models.Model = found[0].item
    return item


def _cards(items: Iterable[models.Model]) -> list[Card]:
    hits = []
    for item in items:
        image = registry.for_item(item).find_image(item, "")
        hits.append(Hit(item, 0.0, HitImage(str(getattr(image, "name", "") or ""), "")))
    return cards(hits)


def warnings(rule: Rule) -> Iterator[str]:
    """Yield a warning for the products of a valid rule that do not exist, and one for its categories without
    products."""
    if missing := _missing_products(rule):
        yield _("There is no product %(names)s at present; the rule has no effect there.") % {"names": _join(missing)}
    known = known_categories()
    missing = [each for each in _categories(rule) if each not in known]
    if known and missing:  # categories that a method computes are not known
        folded = {each.casefold(): each for each in known}
        nearest = [folded[near] for each in missing for near in get_close_matches(each.casefold(), folded, NEAREST, 0)]
        yield _(
            "No product has the category %(names)s at present; the rule has no effect there. Nearest: %(nearest)s."
        ) % {
            "names": _join(missing),
            "nearest": _join(dict.fromkeys(nearest)),
        }


def known_categories() -> list[str]:
    """Return the categories of all registered models."""
    return [category for items in registry for category in categories_of(items)]


def _missing_products(rule: Rule) -> list[str]:
    keys = [read_key(line) for line in lines_of(rule.triggers)] if rule.when == Rule.When.PRODUCT else []
    if rule.action == Rule.Action.PIN:
        keys += [key for _position, key in read_pins(rule.pins)]
    found = load_items(key for key in keys if "\0" not in key)
    return [key for key in keys if key not in found]


def _categories(rule: Rule) -> list[str]:
    found = lines_of(rule.triggers) if rule.when == Rule.When.CATEGORY else []
    return [*found, *read_filters(rule.filters).categories] if rule.is_selecting else found


def _join(names: Iterable[str]) -> str:
    return ", ".join(_("“%(name)s”") % {"name": name[:100]} for name in names)


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
    """Whether the rule changes nothing, whatever the other rules do."""


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
    """Return what the rules can change in an answer."""
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
