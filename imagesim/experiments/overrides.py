"""The settings that a variant changes, as arguments of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from imagesim.embedders import get_embedder
from imagesim.exceptions import BadQuery, ImagesimError, format_choices
from imagesim.retrieval.arguments import Weights

if TYPE_CHECKING:
    from imagesim.experiments.models import Variant


def read_components(text: str) -> dict[str, float]:
    """Parse weights such as ``colour^0.5 form^1``.

    :raises ValidationError: if it is something else, or the model has no such part.
    """
    if not text.strip():
        return {}
    try:
        weights: dict[str, float] = Weights().check("components", text.split(), ())
        known = get_embedder().components
    except BadQuery as error:
        raise ValidationError(str(error)) from None
    except ImagesimError as error:
        raise ValidationError(_("The model cannot be asked for its parts: %(error)s") % {"error": error}) from None
    for name in weights:
        if name not in known:
            raise ValidationError(
                _("The model has no part %(name)r; it has %(known)s.") % {"name": name, "known": format_choices(known)}
            )
    return weights


def arguments_of(variant: Variant) -> dict[str, Any]:
    """Return the arguments that a variant changes.

    :raises ValidationError: if the model has lost a part since.
    """
    arguments: dict[str, Any] = {
        name: value for name in ("diversity", "min_relevance") if (value := getattr(variant, name)) is not None
    }
    components = read_components(variant.components)
    return arguments | ({"components": components} if components else {})
