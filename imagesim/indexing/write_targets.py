"""Where entries are to be written now: the index in service, and the one a rebuild is filling."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

from imagesim.conf import Backend, get_settings
from imagesim.embedders import BaseEmbedder, get_embedder
from imagesim.exceptions import ConfigurationError, IndexMissing
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
        """The embedder this index was made with, not the one in the settings, which may have changed since.

        :raises ConfigurationError: if it is no longer the model that made the vectors.
        """
        embedder = get_embedder(Backend(self.meta.embedder["BACKEND"], dict(self.meta.embedder.get("OPTIONS") or {})))
        if embedder.fingerprint != self.meta.fingerprint:
            raise ConfigurationError(
                f"The index {self.backing_index!r} was made by the model {self.meta.fingerprint!r}, which is now "
                f"{embedder.fingerprint!r}; run `manage.py imagesim_rebuild`."
            )
        return embedder

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
    setting = get_settings().EMBEDDER
    embedder = get_embedder(setting)
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
        embedder=setting.as_dict(),
        filters=kinds,
        projection=chosen.pk if chosen else "",
    )
