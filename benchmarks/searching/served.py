"""The benchmark's demo shop as a web server runs it: ``gunicorn benchmarks.searching.served:application``.

Its items have nothing by which relevance could be calibrated, so no answer is cut: each has twelve items.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.search import configure

settings = {
    "INDEX": json.loads(os.environ["BENCHMARK_INDEX"]),
    "MIN_RELEVANCE": 0.0,
    "REST_THROTTLES": {"similar": None},
    "SIMILAR_SECONDS": int(os.environ.get("BENCHMARK_SIMILAR_SECONDS", "0")),
    "SYNC": "manual",
}
configure(Path(os.environ["BENCHMARK_FOLDER"]), settings)

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()
