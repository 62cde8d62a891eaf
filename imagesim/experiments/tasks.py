"""The Celery task of experiments. Without Celery it is a plain function."""

from __future__ import annotations

from imagesim.experiments import results
from imagesim.tasks import shared_task


@shared_task(name="imagesim.experiments.tasks.update", ignore_result=True, soft_time_limit=540, time_limit=600)
def update() -> int:
    """Compute the figures of the days that are over; return how many. For a beat schedule, once per hour."""
    return results.update_all()
