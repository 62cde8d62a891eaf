"""From environment variables to settings: where the shop runs on services of its own, as in docker-compose.yml.

======================================  ====================================================================
``DATABASE_URL``                        ``postgres://user:password@host:port/name``; unset: SQLite in a file
``ELASTICSEARCH_URL``                   ``https://host:9200``; unset: the local index
``ELASTICSEARCH_API_KEY``               or ``ELASTICSEARCH_USER`` and ``ELASTICSEARCH_PASSWORD``
``ELASTICSEARCH_CA``                    the file with the certificate authority of the server
``CELERY_BROKER_URL``                   ``redis://host:6379/0``; unset: changes are synced by a background thread
``SECRET_KEY`` ``DEBUG``                as Django has them; ``DEBUG=1`` turns it on
``ALLOWED_HOSTS`` ``CSRF_TRUSTED_ORIGINS``  separated by commas
``MEDIA_ROOT``                          the folder of the pictures, shared by all processes
======================================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

Environment = Mapping[str, str]


def words(environ: Environment, name: str, default: str = "") -> list[str]:
    """A list from a value with commas."""
    return [word.strip() for word in environ.get(name, default).split(",") if word.strip()]


def postgres(url: str) -> dict[str, Any]:
    """An entry of ``DATABASES``."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_HEALTH_CHECKS": True,
    }


def index(environ: Environment) -> dict[str, Any] | None:
    """``IMAGESIM["INDEX"]``, or None where the environment names no server."""
    url = environ.get("ELASTICSEARCH_URL")
    if not url:
        return None
    options: dict[str, Any] = {"hosts": [url], "name": environ.get("ELASTICSEARCH_INDEX", "demo-shop")}
    if api_key := environ.get("ELASTICSEARCH_API_KEY"):
        options["api_key"] = api_key
    elif user := environ.get("ELASTICSEARCH_USER"):
        options["basic_auth"] = (user, environ.get("ELASTICSEARCH_PASSWORD", ""))
    if authority := environ.get("ELASTICSEARCH_CA"):
        options["ca_certs"] = authority
    return {"BACKEND": "imagesim.indexes.elasticsearch.ElasticsearchIndex", "OPTIONS": options}
