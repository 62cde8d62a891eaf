"""The benchmark's demo shop as a web server runs it: ``gunicorn benchmarks.searching.served:application``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.search import configure

settings = {"INDEX": json.loads(os.environ["BENCHMARK_INDEX"]), "SYNC": "manual", "REST_THROTTLES": {"similar": None}}
configure(Path(os.environ["BENCHMARK_FOLDER"]), settings)

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()
