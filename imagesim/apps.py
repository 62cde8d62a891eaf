from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class ImagesimConfig(AppConfig):
    """Finds every app's ``similarity.py``, as the admin finds ``admin.py``; uses no database, network or torch."""

    name = "imagesim"
    verbose_name = _("Visual search")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from imagesim import warm_up
        from imagesim.indexing import dispatch, signals

        autodiscover_modules("similarity")
        signals.connect()
        dispatch.connect("imagesim.tasks")
        warm_up.connect()
        if find_spec("prometheus_client"):
            from imagesim import metrics

            metrics.connect()


@register("imagesim")
def check(**kwargs: Any) -> list[CheckMessage]:
    from imagesim import checks
    from imagesim.checks.items import check_items, check_pages, check_texts

    return [
        *checks.check_settings(),
        *checks.check_backends(),
        *check_items(),
        *check_texts(),
        *check_pages(),
        *checks.check_databases(),
        *checks.check_middleware(),
        *checks.check_tenants(),
    ]


@register("imagesim", Tags.urls)
def check_rest(**kwargs: Any) -> list[CheckMessage]:
    from imagesim import checks

    return checks.check_rest()


@register("imagesim", Tags.caches)
def check_look(**kwargs: Any) -> list[CheckMessage]:
    from imagesim import checks

    return [*checks.check_look(), *checks.check_item_regions()]


@register("imagesim", deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    from imagesim.checks import deployment

    return [
        *deployment.check_sync(),
        *deployment.check_sqlite(),
        *deployment.check_visitors(),
        *deployment.check_warm_up(),
        *deployment.check_connections(),
        *deployment.check_index(),
        *deployment.check_maintenance(),
    ]
