"""``manage.py imagesim_experiments``: compute the daily figures of the experiments."""

from __future__ import annotations

from typing import Any

from imagesim.experiments.results import update_all
from imagesim.management import ImagesimCommand


class Command(ImagesimCommand):
    help = "Compute the due figures of experiments, and delete what was recorded of visitors for those that are over."

    def handle(self, *args: Any, format: str, **options: Any) -> None:
        days = update_all()
        self.emit({"days": days}, format, f"{days} days computed")
