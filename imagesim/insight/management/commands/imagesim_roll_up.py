"""``manage.py imagesim_roll_up``: compute the daily figures of the reports."""

from __future__ import annotations

from typing import Any

from imagesim.insight.rollup import due_days, roll_up
from imagesim.management import ImagesimCommand


class Command(ImagesimCommand):
    help = "Compute the daily figures of imagesim.insight that are missing or may have changed."

    def handle(self, *args: Any, format: str, **options: Any) -> None:
        days = len(due_days())
        roll_up()
        self.emit({"days": days}, format, f"{days} days computed")
