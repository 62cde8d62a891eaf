"""The one task that Django's tasks framework (6.0 or later) knows of; its workers import it by this path."""

from __future__ import annotations

from typing import Any

from django.tasks import task  # type: ignore[import-not-found,unused-ignore]

from imagesim import tasks


@task  # type: ignore[misc,unused-ignore]
def run_task(name: str, arguments: dict[str, Any]) -> None:
    """Run the function of :mod:`imagesim.tasks` that ``name`` says."""
    getattr(tasks, name)(**arguments)
