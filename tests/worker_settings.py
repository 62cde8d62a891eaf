"""For processes that a test starts: database, broker, media folder and ``IMAGESIM`` come from the environment."""

import json
import os

from celery.signals import worker_ready

from tests.settings import *  # noqa: F403

IMAGESIM = json.loads(os.environ["IMAGESIM_TEST_SETTINGS"])
MEDIA_ROOT = os.environ["IMAGESIM_TEST_MEDIA"]
CELERY_BROKER_URL = os.environ["IMAGESIM_TEST_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = os.environ["IMAGESIM_TEST_QUEUE"]
CELERY_BEAT_SCHEDULE = {}


def _poll_rarely(**kwargs):
    """Have the worker look for changes no more often than the test says; connected before the app's own receiver."""
    from imagesim.indexing.dispatch import CeleryDispatcher

    CeleryDispatcher.POLL_INTERVAL = float(os.environ["IMAGESIM_TEST_POLL_INTERVAL"])


if "IMAGESIM_TEST_POLL_INTERVAL" in os.environ:
    worker_ready.connect(_poll_rarely, weak=False)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"imagesim": {"handlers": ["stderr"], "level": "DEBUG"}},
}
