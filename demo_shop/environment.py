"""Read settings from environment variables, for a shop with separate services, as in docker-compose.yml.

======================================  ====================================================================
``DATABASE_URL``                        ``postgres://user:password@host:port/name``; unset: SQLite in a file
``ELASTICSEARCH_URL``                   ``https://host:9200``; unset: the local index
``PGVECTOR_URL``                        instead of it: ``postgres://user:password@host:port/name``, the same as
                                        ``DATABASE_URL`` or another database, with pgvector
``ELASTICSEARCH_API_KEY``               or ``ELASTICSEARCH_USER`` and ``ELASTICSEARCH_PASSWORD``
``ELASTICSEARCH_CA``                    the file with the certificate authority of the server
``CELERY_BROKER_URL``                   ``redis://host:6379/0``; unset: changes are synced by a background thread
``CACHE_URL``                           ``redis://host:6379/0``: throttles and visitors' photos, shared by all
                                        processes; unset: the memory of each process
``NUM_PROXIES``                         how many proxies of your own stand in front and write X-Forwarded-For; unset: 0
``PRODUCTION``                          ``1``: refuses to start without a key and host names, and with ``DEBUG``
``SECRET_KEY`` ``DEBUG``                as in Django; ``DEBUG=1`` turns debugging on
``ALLOWED_HOSTS`` ``CSRF_TRUSTED_ORIGINS``  separated by commas
``MEDIA_ROOT``                          the folder of the pictures, shared by all processes
``CATALOGUE_LANGUAGE``                  the language of the texts of your own catalogue, as ``de``; unset: ``en``
======================================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import get_language_info

DEMO_KEY = "demo-only-not-secret"

VECTORS = "vectors"
"""The alias of the index's own database."""

Environment = Mapping[str, str]


def words(environ: Environment, name: str, default: str = "") -> list[str]:
    """Return the values of a variable, split at commas."""
    return [word.strip() for word in environ.get(name, default).split(",") if word.strip()]


def security(environ: Environment) -> dict[str, Any]:
    """``SECRET_KEY``, ``DEBUG`` and ``ALLOWED_HOSTS``; only the demo itself has a key and hosts by default.

    :raises ImproperlyConfigured: in production, naming the variable that is missing or not acceptable.
    """
    key, hosts, debug = environ.get("SECRET_KEY", ""), words(environ, "ALLOWED_HOSTS"), environ.get("DEBUG", "") == "1"
    if environ.get("PRODUCTION", "") == "1":
        if len(key) < 32 or key == DEMO_KEY:
            raise ImproperlyConfigured("PRODUCTION=1 needs a SECRET_KEY of at least 32 random characters.")
        if not hosts or "*" in hosts:
            raise ImproperlyConfigured("PRODUCTION=1 needs ALLOWED_HOSTS: the host names of the shop, without '*'.")
        if debug:
            raise ImproperlyConfigured("PRODUCTION=1 cannot be combined with DEBUG=1.")
    return {"SECRET_KEY": key or DEMO_KEY, "DEBUG": debug, "ALLOWED_HOSTS": hosts or ["*"]}


def language(environ: Environment) -> tuple[str, str]:
    """Return the code of ``CATALOGUE_LANGUAGE``, and the language's own name.

    :raises ImproperlyConfigured: if there is no such language.
    """
    code = environ.get("CATALOGUE_LANGUAGE") or "en"
    try:
        return code, get_language_info(code)["name_local"].capitalize()
    except KeyError as error:
        message = f"CATALOGUE_LANGUAGE is {code!r}; it must be the code of a language, such as 'de'."
        raise ImproperlyConfigured(message) from error


def number_of_proxies(environ: Environment) -> int:
    """:raises ImproperlyConfigured: if ``NUM_PROXIES`` is not a number of at least 0."""
    value = environ.get("NUM_PROXIES") or "0"
    if not value.isascii() or not value.isdigit():
        raise ImproperlyConfigured(f"NUM_PROXIES is {value!r}; it must be a number of at least 0.")
    return int(value)


def postgres(url: str) -> dict[str, Any]:
    """Return an entry of ``DATABASES`` for PostgreSQL."""
    return _database("postgresql", url) | {"CONN_HEALTH_CHECKS": True}


def mysql(url: str) -> dict[str, Any]:
    """Return an entry of ``DATABASES`` for MySQL or MariaDB, through PyMySQL; ``?unix_socket=PATH`` instead of a
    host."""
    import pymysql

    pymysql.install_as_MySQLdb()
    database = _database("mysql", url) | {
        "OPTIONS": {"charset": "utf8mb4", "isolation_level": "read committed"},
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_bin"},
    }
    if socket := dict(parse_qsl(urlsplit(url).query)).get("unix_socket"):
        database["HOST"] = socket
    return database


def _database(engine: str, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


def index(environ: Environment) -> dict[str, Any] | None:
    """Return ``IMAGESIM["INDEX"]``, or None if the environment names no server.

    :raises ImproperlyConfigured: if it names two.
    """
    url, pgvector_url = environ.get("ELASTICSEARCH_URL"), environ.get("PGVECTOR_URL")
    if url and pgvector_url:
        raise ImproperlyConfigured("ELASTICSEARCH_URL and PGVECTOR_URL are both set: the shop has one index.")
    if pgvector_url:
        alias = "default" if pgvector_url == environ.get("DATABASE_URL") else VECTORS
        return {
            "BACKEND": "imagesim.indexes.pgvector.PgvectorIndex",
            "OPTIONS": {"database": alias, "name": "demo-shop"},
        }
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


def databases(environ: Environment) -> dict[str, Any]:
    """Return the entries of ``DATABASES`` that the environment names."""
    urls = {"default": environ.get("DATABASE_URL"), VECTORS: environ.get("PGVECTOR_URL")}
    if urls[VECTORS] == urls["default"]:
        del urls[VECTORS]
    return {alias: postgres(url) for alias, url in urls.items() if url}
