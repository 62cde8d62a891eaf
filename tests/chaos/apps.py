"""Delays and missing protections, in every process of the harness."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    name = "tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        from tests.chaos import delays, protections

        delays.obey(Path(settings.CHAOS["folder"]))
        for name in settings.CHAOS["without"]:
            protections.switch_off(name)
