"""The demo shop: SQLite, no broker, the local index. Environment variables can name real services (environment.py)."""

import hashlib
import os
from pathlib import Path

from demo_shop import environment

BASE_DIR = Path(__file__).resolve().parent.parent
_security = environment.security(os.environ)
SECRET_KEY, DEBUG, ALLOWED_HOSTS = _security["SECRET_KEY"], _security["DEBUG"], _security["ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = environment.words(os.environ, "CSRF_TRUSTED_ORIGINS")
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "demo_shop.shop",  # before imagesim, so that its templates override imagesim's
    "imagesim",
    "imagesim.merchandising",
    "imagesim.insight",
    "imagesim.experiments",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "demo_shop.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "imagesim.middleware.DegradedHeader",
    "imagesim.insight.middleware.RememberRequest",
    "imagesim.experiments.middleware.ChooseVariants",
]
ROOT_URLCONF = "demo_shop.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "demo_shop.shop.context_processors.shop",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "demo.sqlite3",
        # Several threads write at the same time: wait for the lock instead of failing.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
# A folder of pictures or a CSV file, with a separate database and media folder (own_catalogue.py).
CATALOGUE = Path(os.environ["DEMO_CATALOGUE"]).resolve() if os.environ.get("DEMO_CATALOGUE") else None
if CATALOGUE:
    _own = BASE_DIR / "demo-data" / hashlib.sha256(str(CATALOGUE).encode()).hexdigest()[:12]
    _own.mkdir(parents=True, exist_ok=True)
    DATABASES["default"]["NAME"] = _own / "demo.sqlite3"
DATABASES |= environment.databases(os.environ)
if os.environ.get("CACHE_URL"):
    CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["CACHE_URL"]}
    }
REST_FRAMEWORK = {"NUM_PROXIES": environment.number_of_proxies(os.environ)}
STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = Path(os.environ.get("MEDIA_ROOT") or (_own / "media" if CATALOGUE else BASE_DIR / "media"))
WHITENOISE_USE_FINDERS = True  # serves static files from the packages, without collectstatic
WHITENOISE_AUTOREFRESH = DEBUG
if not DEBUG:  # Django itself sends errors by mail only
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {"django.request": {"level": "ERROR"}},  # no log entry for each page that does not exist
    }

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE, _language = environment.language(os.environ)  # of the texts of your own catalogue
LANGUAGES = [*{"en": "English", "de": "Deutsch", LANGUAGE_CODE: _language}.items()]  # the demo's texts are in both
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
IMAGESIM = {
    "REGIONS": {"BACKEND": "imagesim.regions.lite.LiteRegionFinder"},
    "ITEM_REGIONS": True,
    "WARM_UP": True,
    "EVENTS": True,  # for the reports in the admin
    "VISITOR_KEY": "demo_shop.shop.visitors.visitor_key",
}
if _index := environment.index(os.environ):
    IMAGESIM["INDEX"] = _index
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "")
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE = {
    # Finds writes without a signal.
    "compare with the database": {"task": "imagesim.tasks.reconcile", "schedule": 3600.0},
    "delete old events": {"task": "imagesim.tasks.purge", "schedule": 86400.0},
    "look at the catalogue": {"task": "imagesim.insight.tasks.scan", "schedule": 86400.0},
    "compute the figures of the reports": {"task": "imagesim.insight.tasks.roll_up", "schedule": 3600.0},
    "compute the figures of experiments": {"task": "imagesim.experiments.tasks.update", "schedule": 3600.0},
}
