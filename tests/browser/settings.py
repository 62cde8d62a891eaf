"""The demo shop as ``make demo`` serves it, but in a separate folder and with high throttle rates."""

import os
from pathlib import Path

from demo_shop.settings import *  # noqa: F403

_folder = Path(os.environ["DEMO_FOLDER"])
DATABASES = {"default": {**DATABASES["default"], "NAME": _folder / "demo.sqlite3"}}  # noqa: F405
CSRF_HEADER_NAME = "HTTP_X_SHOP_TOKEN"  # the scripts have to ask the page for it
MEDIA_ROOT = _folder / "media"
IMAGESIM = {**IMAGESIM, "REST_THROTTLES": {"look": None, "region": None, "search": None, "refused": None}}  # noqa: F405
# The real hasher takes half a second per log-in.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
