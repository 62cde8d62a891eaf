"""The settings that a variant changes, as arguments of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from imagesim.embedders import BaseEmbedder, get_embedder, get_embedder_of
from imagesim.exceptions import BadQuery, ImagesimError, SearchIndexError, local_choices
from imagesim.indexes import get_index
from imagesim.indexing import jobs
from imagesim.retrieval.arguments import Weights

if TYPE_CHECKING:
    from imagesim.experiments.models import Variant


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
