"""End the experiments that try an index on standby, once it no longer stands by."""

from __future__ import annotations

import logging
from typing import Any

from django.utils import timezone

from imagesim.exceptions import SearchIndexError
from imagesim.experiments.models import Experiment
from imagesim.experiments.overrides import standby_name
from imagesim.indexes import get_index

logger = logging.getLogger(__name__)


def end_experiments(target: str, **kwargs: Any) -> None:
    """End the experiments that try this index; a receiver of ``standby_ended``.

    Once it is swapped in or discarded, all visitors see the same. Figures of the time after that would hide the
    difference that there was.
    """
    for experiment in Experiment.objects.filter(standby=target, stopped__isnull=True, settled=False):
        _end(experiment)


def end_if_gone(experiment: Experiment) -> None:
    """End an experiment whose index no longer stands by, or was deleted by somebody else."""
    if not experiment.standby or experiment.state != experiment.State.RUNNING:
        return
    try:
        gone = standby_name() != experiment.standby or experiment.standby not in get_index().backing_indexes()
    except SearchIndexError:
        return  # it cannot be reached now
    if gone:
        _end(experiment)


def _end(experiment: Experiment) -> None:
    if experiment.state != experiment.State.RUNNING:
        return
    experiment.stopped, experiment.standby_gone = timezone.now(), True
    experiment.save(update_fields=["stopped", "standby_gone"])
    logger.warning("the experiment %r ended: the index %s no longer stands by", experiment.name, experiment.standby)
