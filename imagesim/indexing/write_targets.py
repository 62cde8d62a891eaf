"""The backing indexes to write to: the active one, and the one that a rebuild is filling or that stands by."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from imagesim.database import primary
from imagesim.embedders import BaseEmbedder, get_embedder, get_embedder_of
from imagesim.exceptions import ConfigurationError, IndexMissing, ModelMismatch
from imagesim.indexes import BaseIndex, get_index
from imagesim.indexes.projections import get_chosen
from imagesim.items import measured_colours
from imagesim.items.registry import registry
from imagesim.language.analysis import ANALYSIS
from imagesim.language.stemmers import snowball_version
from imagesim.models import Job
from imagesim.types import FilterKind, IndexMeta, TextSpec

logger = logging.getLogger("imagesim.indexing.sync")


@dataclass(frozen=True)
class Target:
    """A backing index and the embedder of its vectors."""

    index: BaseIndex
    backing_index: str
    meta: IndexMeta
    active: bool = True
    complete: bool = True
    """Whether it has all items: not while a rebuild is filling it."""

    @cached_property
    def embedder(self) -> BaseEmbedder:
        """The embedder of the vectors in this index, which may differ from ``EMBEDDER``.

        :raises ConfigurationError: if the settings do not name it.
        """
        try:
            return get_embedder_of(self.meta.fingerprint)
        except ModelMismatch as error:
            raise ConfigurationError(str(error)) from error


def embedders_of(targets: Collection[Target], wanted: Collection[str] | None = None) -> dict[str, BaseEmbedder]:
    """Return the embedders of the targets by their fingerprints, all or only the ``wanted``. That of a model that is no
    longer configured is left out while a rebuild is replacing its index.

    :raises ConfigurationError: if, in any other case, the settings do not name one.
    """
    found: dict[str, BaseEmbedder] = {}
    for target in targets:
        if wanted is not None and target.meta.fingerprint not in wanted:
            continue
        try:
            found[target.meta.fingerprint] = target.embedder
        except ConfigurationError as error:
            if not target.active or all(each.complete for each in targets):
                raise
            logger.warning("%s", error)
    return found


def live_targets() -> list[Target]:
    """Return every index that a change must be written to, the active one first.

    Call it after leasing the changes: a rebuild that starts later also reads the items later, with their changes.

    :raises IndexMissing: if no index is active.
    :raises IndexUnavailable: if the index cannot be reached.
    """
    index = get_index()
    backing_index = index.active()
    if backing_index is None:
        raise IndexMissing(f"No index {index.name!r} is active yet; run `manage.py imagesim_sync`.")
    targets = [Target(index, backing_index, index.meta(backing_index))]
    rebuild = primary(Job).filter(slot=Job.Kind.REBUILD).first()
    if rebuild is not None and rebuild.target not in ("", backing_index):
        beside = rebuild.target
        stands_by = rebuild.status == Job.Status.STANDBY
        try:
            # In a copy of another shop's database, it can be that of the other shop.
            if beside not in index.backing_indexes():
                raise IndexMissing(beside)
            targets.append(Target(index, beside, index.meta(beside), active=False, complete=stands_by))
        except IndexMissing:
            logger.warning(
                "The index %s of the unfinished rebuild no longer exists%s",
                beside,
                ": discard it with `manage.py imagesim_rebuild --discard`"
                if stands_by
                else "; the rebuild will start again",
            )
    return targets


def new_meta() -> IndexMeta:
    """Return the metadata of an index created with the current settings and registrations.

    :raises ConfigurationError: if two models give one filter different kinds.
    """
    embedder = get_embedder()
    chosen = get_chosen(embedder.fingerprint)
    kinds, texts = _registered()
    return IndexMeta(
        fingerprint=embedder.fingerprint,
        dims=chosen.dims_out if chosen else embedder.dims,
        filters=kinds,
        projection=chosen.pk if chosen else "",
        texts=texts,
        analysis=_analysis(),
    )


def outdated(meta: IndexMeta) -> str:
    """Return what has changed since the index was made: the declared ``filters`` or ``text``, or, as after an upgrade,
    the ``analysis of texts``; empty if nothing."""
    kinds, texts = _registered()
    differing = {
        "filters": kinds != dict(meta.filters),
        "text": texts != dict(meta.texts),
        "analysis of texts": meta.analysis != _analysis(),
    }
    return ", ".join(name for name, differs in differing.items() if differs)


def _analysis() -> int:
    """Return the version of the analysis and that of the stemmers as one number, such as 150301 for 15 and 3.1."""
    major, minor = snowball_version()
    return ANALYSIS * 10_000 + major * 100 + minor


def _registered() -> tuple[dict[str, FilterKind], dict[str, TextSpec]]:
    """Return the filters and the texts of all registered models.

    :raises ConfigurationError: if two models give one filter different kinds.
    """
    kinds: dict[str, FilterKind] = {}
    for items in registry:
        for name, kind in items.kinds.items():
            if kinds.setdefault(name, kind) != kind:
                raise ConfigurationError(
                    f"The filter {name!r} is of kind {kinds[name]!r} for one model and {kind!r} for {items.label}; "
                    "give one of them another name."
                )
    texts: dict[str, TextSpec] = {}
    for items in registry:
        for path, spec in {**items.text_specs, **measured_colours.text_specs(items)}.items():
            if path not in texts or spec.weight > texts[path].weight:
                texts[path] = spec
    return kinds, texts
