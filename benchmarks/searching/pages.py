"""Measure what the template tag adds to a product page: the demo's own page with and without it, cold and cached."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.template import engines
from django.template.loader import get_template, render_to_string
from django.test import RequestFactory

from benchmarks.searching.common import Row

LIMIT = 10


def measure(items: Sequence[Any]) -> Iterator[Row]:
    import imagesim
    from imagesim.pages import widgets

    source = get_template("shop/product.html").template.source  # type: ignore[attr-defined]
    [tag] = re.findall(r"{% similar_products .*? %}", source)
    plain_tag = f"{{% similar_products product limit={LIMIT} %}}"
    kept_tag = f"{{% similar_products product limit={LIMIT} timeout=600 %}}"
    fragment = f"{{% load cache %}}{{% cache 600 similar product.pk %}}{plain_tag}{{% endcache %}}"
    pages = {
        name: engines["django"].from_string(source.replace(tag, instead))
        for name, instead in (("without", ""), ("with", plain_tag), ("kept", kept_tag), ("fragment", fragment))
    }
    request = RequestFactory().get("/")

    def show(name: str) -> Callable[[Any], object]:
        return lambda item: pages[name].render({"product": item, "family": []}, request)

    def template_alone(item: Any) -> object:
        hits = found[item.pk]
        context = {"item": item, "hits": hits, "cards": widgets.cards(hits), "heading": "Similar products", "offset": 0}
        return render_to_string("imagesim/similar_products.html", context)

    found = {item.pk: imagesim.similar_to(item, limit=LIMIT) for item in items}
    ways: dict[str, Callable[[Any], object]] = {name: show(name) for name in pages}
    ways |= {"similar_to": lambda item: imagesim.similar_to(item, limit=LIMIT), "template": template_alone}
    for item in items:
        show("kept")(item), show("fragment")(item)  # fills the cache
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number, item in enumerate(items):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            started = time.perf_counter()
            ways[name](item)
            taken[name].append((time.perf_counter() - started) * 1000)

    def more(name: str) -> float:
        return statistics.median(a - b for a, b in zip(taken[name], taken["without"], strict=True))

    parts = statistics.median(a + b for a, b in zip(taken["similar_to"], taken["template"], strict=True))
    page = {"page_ms": statistics.median(taken["without"])}
    yield Row("page: what the tag adds", more("with"), "ms", "similar_to + template", parts, detail=page)
    yield Row("page: the same, answer cached (timeout=600), items read again", more("kept"), "ms")
    yield Row("page: the same, in {% cache %}", more("fragment"), "ms", target="0")
