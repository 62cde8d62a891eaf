"""The admin of experiments, if ``imagesim.insight`` is installed (``imagesim.E103``)."""

from __future__ import annotations

from django.apps import apps

if apps.is_installed("imagesim.insight"):
    from imagesim.experiments import experiment_admin  # noqa: F401
