"""System checks of ``check --deploy``: whether the set-up is suitable for production. Some use the index and the
database. ``docs/checks.md`` explains every id."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Warning
from django.db import DatabaseError, connections
from django.utils import timezone

from imagesim import conf
from imagesim.addresses import number_of_proxies
from imagesim.checks import BACKENDS, including_rest, listed
from imagesim.conf import get_instance
from imagesim.database import lacks_tables, state_alias
from imagesim.exceptions import ConfigurationError, ImagesimError, SearchIndexError, mask_credentials
from imagesim.shared_cache import is_of_one_process


@listed
def check_sync() -> Iterator[CheckMessage]:
    """Check that the way to sync changes is suitable for production."""
    from imagesim.indexing import dispatch

    if conf.read_settings()[1] or dispatch.mode() != "thread":
        return
    yield Warning(
        "Changes are synced by a background thread of each web process.",
        hint="Set up Celery with a broker, or set IMAGESIM['SYNC'] to 'manual' and run imagesim_sync --watch.",
        id="imagesim.W013",
    )


@listed
def check_sqlite() -> Iterator[CheckMessage]:
    """Check that a transaction on SQLite that reads first waits for another that writes."""
    alias = state_alias()
    connection = connections[alias]
    mode = connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED"
    if connection.vendor != "sqlite" or mode.upper() != "DEFERRED":
        return
    yield Warning(
        f"The database {alias!r} is SQLite, and its transactions begin without the write lock: one that "
        "reads first fails with 'database is locked', without waiting, if changes are synced meanwhile.",
        hint=f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'timeout': 20, 'transaction_mode': 'IMMEDIATE'}}.",
        id="imagesim.W026",
    )


@listed
def check_visitors() -> Iterator[CheckMessage]:
    """Check that the REST views can distinguish visitors behind a proxy, and count their requests for all processes."""
    if find_spec("rest_framework") is None or not including_rest():
        return
    proxied = django_settings.SECURE_PROXY_SSL_HEADER or django_settings.USE_X_FORWARDED_HOST
    if proxied and number_of_proxies() is None:
        yield Warning(
            "The settings indicate a proxy (SECURE_PROXY_SSL_HEADER or USE_X_FORWARDED_HOST), but "
            "REST_FRAMEWORK['NUM_PROXIES'] is not: all visitors share one count.",
            hint="Set it to the number of proxies that add to X-Forwarded-For, usually 1.",
            id="imagesim.W014",
        )
    for name in dict.fromkeys(("default", conf.read_settings()[0].LOOK_CACHE)):
        if is_of_one_process(name):
            yield Warning(
                f"The cache {name!r} belongs to one process: each process counts requests or holds photos for itself.",
                hint=f"Use one that the processes share (Redis, Memcached) in CACHES[{name!r}].",
                id="imagesim.W015",
            )


@listed
def check_warm_up() -> Iterator[CheckMessage]:
    """Check that web processes load their models before the first visitor with a photo or words waits for them."""
    settings, errors = conf.read_settings()
    if errors or settings.WARM_UP or find_spec("rest_framework") is None or not including_rest():
        return
    loaded = [name for name in ("EMBEDDER", "REGIONS") if _loads_a_model(getattr(settings, name), BACKENDS[name])]
    if loaded:
        yield Warning(
            f"Each web process loads the model of {' and that of '.join(loaded)} with its first photo or words, whose "
            "visitor waits for many seconds.",
            hint="Set IMAGESIM['WARM_UP'] to True. It does no harm next to gunicorn's --config "
            "python:imagesim.warm_up, which this check cannot see.",
            id="imagesim.W035",
        )


def _loads_a_model(backend: conf.Backend, base: type[Any]) -> bool:
    """Return whether a process that uses the backend loads a model; a service does it in its own."""
    if "url" in backend.options and not backend.options.get("images"):
        return False
    try:
        return type(get_instance(backend, base)).warm_up is not base.warm_up
    except (ConfigurationError, ImportError):
        return False  # check_backends reports it


@listed
def check_connections() -> Iterator[CheckMessage]:
    """Check that the connections to the index and the embedder are encrypted."""
    settings = conf.read_settings()[0]
    index, embedder = settings.INDEX.options, settings.EMBEDDER.options
    if index.get("verify_certs") is False:
        yield Warning(
            "IMAGESIM['INDEX'] has verify_certs=False: the identity of the server is not verified.",
            hint="Set 'ca_certs' to the certificate of the server's authority instead.",
            id="imagesim.W016",
        )
    hosts = index.get("hosts") or ()
    given = any(index.get(name) for name in ("api_key", "basic_auth", "bearer_auth"))
    for host in hosts if isinstance(hosts, list | tuple) else (str(hosts),):
        if _is_open(host) and (given or "@" in urlsplit(host).netloc):
            yield _unencrypted("INDEX", host)
    url = embedder.get("url")
    if isinstance(url, str):
        if _is_open(url) and embedder.get("api_key_env"):
            yield _unencrypted("EMBEDDER", url)
        if not embedder.get("api_key_env"):
            yield Warning(
                "IMAGESIM['EMBEDDER'] names a service without a key: anyone who can reach it can use it.",
                hint="Give the service a key, and the name of the variable that holds it in 'api_key_env'.",
                id="imagesim.W018",
            )


def _is_open(url: object) -> bool:
    """Return whether requests to ``url`` leave this machine unencrypted."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _unencrypted(setting: str, url: str) -> Warning:
    return Warning(
        f"IMAGESIM[{setting!r}] sends credentials to {mask_credentials(url)} unencrypted.",
        hint="Use https://.",
        id="imagesim.W017",
    )


@listed
def check_index() -> Iterator[CheckMessage]:
    """Check that the active index can be reached and was made by the embedder of the settings."""
    from imagesim.embedders import get_embedder, rebuild_hint
    from imagesim.indexes import get_index

    if lacks_tables():  # each tenant has its own
        return
    try:
        meta = get_index().meta()
        embedder = get_embedder()
        fingerprint, dims = embedder.fingerprint, embedder.dims
    except (SearchIndexError, DatabaseError) as error:
        hint = "Start the index, and build it with: manage.py imagesim_rebuild"
        yield Warning(f"The index cannot be used: {error}", hint=hint, id="imagesim.W010")
        return
    except ImagesimError as error:
        yield Warning(f"The embedder cannot be compared with the index: {error}", id="imagesim.W011")
        return
    if meta.fingerprint == fingerprint or _stands_by(fingerprint):
        return
    yield Warning(
        f"The active index holds vectors of model {meta.fingerprint!r} with {meta.dims} dimensions; "
        f"the settings name model {fingerprint!r} with {dims}.",
        hint=rebuild_hint(meta.fingerprint, [fingerprint]),
        id="imagesim.W012",
    )


@listed
def check_maintenance() -> Iterator[CheckMessage]:
    """Check that something runs the reconcile and the purge, without which tables grow for ever."""
    from imagesim.models import Event
    from imagesim.monitoring.status import RECONCILE_AGE, unreconciled_since

    try:
        since = unreconciled_since()
        oldest = Event.objects.order_by("created_at").values_list("created_at", flat=True).first()
    except DatabaseError:
        return  # check_index reports it
    if since is not None:
        yield Warning(
            f"No reconcile has completed since {since:%Y-%m-%d}: changes without a signal are not found, and the "
            "embeddings, thumbnails and states of deleted items are kept for ever.",
            hint="Run imagesim.tasks.reconcile or `manage.py imagesim_sync --reconcile` regularly.",
            id="imagesim.W028",
        )
    days = conf.read_settings()[0].EVENTS_DAYS
    if oldest is not None and timezone.now() - oldest > timedelta(days=days) + RECONCILE_AGE:
        yield Warning(
            f"Events are kept longer than the {days} days of IMAGESIM['EVENTS_DAYS']: the oldest since "
            f"{oldest:%Y-%m-%d}.",
            hint="Run imagesim.tasks.purge once per day.",
            id="imagesim.W029",
        )


def _stands_by(fingerprint: str) -> bool:
    """Return whether an index of this model is on standby."""
    from imagesim.indexes import get_index
    from imagesim.indexing import jobs

    try:
        job = jobs.standby()
        return job is not None and get_index().meta(job.target).fingerprint == fingerprint
    except (SearchIndexError, DatabaseError):
        return False
