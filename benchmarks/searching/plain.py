"""Hand-written replacements for the endpoint: ``gunicorn benchmarks.searching.plain:application``.

No REST framework, no middleware, no filters, no error handling: a view sends Elasticsearch a prepared body with the
standard library's client and loads the items with Django's ORM. ``plain/`` returns a few of their fields. ``same/``
returns what the endpoint does, so it needs the same: the item that is asked about, its embedding, and a call of the
shop's methods for each hit.
"""

from __future__ import annotations

import json
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.search import configure
from benchmarks.searching.common import bare_connection

FOLDER = Path(os.environ["BENCHMARK_FOLDER"])
configure(FOLDER, {"SYNC": "manual"})

import numpy as np  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.signing import Signer  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

from demo_shop.shop.models import Product  # noqa: E402
from imagesim.items.registry import registry  # noqa: E402
from imagesim.items.thumbnail_files import WIDTHS  # noqa: E402
from imagesim.models import Embedding, ItemImage  # noqa: E402

OPTIONS = json.loads(os.environ["BENCHMARK_INDEX"])["OPTIONS"]
ADDRESS = f"/{OPTIONS['name']}/_search"
BODIES = [body.encode() for body in json.loads((FOLDER / "bodies.json").read_text())]
_own = threading.local()


def ask(body: bytes) -> dict[str, Any]:
    if not hasattr(_own, "connection"):
        _own.connection = bare_connection(OPTIONS["hosts"])
    _own.connection.request("POST", ADDRESS, body, {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.loads(_own.connection.getresponse().read())
    return answer


def similar(request: HttpRequest, number: int) -> JsonResponse:
    hits = ask(BODIES[number % len(BODIES)])["hits"]["hits"][:12]
    scores = {int(hit["sort"][1].rpartition(":")[2]): hit["_score"] for hit in hits}
    items = Product.objects.filter(pk__in=scores).select_related("category").prefetch_related("photos")
    results = [
        {
            "name": item.name,
            "url": item.get_absolute_url(),
            "price": str(item.price),
            "score": scores[item.pk],
            "images": [request.build_absolute_uri(photo.file.url) for photo in item.photos.all()],
        }
        for item in sorted(items, key=lambda item: -scores[item.pk])
    ]
    return JsonResponse({"results": results})


def same(request: HttpRequest, number: int) -> JsonResponse:
    asked = Product.objects.select_related("category").get(pk=number + 1)
    images = ItemImage.objects.filter(state__model="shop.product", state__object_pk=str(asked.pk))
    stored = Embedding.objects.filter(fingerprint="benchmark", digest__in=images.values("digest"))
    total = np.sum([np.frombuffer(row, "<f4") for row in stored.values_list("vector", flat=True)], axis=0)
    _unit = total / np.linalg.norm(total)
    answer = ask(BODIES[number % len(BODIES)])
    scores = {int(hit["sort"][1].rpartition(":")[2]): hit["_score"] - 1 for hit in answer["hits"]["hits"][:12]}
    items = Product.objects.filter(pk__in=scores).select_related("category").prefetch_related("photos")
    results = [_result(request, item, scores[item.pk]) for item in sorted(items, key=lambda item: -scores[item.pk])]
    following = request.build_absolute_uri("?offset=12")
    return JsonResponse({"results": results, "took_ms": answer["took"], "more": True, "next": following})


def _result(request: HttpRequest, item: Product, score: float) -> dict[str, Any]:
    shop, absolute, [photo] = registry.for_label("shop.product"), request.build_absolute_uri, item.photos.all()
    small = absolute(THUMBNAILS + _signature(item.pk, photo.file.name))
    return {
        "item": {
            "model": "shop.product",
            "pk": str(item.pk),
            "name": str(item),
            "url": absolute(item.get_absolute_url()),
            "similar": absolute(shop.get_similar_url(item)),
            "category": item.category.slug,
            "details": shop.get_details(item),
        },
        "score": score,
        "image": {
            "name": photo.file.name,
            "url": absolute(photo.file.url),
            "thumbnail": f"{small}/?width=320",
            "srcset": ", ".join(f"{small}/?width={width} {width}w" for width in WIDTHS),
        },
        "stage": "",
        "relevance": 1.0,
    }


@lru_cache(4096)
def _signature(pk: int, name: str) -> str:
    return _signer.sign_object([f"shop.product:{pk}", name])


THUMBNAILS, _signer = "/api/visual/thumbnail/", Signer(salt="imagesim.thumbnails")
urlpatterns = [
    path("plain/<int:number>/", similar),
    path("same/<int:number>/", same),
    path("", include(settings.ROOT_URLCONF)),  # for items' URLs
]
settings.MIDDLEWARE, settings.ROOT_URLCONF = [], __name__
application = get_wsgi_application()
