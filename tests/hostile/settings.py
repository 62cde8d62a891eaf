"""The demo shop as it is attacked: its real model, its local index, a cache shared by its processes.

With ``IMAGESIM_HOSTILE_LIGHT``, its embedder costs nothing, so that thousands of damaged files can be sent in seconds.
"""

import os
from pathlib import Path

from demo_shop.settings import *  # noqa: F403
from imagesim.conf import Settings

_folder = Path(os.environ["IMAGESIM_HOSTILE_FOLDER"])
DATABASES["default"]["NAME"] = _folder / "shop.sqlite3"  # noqa: F405
MEDIA_ROOT = _folder / "media"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ["IMAGESIM_HOSTILE_REDIS"],
    }
}
REST_FRAMEWORK = {"NUM_PROXIES": 0}  # the harness talks to gunicorn directly
IMAGESIM["SYNC"] = "manual"  # noqa: F405
# The cost of a request is measured without throttles; the throttles are attacked with a few allowed requests.
IMAGESIM["REST_THROTTLES"] = dict.fromkeys(Settings().REST_THROTTLES, os.environ.get("IMAGESIM_HOSTILE_RATE") or None)  # noqa: F405
if os.environ.get("IMAGESIM_HOSTILE_LIGHT"):
    IMAGESIM["EMBEDDER"] = {"BACKEND": "tests.embedders.PixelEmbedder"}  # noqa: F405
    IMAGESIM["REGIONS"] = {"BACKEND": "imagesim.regions.NoRegions"}  # noqa: F405
