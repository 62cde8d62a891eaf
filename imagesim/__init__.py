"""Similar products, shop the look and search by picture or by words, for any Django shop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesim.indexing.outbox import atouch as atouch
    from imagesim.indexing.outbox import touch as touch
    from imagesim.items import Items as Items
    from imagesim.items.registry import register as register
    from imagesim.models import Scope as Scope
    from imagesim.retrieval.concurrency import photo_slot as photo_slot
    from imagesim.retrieval.look import Look as Look
    from imagesim.retrieval.look import LookRegion as LookRegion
    from imagesim.retrieval.look import ashop_the_look as ashop_the_look
    from imagesim.retrieval.look import shop_the_look as shop_the_look
    from imagesim.retrieval.regions import ItemRegion as ItemRegion
    from imagesim.retrieval.regions import aitem_regions as aitem_regions
    from imagesim.retrieval.regions import item_regions as item_regions
    from imagesim.retrieval.search import asearch as asearch
    from imagesim.retrieval.search import asimilar_to as asimilar_to
    from imagesim.retrieval.search import search as search
    from imagesim.retrieval.search import similar_to as similar_to
    from imagesim.retrieval.suggestions import Suggestion as Suggestion
    from imagesim.retrieval.suggestions import asuggest as asuggest
    from imagesim.retrieval.suggestions import suggest as suggest
    from imagesim.types import Hit as Hit
    from imagesim.types import Hits as Hits

__version__ = "0.1.0"

# Loaded on first use, so that the package can be imported before the app registry is ready.
_HOMES = {
    "Items": "imagesim.items",
    "register": "imagesim.items.registry",
    "similar_to": "imagesim.retrieval.search",
    "asimilar_to": "imagesim.retrieval.search",
    "search": "imagesim.retrieval.search",
    "asearch": "imagesim.retrieval.search",
    "suggest": "imagesim.retrieval.suggestions",
    "asuggest": "imagesim.retrieval.suggestions",
    "Suggestion": "imagesim.retrieval.suggestions",
    "item_regions": "imagesim.retrieval.regions",
    "aitem_regions": "imagesim.retrieval.regions",
    "ItemRegion": "imagesim.retrieval.regions",
    "shop_the_look": "imagesim.retrieval.look",
    "ashop_the_look": "imagesim.retrieval.look",
    "photo_slot": "imagesim.retrieval.concurrency",
    "touch": "imagesim.indexing.outbox",
    "atouch": "imagesim.indexing.outbox",
    "Hit": "imagesim.types",
    "Hits": "imagesim.types",
    "Look": "imagesim.retrieval.look",
    "LookRegion": "imagesim.retrieval.look",
    "Scope": "imagesim.models",
}

__all__ = list(_HOMES)


if not TYPE_CHECKING:  # otherwise every name would exist for type checkers

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            from importlib import import_module

            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'imagesim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
