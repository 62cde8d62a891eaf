"""What a variant may change: the weights of a model, and the index that is searched."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from imagesim.embedders import BaseEmbedder, get_embedder, get_embedder_of
from imagesim.exceptions import BadQuery, ImagesimError, SearchIndexError, local_choices
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.retrieval.arguments import Weights


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


def standby_name() -> str:
    """Return the name of the index on standby; empty if there is none."""
    job = jobs.standby()
    return job.target if job else ""
