"""Find the products that a rule names: by what is typed, or by key."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _

from imagesim.exceptions import BadQuery
from imagesim.merchandising.conditions import MAX_LINES, read_key
from imagesim.registry import registry
from imagesim.retrieval import rerank, suggestions
from imagesim.retrieval.hydrate import load_items
from imagesim.types import Hit, HitImage, Hits
from imagesim.widgets import Card, cards

SUGGESTED = 8


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
    return cards(Hits(hits))
