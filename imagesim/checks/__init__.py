"""System checks of the settings, which find a wrong set-up before it runs. ``docs/checks.md`` explains every id.

They stay offline: they load no model and use no database or network; those of ``check --deploy`` are in
:mod:`~imagesim.checks.deployment`. The app registers them without loading this package, because a web process never
runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.urls import LocalePrefixPattern, get_resolver
from django.utils.module_loading import import_string

from imagesim import conf
from imagesim.conf import EXTRAS, get_instance, install_hint
from imagesim.database import is_listed, state_alias
from imagesim.embedders import BaseEmbedder
from imagesim.exceptions import ConfigurationError, format_choices
from imagesim.images import formats
from imagesim.indexes import BaseIndex
from imagesim.indexing.dispatch import CeleryDispatcher, DjangoTasksDispatcher, mode
from imagesim.regions import BaseRegionFinder
from imagesim.retrieval import photo_store

BACKENDS: dict[str, type[Any]] = {"EMBEDDER": BaseEmbedder, "INDEX": BaseIndex, "REGIONS": BaseRegionFinder}


def listed(check: Callable[[], Iterator[CheckMessage]]) -> Callable[[], list[CheckMessage]]:
    """Make a check that yields its messages return them in a list."""
    return wraps(check)(lambda: list(check()))


@listed
def check_settings() -> Iterator[CheckMessage]:
    """Check the ``IMAGESIM`` setting, and the packages that it needs."""
    settings, errors = conf.read_settings()
    for error in errors:
        yield Error(str(error), hint="docs/settings.md lists every setting.", id="imagesim.E001")
    for name, meant in formats.unknown_formats(settings.IMAGE_FORMATS).items():
        yield Error(
            f"IMAGESIM['IMAGE_FORMATS'] has {name!r}, not a format name of Pillow: no picture has this format.",
            hint=f"Write {meant!r}." if meant else "See the names in Pillow's list of image file formats.",
            id="imagesim.E001",
        )
    if settings.SYNC == "celery":
        if find_spec("celery") is None:
            message = "IMAGESIM['SYNC'] is 'celery', but Celery is not installed."
            yield _missing("celery", message, "imagesim.E003")
        elif not (CeleryDispatcher.is_configured() or CeleryDispatcher.is_eager()):
            yield Warning(
                "IMAGESIM['SYNC'] is 'celery', but this process has no Celery application with a broker that other "
                "processes can reach: messages go to RabbitMQ on this machine, or to the memory of this process.",
                hint="Set CELERY_BROKER_URL, and import the application in the __init__.py of your project's "
                "package (docs/howto-celery.md).",
                id="imagesim.W030",
            )
    if settings.SYNC == "django_tasks" and DjangoTasksDispatcher.backend() is None:
        message = "IMAGESIM['SYNC'] is 'django_tasks', but TASKS has no backend 'default' with a queue 'default'."
        yield Error(message, hint="Set TASKS, which came with Django 6.0, or choose another mode.", id="imagesim.E003")


def check_backends() -> list[CheckMessage]:
    """Check that the embedders, the index and the region finder can be created, and run their own checks."""
    from imagesim.indexes import get_index

    settings, _ = conf.read_settings()
    found: list[CheckMessage] = []
    backends = [(name, getattr(settings, name), base) for name, base in BACKENDS.items()]
    backends += [("PREVIOUS_EMBEDDERS", each, BaseEmbedder) for each in settings.PREVIOUS_EMBEDDERS]
    for name, given, base in backends:
        try:
            backend = get_index(given) if base is BaseIndex else get_instance(given, base)
            found += [message for message in backend.check() if message not in found]
        except (ConfigurationError, ImportError) as error:
            found.append(Error(f"IMAGESIM[{name!r}]: {error}", hint=_hint(error), id="imagesim.E002"))
    return found


@listed
def check_rest() -> Iterator[CheckMessage]:
    """Check the REST API, if the project's URLs include it."""
    including = including_rest()
    if not including:
        return
    for package in ("rest_framework", "drf_spectacular"):
        if find_spec(package) is None:
            yield _missing(package, f"imagesim.rest.urls needs the package {package!r}.", "imagesim.E004")
            return
    if not apps.is_installed("rest_framework"):
        hint = "Add 'rest_framework' to INSTALLED_APPS: its pages for browsers need its templates."
        yield Error("imagesim.rest.urls needs 'rest_framework' as an app.", hint=hint, id="imagesim.E004")
    yield from _check_named_in_rest()
    yield from _check_open_rest()
    if _has_languages_in_urls() and not any(isinstance(each.pattern, LocalePrefixPattern) for each in including):
        yield Warning(
            "The URLs of pages begin with their language (i18n_patterns), but that of the API does not: it answers a "
            "page in another language.",
            hint="Include imagesim.rest.urls in i18n_patterns.",
            id="imagesim.W032",
        )


def _check_named_in_rest() -> Iterator[CheckMessage]:
    """Check what the settings of the REST API name: classes with a method, and functions."""
    settings = conf.read_settings()[0]
    methods = {"REST_AUTHENTICATION": "authenticate", "REST_PERMISSIONS": "has_permission", "REST_ARGUMENTS": ""}
    for name, method in methods.items():
        for path in getattr(settings, name):
            try:
                given = import_string(path)
            except ImportError as error:
                yield Error(f"IMAGESIM[{name!r}]: {error}", hint=_hint(error), id="imagesim.E005")
                continue
            # Permissions can also be joined, as in IsAdminUser | ReadOnly, which is not a class.
            if not callable(given) or (isinstance(given, type) and not (method and hasattr(given, method))):
                needed = f"class with a method {method}()" if method else "function"
                yield Error(f"IMAGESIM[{name!r}]: {path!r} is not a {needed}.", id="imagesim.E005")


def _check_open_rest() -> Iterator[CheckMessage]:
    """Check whether the REST API is open although the rest of the site is not."""
    requires_login = "django.contrib.auth.middleware.LoginRequiredMiddleware" in django_settings.MIDDLEWARE
    of_rest = {*map(str, getattr(django_settings, "REST_FRAMEWORK", {}).get("DEFAULT_PERMISSION_CLASSES", ()))}
    closed = of_rest & {f"rest_framework.permissions.{name}" for name in ("IsAuthenticated", "IsAdminUser")}
    is_closed = requires_login or (closed and "REST_PERMISSIONS" not in getattr(django_settings, "IMAGESIM", {}))
    if is_closed and "rest_framework.permissions.AllowAny" in conf.read_settings()[0].REST_PERMISSIONS:
        name = "LoginRequiredMiddleware" if requires_login else "REST_FRAMEWORK['DEFAULT_PERMISSION_CLASSES']"
        message = f"{name} does not apply to the views of imagesim.rest.urls: anyone can search the shop."
        hint = "Set IMAGESIM['REST_PERMISSIONS'], and REST_AUTHENTICATION if visitors sign in by token."
        yield Warning(message, hint=hint, id="imagesim.W031")


def _has_languages_in_urls() -> bool:
    """Return whether the URLs of the shop's pages begin with a language; those of the admin are not pages of the
    shop."""
    roots: list[Any] = get_resolver().url_patterns
    pages = [page for each in roots if isinstance(each.pattern, LocalePrefixPattern) for page in each.url_patterns]
    return len(django_settings.LANGUAGES) > 1 and any(getattr(page, "app_name", "") != "admin" for page in pages)


def including_rest() -> list[Any]:
    """Return the patterns of the project's root URLconf that include the REST API."""
    if not getattr(django_settings, "ROOT_URLCONF", None):
        return []
    return [pattern for pattern in get_resolver().url_patterns if _is_rest(pattern)]


def _is_rest(pattern: Any) -> bool:
    if getattr(getattr(pattern, "urlconf_name", None), "__name__", "") == "imagesim.rest.urls":
        return True
    return any(_is_rest(inner) for inner in getattr(pattern, "url_patterns", ()))


@listed
def check_look() -> Iterator[CheckMessage]:
    """Check that the cache that holds visitors' photos for a few minutes exists, and keeps them off the disk."""
    settings, _ = conf.read_settings()
    name = settings.LOOK_CACHE
    if name not in caches.settings:
        message = f"IMAGESIM['LOOK_CACHE'] is {name!r}, but CACHES has only {format_choices(caches.settings)}."
        yield Error(message, hint="Name one of them, or add it to CACHES.", id="imagesim.E006")
        return
    if not settings.LOOK_SECONDS or not photo_store.writes_to_disk(name):
        return
    yield Warning(
        f"The cache {name!r} writes to a disk or a database, so visitors' photos are not held in it: a page sends "
        "the part that a moved box encloses each time.",
        hint="Set IMAGESIM['LOOK_CACHE'] to one in memory (Redis, Memcached, local memory), or IMAGESIM"
        "['LOOK_SECONDS'] to 0 if this is intended.",
        id="imagesim.W004",
    )


@listed
def check_middleware() -> Iterator[CheckMessage]:
    """Check that an app whose middleware is used is installed. Otherwise its models cannot be imported, which the first
    request would show."""
    for path in django_settings.MIDDLEWARE:
        app = path.rpartition(".middleware.")[0]
        if app.startswith("imagesim.") and not apps.is_installed(app):
            message = f"MIDDLEWARE names {path!r}, but {app!r} is not in INSTALLED_APPS."
            yield Error(message, hint="Add the app, or remove its middleware.", id="imagesim.E008")


def check_item_regions() -> list[CheckMessage]:
    """Check that there is a region finder, if the regions of items are wanted."""
    settings, errors = conf.read_settings()
    if errors or not settings.ITEM_REGIONS or settings.REGIONS.path != "imagesim.regions.NoRegions":
        return []
    hint = "Name a region finder in IMAGESIM['REGIONS'], such as imagesim.regions.lite.LiteRegionFinder."
    return [Warning("IMAGESIM['ITEM_REGIONS'] is on, but no region finder is set.", hint=hint, id="imagesim.W019")]


@listed
def check_databases() -> Iterator[CheckMessage]:
    """Check that changes can be recorded in the database of this app's tables, and that what syncs them commits."""
    from imagesim.indexing import outbox

    alias = state_alias()
    if reason := outbox.unsupported(alias):
        yield Error(reason, hint="See docs/sync.md.", id="imagesim.E007")
    if not connections[alias].settings_dict["AUTOCOMMIT"]:
        yield Error(
            f"DATABASES[{alias!r}]['AUTOCOMMIT'] is False: what syncs changes never commits, stores nothing, and holds "
            "locks that saves wait for.",
            hint="Remove it, and call transaction.set_autocommit(False) in the code that commits by hand.",
            id="imagesim.E009",
        )


@listed
def check_tenants() -> Iterator[CheckMessage]:
    """Check that each tenant has its own tables, if django-tenants gives each a schema, and that these are synced."""
    shared, own = (tuple(getattr(django_settings, name, ())) for name in ("SHARED_APPS", "TENANT_APPS"))
    if not shared or not own:
        return
    for name in (config.name for config in apps.get_app_configs() if config.name.partition(".")[0] == "imagesim"):
        if is_listed(name, own):
            continue
        if is_listed(name, shared):
            message = f"{name} is in SHARED_APPS and not in TENANT_APPS: all tenants write to the same tables."
            hint = f"Move {name!r} to TENANT_APPS."
        else:
            message = f"{name} is neither in TENANT_APPS nor in SHARED_APPS: no schema has its tables."
            hint = f"Add {name!r} to TENANT_APPS."
        yield Warning(message, hint=hint, id="imagesim.W024")
    if not conf.read_settings()[1] and is_listed("imagesim", own) and mode() in ("django_tasks", "thread"):
        yield Warning(
            f"Changes of tenants are never synced: {mode()!r} works in the public schema of django-tenants.",
            hint="Set up Celery with tenant-schemas-celery (docs/howto-tenants.md); or set IMAGESIM['SYNC'] to "
            "'manual', and run `manage.py all_tenants_command --no-public imagesim_sync` on a schedule.",
            id="imagesim.W036",
        )


def _missing(package: str, message: str, id: str) -> Error:
    return Error(message, hint=f'Install it with: pip install "django-imagesim[{EXTRAS[package]}]"', id=id)


def _hint(error: Exception) -> str | None:
    """Return the install command if a missing package is the cause; the message of load_class already holds it."""
    return install_hint(error) or None if isinstance(error, ImportError) else None
