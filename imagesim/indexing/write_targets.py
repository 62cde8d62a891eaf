"""Where entries are to be written now: the index in service, and the one a rebuild is filling."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

from imagesim.embedders import BaseEmbedder, get_embedder, get_embedder_of
from imagesim.exceptions import ConfigurationError, IndexMissing, ModelMismatch
from imagesim.indexes import BaseIndex, get_index
from imagesim.models import Job
from imagesim.projections import Projection, get_chosen, get_projection
from imagesim.registry import registry
from imagesim.types import FilterKind, IndexMeta

logger = logging.getLogger("imagesim.indexing.sync")


@dataclass(frozen=True)
class Target:
    """A physical index and what made its vectors."""

    index: BaseIndex
    backing_index: str
    meta: IndexMeta
    active: bool = True

    @cached_property
    def embedder(self) -> BaseEmbedder:
        """The embedder whose vectors this index holds, which need not be the one in ``EMBEDDER`` now.

        :raises ConfigurationError: if the settings do not name it (any more).
        """
        try:
            return get_embedder_of(self.meta.fingerprint)
        except ModelMismatch as error:
            raise ConfigurationError(str(error)) from error

    @cached_property
    def projection(self) -> Projection | None:
        return get_projection(self.meta.projection)


def live_targets() -> list[Target]:
    """All that must hear of a change, the one in service first. To be asked for after the claim: a rebuild that
    starts later reads the items later too, and so knows the change.

    :raises IndexMissing: if nothing is in service.
    :raises IndexUnavailable: if the index cannot be reached.
    """
    index = get_index()
    backing_index = index.active()
    if backing_index is None:
        raise IndexMissing(f"No index {index.name!r} is in service yet.")
    targets = [Target(index, backing_index, index.meta(backing_index))]
    filling = Job.objects.filter(slot=Job.Kind.REBUILD).exclude(target="").values_list("target", flat=True).first()
    if filling and filling != backing_index:
        try:
            targets.append(Target(index, filling, index.meta(filling), active=False))
        except IndexMissing:
            logger.warning("the index %s that a rebuild was filling is gone; it will start anew", filling)
    return targets


def new_meta() -> IndexMeta:
    """What an index made now would say of itself.

    :raises ConfigurationError: if two models give one filter different kinds.
    """
    embedder = get_embedder()
    chosen = get_chosen(embedder.fingerprint)
    kinds: dict[str, FilterKind] = {}
    for items in registry:
        for name, kind in items.kinds.items():
            if kinds.setdefault(name, kind) != kind:
                raise ConfigurationError(
                    f"The filter {name!r} is of kind {kinds[name]!r} for one model and {kind!r} for {items.label}; "
                    "give one of them another name."
                )
    return IndexMeta(
        fingerprint=embedder.fingerprint,
        dims=chosen.dims_out if chosen else embedder.dims,
        filters=kinds,
        projection=chosen.pk if chosen else "",
    )
