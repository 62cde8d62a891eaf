"""Turn leased changes into entries of the index: read the items, build a document for each, write the documents.

Each stage returns new documents; the last becomes the ``SyncResult`` of its change (:mod:`imagesim.indexing.leases`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from django.db import models, router

from imagesim.circuit_breaker import log_repeated
from imagesim.conf import get_settings
from imagesim.exceptions import ImagesimError, IndexMissing
from imagesim.indexes.projections import get_projection, project
from imagesim.indexing.embedding import Vectors
from imagesim.indexing.interruptions import INFRASTRUCTURE_ERRORS
from imagesim.indexing.leases import SyncResult
from imagesim.indexing.pictures import Picture
from imagesim.indexing.write_targets import Target
from imagesim.items import Items, measured_colours
from imagesim.items.declarations import require_dict, require_texts
from imagesim.items.hydrate import with_pks
from imagesim.items.registry import make_key, registry
from imagesim.models import ItemImage, ItemState, Scope, stored_name
from imagesim.types import Entry, EntryImage, Removal, WriteResult

logger = logging.getLogger("imagesim.indexing.sync")

Outcome = ItemState.Outcome


@dataclass(frozen=True)
class Document:
    """A leased change and the intended entry of its item in each target."""

    state: ItemState
    outcome: str = Outcome.INDEXED
    error: str = ""
    retry: bool = False
    checksum: str = ""
    pictures: tuple[Picture, ...] | None = None
    """None if the item's images could not be listed."""
    operations: Mapping[str, Entry | Removal] = field(default_factory=dict)
    """By backing index."""
    results: tuple[WriteResult, ...] = ()
    """The answers of the targets that it was written to."""

    @property
    def is_unusable(self) -> bool:
        """Whether a failed item cannot be shown; otherwise its former entry stays."""
        if self.pictures is None:
            return not self.retry
        return not any(picture.unreachable for picture in self.pictures)

    @property
    def written(self) -> bool:
        """Whether every target that it was written to holds it now."""
        return bool(self.results) and all(result.status != "failed" for result in self.results)

    def as_sync_result(self) -> SyncResult:
        """Return the result to store for the change.

        It has no checksum if an index holds this version or a later one, as after a restored backup: nobody writes a
        later change while this one is leased, so it is unknown what that entry holds.
        """
        failed = [result for result in self.results if result.status == "failed"]
        rejected = any(result.status == "newer" for result in self.results)
        retried = all(result.retryable for result in failed) if failed else self.retry
        # The checksum of a refused entry is kept: once the item differs from it, another attempt can succeed.
        is_known = not rejected and not (failed and retried)
        return SyncResult(
            self.state,
            Outcome.FAILED if failed else self.outcome,
            failed[0].error if failed else self.error,
            self.checksum if is_known else "",
            written=self.written,
            partly=0 < len(failed) < len(self.results),
            retry=retried,
            retry_forever=bool(failed) and retried,
            images=_new_images(self),
        )


def prepare(states: Sequence[ItemState], targets: Sequence[Target], vectors: Vectors) -> list[Document]:
    """Read the items again and build their documents for all targets. ``states`` must have their ``stored_images``
    loaded.

    :raises IndexMissing: if a target's projection no longer exists.
    """
    for target in targets:
        get_projection(target.meta.projection)
    items = _read_items([state for state in states if not _has_no_attempts_left(state)])
    outlines = [_outline(state, items.get((state.model, state.object_pk))) for state in states]
    resolved = iter(vectors.resolve(picture for outline in outlines for picture in outline.pictures or ()))
    documents = []
    for outline in outlines:
        if outline.pictures is not None:
            outline = replace(outline, pictures=tuple(islice(resolved, len(outline.pictures))))
        item = items.get((outline.state.model, outline.state.object_pk))
        documents.append(_complete(outline, item, targets, vectors))
    return documents


def write(documents: Sequence[Document], targets: Sequence[Target]) -> list[Document]:
    """Write the documents to every target; return them with the answers.

    :raises IndexUnavailable: if a target cannot be reached.
    :raises IndexMissing: if the active index no longer exists.
    """
    results: dict[int, list[WriteResult]] = {}
    for target in targets:
        name = target.backing_index
        todo = [
            (position, document.operations[name])
            for position, document in enumerate(documents)
            if name in document.operations and not _is_unchanged(document, targets)
        ]
        if not todo:
            continue
        try:
            answers = target.index.write([operation for _, operation in todo], backing_index=name)
        except IndexMissing:
            if target.active and target.index.active() in (name, None):
                raise
            continue  # a rebuild failed, it was discarded, or another index was swapped in, which has all items
        for (position, _), answer in zip(todo, answers, strict=True):
            results.setdefault(position, []).append(answer)
    return [replace(document, results=tuple(results.get(n, ()))) for n, document in enumerate(documents)]


def queryset_of(items: Items[Any], *, behind: str | None = None) -> models.QuerySet[Any]:
    """Return the items that can be indexed, or those beyond the primary key ``behind``, from the database for writes: a
    replica can lag behind the change."""
    queryset = items.get_queryset().using(str(router.db_for_write(items.model)))
    return queryset if behind is None else queryset.filter(pk__gt=items.model._meta.pk.to_python(behind))


def count_items() -> int:
    """Return how many items of all registered models can be indexed."""
    return sum(queryset_of(items).count() for items in registry)


def items_behind(position: str) -> Iterator[tuple[Items[Any], models.QuerySet[Any]]]:
    """Yield the registered models, starting with that of a position, each with its items beyond the position.

    A position is the label of a model and the primary key of an item, ``shop.product|7``, as a job stores it; empty
    means before the first.
    """
    label, _, pk = position.partition("|")
    labels = [items.label for items in registry]
    for items in list(registry)[labels.index(label) if label in labels else 0 :]:
        yield items, queryset_of(items, behind=pk if pk and items.label == label else None)


def metadata_of(
    items: Items[Any], item: models.Model, digests: Iterable[str], colours: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Return the fields of an entry other than its images. ``colours`` are the measured ones, by image digest."""
    given = require_dict(items, "get_filters", items.get_filters(item))
    filters = measured_colours.with_measured(items, given, [colours.get(digest, ()) for digest in digests])
    texts = require_dict(items, "get_texts", items.get_texts(item))
    texts = {path: require_texts(items, "get_texts", values) for path, values in texts.items()}
    return {
        "categories": tuple(require_texts(items, "get_categories", items.get_categories(item))),
        "in_stock": bool(items.get_in_stock(item)),
        "group": items.group_key_of(item),
        "filters": filters,
        "texts": {**texts, **measured_colours.texts(items, filters)},
    }


def checksum(metadata: dict[str, Any], images: Sequence[tuple[str, str]]) -> str:
    """Return 64 characters that are equal if and only if the metadata and the images' (digest, name) are."""
    return hashlib.sha256(json.dumps([metadata, images], default=str, sort_keys=True).encode()).hexdigest()


def _has_no_attempts_left(state: ItemState) -> bool:
    """Return whether more workers than ``SYNC_MAX_ATTEMPTS`` have died while syncing the item."""
    return state.attempts > get_settings().SYNC_MAX_ATTEMPTS


def names_of_images(states: Iterable[ItemState]) -> dict[tuple[str, str], set[str]]:
    """Return the stored names of the images that items have now, by (label, primary key). Items that do not exist, and
    those on which the shop's code fails, are left out."""
    found: dict[tuple[str, str], set[str]] = {}
    for (label, pk), item in _read_items(states, images_only=True).items():
        with suppress(Exception):  # which a sync of the item stores
            if not isinstance(item, Exception):
                found[label, pk] = {stored_name(str(each.name)) for each in _files(registry.for_label(label), item)}
    return found


def _read_items(
    states: Iterable[ItemState], *, images_only: bool = False
) -> dict[tuple[str, str], models.Model | Exception]:
    """Return the items by (label, primary key), or the exception that the shop's own code raised. Items of a model that
    is no longer registered are left out, so their entries are removed. ``images_only``: of their relations, load only
    their photos."""
    found: dict[tuple[str, str], models.Model | Exception] = {}
    for items, pks in registry.grouped((state.model, state.object_pk) for state in states):
        reading = items.for_images if images_only else items
        try:
            for item in reading.for_reading(with_pks(queryset_of(items), pks)):
                found[items.label, items.pk_of(item)] = item
        except INFRASTRUCTURE_ERRORS:
            raise
        except Exception as error:
            name = type(items).__name__
            log_repeated(logger, logging.ERROR, name, "%s.get_queryset() failed", name, exc_info=True)
            found.update({(items.label, pk): error for pk in pks})
    return found


def _outline(state: ItemState, item: models.Model | Exception | None) -> Document:
    """Return the document without vectors: the item's images, and which of them have to be opened."""
    if _has_no_attempts_left(state):
        error = f"The worker stopped {state.attempts} times while syncing this item."
        return Document(state, Outcome.FAILED, error)
    if isinstance(item, Exception):
        return _failure(state, item)
    if item is None:
        return Document(state, Outcome.REMOVED)
    items = registry.for_label(state.model)
    try:
        if not items.should_index(item):
            return Document(state, Outcome.SKIPPED, pictures=())
        files = _files(items, item)
        measured = measured_colours.has_to_measure(items, item)
    except INFRASTRUCTURE_ERRORS:
        raise
    except Exception as error:
        return _failure(state, error)
    by_name = {image.name: image for image in state.stored_images}
    pictures = [Picture(str(file.name), file, measured=measured) for file in files]
    return Document(state, pictures=tuple(_with_known(each, state, by_name.get(each.stored_name)) for each in pictures))


def _files(items: Items[Any], item: models.Model) -> list[Any]:
    """Return the item's image files, each with a name.

    :raises TypeError: if a method of the shop returns anything else.
    """
    files = items.get_images(item)
    if isinstance(files, str) or not isinstance(files, Iterable):
        raise TypeError(f"{type(items).__name__}.get_images() returns {files!r:.100}; it must return a list of files.")
    found = list(files)
    wrong = [file for file in found if not hasattr(file, "name")]
    if wrong and type(items).get_images is Items.get_images:
        raise TypeError(
            f"{type(items).__name__}.images = {items.images!r} gives {wrong[0]!r:.100}, which is neither a file nor an "
            "address. In a JSON field, extend the path to the key that holds the address."
        )
    if wrong:
        raise TypeError(
            f"{type(items).__name__}.get_images() returns {wrong[0]!r:.100}, which is not a file; it must return "
            "the files of a field (photo.file, not photo.file.name or .url), or a RemoteImage for an address."
        )
    return found


def _with_known(picture: Picture, state: ItemState, known: ItemImage | None) -> Picture:
    """Return the picture with what is stored about it; it is not opened if the change does not concern images."""
    if known is None:
        return replace(picture, new=True)
    picture = replace(picture, known_digest=known.digest)
    if state.scope == Scope.METADATA and (known.permanent or (known.digest and not known.error)):
        return replace(picture, digest=known.digest, error=known.error, permanent=known.permanent)
    return picture


def _complete(document: Document, item: Any, targets: Sequence[Target], vectors: Vectors) -> Document:
    """Return the document with its operation for each target."""
    state = document.state
    if document.outcome == Outcome.INDEXED:
        try:
            document = _with_entries(document, item, targets, vectors)
        except INFRASTRUCTURE_ERRORS:
            raise
        except Exception as error:
            document = _failure(state, error)
    gone = document.outcome in (Outcome.REMOVED, Outcome.SKIPPED)
    if gone or (document.outcome == Outcome.FAILED and document.is_unusable):
        removal = Removal(make_key(state.model, state.object_pk), state.version)
        document = replace(document, operations={target.backing_index: removal for target in targets}, checksum="")
    return replace(document, pictures=()) if document.outcome == Outcome.REMOVED else document


def _with_entries(document: Document, item: Any, targets: Sequence[Target], vectors: Vectors) -> Document:
    state, pictures = document.state, document.pictures or ()
    errors = [picture for picture in pictures if picture.error]
    document = replace(
        document,
        retry=any(not picture.permanent for picture in errors),
        error="; ".join(f"{picture.name}: {picture.error}" for picture in errors),
    )
    if not pictures:
        return replace(document, outcome=Outcome.SKIPPED)
    images = {target.backing_index: _entry_images(pictures, target, vectors) for target in targets}
    if not any(images.values()):
        return replace(document, outcome=Outcome.FAILED)
    digests = [picture.digest for picture in pictures if not picture.error]
    metadata = metadata_of(registry.for_label(state.model), item, digests, vectors.colours)
    key = make_key(state.model, state.object_pk)
    entry = Entry(key=key, model=state.model, pk=state.object_pk, version=state.version, images=(), **metadata)
    return replace(
        document,
        operations={name: replace(entry, images=found) for name, found in images.items() if found},
        checksum=checksum(metadata, [(each.digest, each.stored_name) for each in pictures if not each.error]),
    )


def _entry_images(pictures: Sequence[Picture], target: Target, vectors: Vectors) -> tuple[EntryImage, ...]:
    made = []
    for picture in pictures:
        vector = None if picture.permanent else vectors.get(picture.digest, target.meta.fingerprint)
        if vector is not None:
            made.append(EntryImage(picture.digest, picture.name, project(vector, target.meta.projection)))
    return tuple(made)


def _failure(state: ItemState, error: Exception) -> Document:
    """Return the document of an item on which the shop's code failed; it is retried, because the cause can be
    temporary."""
    known = isinstance(error, ImagesimError)  # its message says what to do
    log_repeated(
        logger,
        logging.WARNING if known else logging.ERROR,
        f"{state.model} {type(error).__name__}",  # a bug can concern every item
        "%s cannot be prepared: %s",
        state,
        error,
        exc_info=None if known else error,
        extra={"event_name": "sync.item_failed", "item": str(state)},
    )
    return Document(state, Outcome.FAILED, f"{type(error).__name__}: {error}", retry=True)


def _is_unchanged(document: Document, targets: Sequence[Target]) -> bool:
    """Return whether the only target already has this entry, as after a save that changed no indexed field."""
    state = document.state
    return (
        len(targets) == 1
        and state.scope == Scope.METADATA
        and state.outcome == Outcome.INDEXED
        and bool(state.checksum)
        and state.checksum == document.checksum
        and not document.retry
    )


def _new_images(document: Document) -> list[ItemImage] | None:
    """Return the item's images to replace those that are stored; None if they are the same, or could not be listed.

    Only the worker that has the lease stores images, so those that it has read are still the stored ones.
    """
    if document.pictures is None:
        return None
    images = [
        ItemImage(
            state=document.state,
            position=position,
            name=picture.stored_name,
            digest=picture.digest,
            error=picture.error,
            permanent=picture.permanent,
        )
        for position, picture in enumerate(document.pictures)
    ]
    return None if _comparable(images) == _comparable(document.state.stored_images) else images


def _comparable(images: Iterable[ItemImage]) -> list[tuple[int, str, str, str, bool]]:
    return [(i.position, i.name, i.digest, i.error, i.permanent) for i in images]
