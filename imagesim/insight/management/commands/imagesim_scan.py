"""``manage.py imagesim_scan``: look at the catalogue for the work list."""

from __future__ import annotations

import math
from argparse import ArgumentParser
from typing import Any

from imagesim.insight import catalogue
from imagesim.insight.models import Finding
from imagesim.management import ImagesimCommand, at_least


class Command(ImagesimCommand):
    help = "Look at all items for the work list of imagesim.insight, from where the last scan stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--restart", action="store_true", help="start with the first item")
        parser.add_argument(
            "--seconds", type=at_least(0.0), default=math.inf, help="stop after this many seconds (default: never)"
        )

    def handle(self, *args: Any, format: str, restart: bool, seconds: float, **options: Any) -> None:
        progress = catalogue.scan(seconds, restart=restart)
        values = {
            "items": progress.done,
            "finished": progress.finished_at is not None,
            "entries": Finding.objects.count(),
        }
        text = (
            f"{progress.done} items looked at{'' if progress.finished_at else ' so far'}, {values['entries']} entries"
        )
        self.emit(values, format, text)
