"""A hand-written replacement for the endpoint: ``gunicorn benchmarks.searching.plain:application``.

No REST framework, no middleware, no filters, no pagination, no error handling: one view that sends Elasticsearch a
prepared body with the standard library's client, loads the items with Django's ORM and returns a few of their fields.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from benchmarks.search import configure
from benchmarks.searching.common import bare_connection

FOLDER = Path(os.environ["BENCHMARK_FOLDER"])
configure(FOLDER, {"SYNC": "manual"})

from django.conf import settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

from demo_shop.shop.models import Product  # noqa: E402

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


urlpatterns = [path("plain/<int:number>/", similar), path("", include(settings.ROOT_URLCONF))]  # for items' URLs
settings.MIDDLEWARE, settings.ROOT_URLCONF = [], __name__
application = get_wsgi_application()
