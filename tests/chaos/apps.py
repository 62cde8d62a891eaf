"""Switches a protection off where a run asks for it, in every process of the harness."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    name = "tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        from tests.chaos import protections

        for name in settings.CHAOS["without"]:
            protections.switch_off(name)
