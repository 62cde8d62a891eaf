from __future__ import annotations

from importlib.util import find_spec

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class ImagesimConfig(AppConfig):
    """Finds every app's ``similarity.py``, as the admin finds ``admin.py``. No database, no network, no torch."""

    name = "imagesim"
    verbose_name = _("Visual search")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from imagesim import checks, receivers  # noqa: F401

        autodiscover_modules("similarity")
        receivers.connect()
        if find_spec("prometheus_client"):
            from imagesim.monitoring import metrics

            metrics.connect()
