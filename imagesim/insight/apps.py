from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register
from django.utils.translation import gettext_lazy as _

MIDDLEWARE = "imagesim.insight.middleware.RememberRequest"


class InsightConfig(AppConfig):
    """Registers the observer of answers. Uses no database and no network."""

    name = "imagesim.insight"
    label = "imagesim_insight"
    verbose_name = _("Insight")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from imagesim import events
        from imagesim.insight import recorder

        if recorder.observer not in events.observers:
            events.observers.append(recorder.observer)


@register("imagesim")
def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """Check that the middleware is installed: without it, nothing is recorded."""
    from django.conf import settings

    if MIDDLEWARE in settings.MIDDLEWARE:
        return []
    return [
        Warning(
            "imagesim.insight records nothing: its middleware is missing.",
            hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE.",
            id="imagesim.W021",
        )
    ]
