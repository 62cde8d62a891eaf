"""An Oscar shop as in its documentation, with imagesim installed as in docs/howto-oscar.md."""

import os

from oscar import INSTALLED_APPS as OSCAR_APPS
from oscar.defaults import *  # noqa: F403

from tests.settings import (  # noqa: F401
    BASE_DIR,
    DATABASE_URL,
    DATABASES,
    DEFAULT_AUTO_FIELD,
    ELASTICSEARCH_URL,
    LANGUAGE_CODE,
    MEDIA_ROOT,
    PASSWORD_HASHERS,
    REDIS_URL,
    SECRET_KEY,
    USE_TZ,
)

if "TEST" not in DATABASES["default"]:  # PostgreSQL: the outer run already has a test database
    DATABASES["default"]["TEST"] = {"NAME": f"test_oscar_{os.getpid()}"}
DEBUG = False
ALLOWED_HOSTS = ["*"]
SITE_ID = 1
ROOT_URLCONF = "tests.oscar.urls"
STATIC_URL = "static/"
MEDIA_URL = "media/"
INSTALLED_APPS = [*OSCAR_APPS, "sorl.thumbnail", "imagesim", "tests.oscar"]
AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
]
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "DIRS": [BASE_DIR / "tests" / "oscar" / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ]
        },
    }
]

IMAGESIM = {"SYNC": "manual", "EMBEDDER": {"BACKEND": "tests.oscar.counting.CountingEmbedder"}}
if os.environ.get("OSCAR_INDEX") == "elasticsearch":
    IMAGESIM["INDEX"] = {
        "BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex",
        "OPTIONS": {"hosts": [ELASTICSEARCH_URL], "name": os.environ["OSCAR_INDEX_NAME"]},
    }
