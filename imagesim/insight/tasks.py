"""The Celery tasks of insight. Without Celery they are plain functions."""

from __future__ import annotations

from imagesim.insight import catalogue, rollup
from imagesim.tasks import shared_task

TASK_SECONDS = 500.0


@shared_task(name="imagesim.insight.tasks.roll_up", ignore_result=True, soft_time_limit=540, time_limit=600)
def roll_up() -> int:
    """Compute the daily figures that are due; return how many days are left. For a beat schedule, once per hour."""
    return rollup.roll_up(TASK_SECONDS)


@shared_task(name="imagesim.insight.tasks.scan", ignore_result=True, soft_time_limit=540, time_limit=600)
def scan() -> bool:
    """Continue the scan of the catalogue for the work list, or start again; return whether it is complete. For a beat
    schedule, every night, or more often in a shop whose pictures take longer."""
    return catalogue.scan(TASK_SECONDS).finished_at is not None
