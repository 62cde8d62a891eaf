"""Find the products that a rule names, by what is typed or by key; say which products and categories do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from imagesim.exceptions import BadQuery
from imagesim.hydrate import load_items
from imagesim.merchandising.conditions import MAX_LINES, lines_of, read_filters, read_key, read_pins
from imagesim.merchandising.models import Rule
from imagesim.registry import registry
from imagesim.retrieval import rerank, suggestions
from imagesim.retrieval.filters import categories_of
from imagesim.types import Hit, HitImage
from imagesim.widgets import Card, cards

SUGGESTED = 8
NEAREST = 5


def suggested(text: str) -> list[Card]:
    """Return the product with this key or primary key, else those whose names have the words, whatever the rules say.

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
    """Return the products with these keys or primary keys, in their order, without those that do not exist."""
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
    for card in suggested(text):
        item: models.Model = card.item
        return item
    raise BadQuery(_("There is no product “%(text)s”.") % {"text": text[:100]})


def _cards(items: Iterable[models.Model]) -> list[Card]:
    hits = []
    for item in items:
        image = registry.for_item(item).find_image(item, "")
        hits.append(Hit(item, 0.0, HitImage(str(getattr(image, "name", "") or ""), "")))
    return cards(hits)


def warnings(rule: Rule) -> Iterator[str]:
    """Yield a text for the products of a valid rule that do not exist, and one for its categories without products."""
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
