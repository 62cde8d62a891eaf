"""The demo shop for the processes of the harness; options of a run come from the environment."""

import json
import os

from tests.worker_settings import *  # noqa: F403

CHAOS = json.loads(os.environ["IMAGESIM_CHAOS"])
DATABASES["default"]["OPTIONS"] = {**DATABASES["default"].get("OPTIONS", {}), "connect_timeout": 10}  # noqa: F405
DATABASES["default"]["CONN_MAX_AGE"] = 60  # noqa: F405
INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos"]  # noqa: F405
LOGGING["loggers"]["imagesim"]["level"] = "INFO"  # noqa: F405
