from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.translation import gettext_lazy as _


class MerchandisingConfig(AppConfig):
    """Registers the reranker of the shop's rules. Uses no database and no network."""

    name = "imagesim.merchandising"
    label = "imagesim_merchandising"
    verbose_name = _("Merchandising")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from imagesim.merchandising import engine
        from imagesim.retrieval import rerank

        rerank.register(engine.CachedRules())
        engine.rules.connect(*self.get_models())


@register("imagesim", Tags.caches, deploy=True)
def check_cache(**kwargs: Any) -> list[CheckMessage]:
    """Check that the cache is shared: processes reload the rules when a version in the cache changes."""
    from imagesim import shared_cache

    return shared_cache.check_cache("a changed rule", "imagesim.W020")
