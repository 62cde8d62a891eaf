"""What a variant changes: settings, as arguments of a query, and the index; an experiment ends with the one on
standby."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from imagesim.embedders import BaseEmbedder, get_embedder, get_embedder_of
from imagesim.exceptions import BadQuery, ImagesimError, SearchIndexError, local_choices
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.retrieval.arguments import Weights

if TYPE_CHECKING:
    from imagesim.experiments.models import Experiment, Variant

logger = logging.getLogger(__name__)


def read_components(text: str, *, standby: bool = False) -> dict[str, float]:
    """Parse weights such as ``colour^0.5 shape^1`` for the model of the active index, or of the one on ``standby``.

    :raises ValidationError: if it is something else, or the model has no such part.
    """
    if not text.strip():
        return {}
    try:
        weights: dict[str, float] = Weights().check("components", text.split(), ())
        known = _embedder(standby).components
    except BadQuery as error:
        raise ValidationError(str(error)) from None
    except ImagesimError as error:
        raise ValidationError(_("The model cannot be asked for its parts: %(error)s") % {"error": error}) from None
    for name in weights:
        if name not in known:
            raise ValidationError(
                _("The model has no part %(name)r; it has %(known)s.") % {"name": name, "known": local_choices(known)}
            )
    return weights


def _embedder(standby: bool) -> BaseEmbedder:
    """Return the embedder of the index; that of the settings where the index cannot be asked."""
    job = jobs.standby() if standby else None
    try:
        return get_embedder_of(get_index().meta(job.target if job else None).fingerprint)
    except SearchIndexError:
        return get_embedder()


def arguments_of(variant: Variant) -> dict[str, Any]:
    """Return the arguments that a variant changes.

    :raises ValidationError: if the model has lost a part since.
    """
    arguments: dict[str, Any] = {
        name: value for name in ("diversity", "min_relevance") if (value := getattr(variant, name)) is not None
    }
    components = read_components(variant.components, standby=variant.standby)
    return arguments | ({"components": components} if components else {})


def standby_name() -> str:
    """Return the name of the index on standby; empty if there is none."""
    job = jobs.standby()
    return job.target if job else ""


def end_experiments(target: str, **kwargs: Any) -> None:
    """End the experiments that try this index; a receiver of ``standby_ended``.

    Once it is swapped in or discarded, all visitors see the same. Figures of the time after that would hide the
    difference that there was.
    """
    from imagesim.experiments.models import Experiment

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
