"""The index on standby, which a variant can search: an experiment ends with it.

Once it is swapped in or discarded, all visitors see the same. Figures of the time after that would hide the
difference that there was.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from imagesim.exceptions import SearchIndexError
from imagesim.indexes import get_index
from imagesim.indexing import jobs

if TYPE_CHECKING:
    from imagesim.experiments.models import Experiment

logger = logging.getLogger(__name__)


def name() -> str:
    """Return the name of the index on standby; empty if there is none."""
    job = jobs.standby()
    return job.target if job else ""


def end_experiments(target: str, **kwargs: Any) -> None:
    """End the experiments that try this index; a receiver of ``standby_ended``."""
    from imagesim.experiments.models import Experiment

    for experiment in Experiment.objects.filter(standby=target, stopped__isnull=True, settled=False):
        _end(experiment)


def end_if_gone(experiment: Experiment) -> None:
    """End an experiment whose index no longer stands by, or was deleted by somebody else."""
    if not experiment.standby or experiment.state != experiment.State.RUNNING:
        return
    try:
        gone = name() != experiment.standby or experiment.standby not in get_index().backing_indexes()
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
