"""The demo shop's settings with the services that the environment names.

``IMAGESIM_TEST_DATABASE_URL``       postgres://user:password@host:port/name, mysql://user:password@host:port/name,
                                     mysql://user@/name?unix_socket=PATH, or sqlite:// (the default)
``IMAGESIM_TEST_MYSQL_URL``          the database of the tests that ``make test`` repeats on MySQL or MariaDB
``IMAGESIM_TEST_ELASTICSEARCH_URL``  http://127.0.0.1:9200
``IMAGESIM_TEST_REDIS_URL``          redis://127.0.0.1:6379/0
``IMAGESIM_TEST_PGVECTOR_URL``       postgres://user@host:port/name, with the newest pgvector
``IMAGESIM_TEST_PGVECTOR_OLDEST_URL``  the same with an old one

``make services`` starts them and prints these variables; ``make test`` does so by itself.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from demo_shop import environment
from demo_shop.settings import *  # noqa: F403

# One folder for a run and all its child processes; the process that made it removes it.
if "IMAGESIM_TEST_SCRATCH" not in os.environ:
    os.environ["IMAGESIM_TEST_SCRATCH"] = tempfile.mkdtemp(prefix="imagesim-test-")
    atexit.register(shutil.rmtree, os.environ["IMAGESIM_TEST_SCRATCH"], ignore_errors=True)
_scratch = Path(os.environ["IMAGESIM_TEST_SCRATCH"])

DEBUG = False
MEDIA_ROOT = _scratch / f"media-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
# Without it, every test client reads the headers of every static file: 0.2 s each.
WHITENOISE_AUTOREFRESH = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ELASTICSEARCH_URL = os.environ.get("IMAGESIM_TEST_ELASTICSEARCH_URL", "")
REDIS_URL = os.environ.get("IMAGESIM_TEST_REDIS_URL", "")
PGVECTOR_URLS = {
    "newest": os.environ.get("IMAGESIM_TEST_PGVECTOR_URL", ""),
    "oldest": os.environ.get("IMAGESIM_TEST_PGVECTOR_OLDEST_URL", ""),
}
DATABASE_URL = os.environ.get("IMAGESIM_TEST_DATABASE_URL", "")
if DATABASE_URL.startswith("postgres"):
    DATABASES = {"default": environment.postgres(DATABASE_URL)}
elif DATABASE_URL.startswith("mysql"):
    DATABASES = {"default": environment.mysql(DATABASE_URL)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _scratch / "db.sqlite3",
            "TEST": {"NAME": _scratch / "test.sqlite3"},
        }
    }
# Tests sync explicitly; those about threads and Celery override it.
IMAGESIM = {"SYNC": "manual", "MIN_RELEVANCE": 0.0}  # pixels are not calibrated
INSTALLED_APPS = [*INSTALLED_APPS, "tests.zoo"]  # noqa: F405
