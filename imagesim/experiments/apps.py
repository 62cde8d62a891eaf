from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.translation import gettext_lazy as _

INSIGHT = "imagesim.insight"
MIDDLEWARE = "imagesim.experiments.middleware.ChooseVariants"
SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"


class ExperimentsConfig(AppConfig):
    """Registers the chooser of variants and the observer of answers. Uses no database and no network."""

    name = "imagesim.experiments"
    label = "imagesim_experiments"
    verbose_name = _("Experiments")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        if not apps.is_installed(INSIGHT):  # imagesim.E103
            return
        from django.contrib.auth.signals import user_logged_out

        from imagesim import events
        from imagesim.experiments import middleware, models, running
        from imagesim.indexing.jobs import standby_ended
        from imagesim.retrieval import variants

        variants.register(running.VisitorVariants())
        if running.exposures not in events.observers:
            events.observers.insert(0, running.exposures)  # before the rows that its purge reads are deleted
        standby_ended.connect(models.Experiment.standby_ended, dispatch_uid="imagesim_experiments.standby")
        user_logged_out.connect(middleware.end_preview, dispatch_uid="imagesim_experiments.logout")
        running.running.connect(models.Experiment)


@register("imagesim")
def check_experiments(**kwargs: Any) -> list[CheckMessage]:
    """Check that visitors can be assigned to variants, and that what they do is recorded."""
    return list(_problems())


def _problems() -> Iterator[CheckMessage]:
    from django.conf import settings
    from django.utils.module_loading import import_string

    from imagesim import conf

    if not apps.is_installed(INSIGHT):
        yield Error(
            "imagesim.experiments needs imagesim.insight, which records what visitors do.",
            hint=f"Add {INSIGHT!r} to INSTALLED_APPS, and its middleware.",
            id="imagesim.E103",
        )
        return
    given, _errors = conf.read_settings()
    if given.VISITOR_KEY:
        try:
            usable = callable(import_string(given.VISITOR_KEY))
        except ImportError:
            usable = False
        if not usable:
            yield Error(
                f"IMAGESIM['VISITOR_KEY'] is {given.VISITOR_KEY!r}, which is not the dotted path of a function.",
                hint="Name a function that takes a request and returns a string or None.",
                id="imagesim.E104",
            )
    elif settings.SESSION_ENGINE == SIGNED_COOKIES:
        yield Warning(
            "A visitor gets another variant, and is counted again, whenever the session changes: with "
            f"SESSION_ENGINE {SIGNED_COOKIES!r} its key is what it contains.",
            hint="Name a function in IMAGESIM['VISITOR_KEY'], or keep sessions elsewhere.",
            id="imagesim.W027",
        )
    if MIDDLEWARE not in settings.MIDDLEWARE:
        yield Warning(
            "imagesim.experiments does not assign visitors to variants: its middleware is missing.",
            hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE, after those that cache whole pages.",
            id="imagesim.W022",
        )


@register("imagesim", Tags.caches, deploy=True)
def check_cache(**kwargs: Any) -> list[CheckMessage]:
    """Check that the cache is shared: it tells processes that an experiment was started or stopped."""
    from imagesim import shared_cache

    return shared_cache.check_cache("a started or stopped experiment", "imagesim.W023")
