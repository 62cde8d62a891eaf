"""From a claimed change to what is to be written: the item read again, its facts, its pictures."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import InterfaceError, OperationalError, models

from imagesim.conf import get_settings
from imagesim.exceptions import NotRegistered
from imagesim.indexing.embedding import Picture, Vectors
from imagesim.indexing.querysets import queryset_of, valid_pks
from imagesim.indexing.write_targets import Target
from imagesim.items import Items
from imagesim.models import ItemImage, ItemState, Scope
from imagesim.registry import make_key, registry
from imagesim.types import Entry, EntryImage, Removal, WriteResult

try:
    from billiard.exceptions import SoftTimeLimitExceeded
except ImportError:

    class SoftTimeLimitExceeded(Exception):  # type: ignore[no-redef]
        """Celery is not installed, so it never ends a task."""


logger = logging.getLogger("imagesim.indexing.sync")

Outcome = ItemState.Outcome

INFRASTRUCTURE_ERRORS = (OperationalError, InterfaceError, SoftTimeLimitExceeded)
"""What is raised in the midst of an item and is not of its making: the database is gone, or the time is up."""


@dataclass
class Prepared:
    """One claimed change, made ready to be written."""

    state: ItemState
    operations: dict[str, Entry | Removal] = field(default_factory=dict)
    """By physical index."""
    outcome: str = Outcome.INDEXED
    error: str = ""
    retry: bool = False
    checksum: str = ""
    pictures: list[Picture] | None = None
    results: list[WriteResult] = field(default_factory=list)


def prepare(states: Sequence[ItemState], targets: Sequence[Target], vectors: Vectors, using: str) -> list[Prepared]:
    """Read the items again and make what each target is to hold of them.

    :raises IndexMissing: if a target's projection is gone.
    """
    for target in targets:
        _ = target.projection
    prepared = [Prepared(state) for state in states]
    found = _read_items([state for state in states if not _worn_out(state)], using)
    known = _known_images(states, using)
    for each in prepared:
        if _worn_out(each.state):
            each.outcome = Outcome.FAILED
            each.error = f"The worker stopped {each.state.attempts} times while it was at this item."
            continue
        item = found.get((each.state.model, each.state.object_pk))
        if isinstance(item, Exception):
            _fail(each, item)
        elif item is None:
            each.outcome = Outcome.REMOVED
        else:
            _look_at(each, item, known.get(each.state.pk, []))
    vectors.resolve(picture for each in prepared for picture in each.pictures or () if picture.file is not None)
    for each in prepared:
        _finish(each, found.get((each.state.model, each.state.object_pk)), targets, vectors)
    return prepared


def _worn_out(state: ItemState) -> bool:
    """Whether workers keep dying at it."""
    return state.attempts > get_settings().SYNC_MAX_ATTEMPTS


def _read_items(states: Iterable[ItemState], using: str) -> dict[tuple[str, str], models.Model | Exception]:
    """The items by (label, primary key); what the shop's own code raised where it stood in the way."""
    pks: dict[str, list[str]] = {}
    for state in states:
        pks.setdefault(state.model, []).append(state.object_pk)
    found: dict[tuple[str, str], models.Model | Exception] = {}
    for label, wanted in pks.items():
        try:
            items = registry.for_label(label)
        except NotRegistered:
            continue  # no longer an item: to be removed
        try:
            for item in items.for_reading(queryset_of(items, using).filter(pk__in=valid_pks(items, wanted))):
                found[label, items.pk_of(item)] = item
        except INFRASTRUCTURE_ERRORS:
            raise
        except Exception as error:
            logger.exception("%s.get_queryset() failed", type(items).__name__)
            found.update({(label, pk): error for pk in wanted})
    return found


def _known_images(states: Sequence[ItemState], using: str) -> dict[int, list[ItemImage]]:
    known: dict[int, list[ItemImage]] = {}
    rows = ItemImage.objects.using(using).filter(state__in=[state.pk for state in states]).order_by("position")
    for image in rows:
        known.setdefault(image.state_id, []).append(image)
    return known


def _look_at(each: Prepared, item: models.Model, known: Sequence[ItemImage]) -> None:
    """Which pictures the item has, and which of them have to be opened."""
    items = registry.for_label(each.state.model)
    try:
        if not items.should_index(item):
            each.outcome, each.pictures = Outcome.SKIPPED, []
            return
        pictures = [Picture(str(file.name), file) for file in items.get_images(item)]
    except INFRASTRUCTURE_ERRORS:
        raise
    except Exception as error:
        _fail(each, error)
        return
    by_name = {image.name: image for image in known}
    for picture in pictures:
        seen = by_name.get(picture.name[:500])
        if seen is None:
            picture.new = True
        elif each.state.scope == Scope.METADATA and (seen.permanent or (seen.digest and not seen.error)):
            picture.digest, picture.error, picture.permanent = seen.digest, seen.error, seen.permanent
        else:
            picture.known_digest = seen.digest
    each.pictures = pictures


def _finish(each: Prepared, item: Any, targets: Sequence[Target], vectors: Vectors) -> None:
    """The operation for each target, now that the vectors are there."""
    state = each.state
    key = make_key(state.model, state.object_pk)
    if each.outcome == Outcome.INDEXED and each.pictures is not None:
        try:
            _make_entries(each, key, item, targets, vectors)
        except INFRASTRUCTURE_ERRORS:
            raise
        except Exception as error:
            _fail(each, error)
    if each.outcome in (Outcome.REMOVED, Outcome.SKIPPED) or (each.outcome == Outcome.FAILED and _is_unusable(each)):
        each.operations = {target.backing_index: Removal(key, state.version) for target in targets}
        each.checksum = ""
    if each.outcome == Outcome.REMOVED:
        each.pictures = []


def _is_unusable(each: Prepared) -> bool:
    """Whether it is certain that the item cannot be shown now; else its former entry goes on answering."""
    if each.pictures is None:
        return not each.retry
    return not any(picture.unreachable for picture in each.pictures)


def _make_entries(each: Prepared, key: str, item: Any, targets: Sequence[Target], vectors: Vectors) -> None:
    state, pictures = each.state, each.pictures or []
    items = registry.for_label(state.model)
    errors = [picture for picture in pictures if picture.error]
    each.retry = any(not picture.permanent for picture in errors)
    each.error = "; ".join(f"{picture.name}: {picture.error}" for picture in errors)
    if not pictures:
        each.outcome = Outcome.SKIPPED
        return
    usable = {target.backing_index: _images(pictures, target, vectors) for target in targets}
    if not any(usable.values()):
        each.outcome = Outcome.FAILED
        return
    facts = facts_of(items, item)
    entry = Entry(key=key, model=state.model, pk=state.object_pk, version=state.version, images=(), **facts)
    for target in targets:
        if usable[target.backing_index]:
            each.operations[target.backing_index] = replace(entry, images=usable[target.backing_index])
    each.checksum = checksum(facts, [(picture.digest, picture.name) for picture in pictures if not picture.error])


def _images(pictures: Sequence[Picture], target: Target, vectors: Vectors) -> tuple[EntryImage, ...]:
    made = []
    for picture in pictures:
        vector = None if picture.permanent else vectors.get(picture.digest, target.meta.fingerprint)
        if vector is not None:
            vector = vector if target.projection is None else target.projection.apply(vector)
            made.append(EntryImage(picture.digest, picture.name, vector))
    return tuple(made)


def facts_of(items: Items[Any], item: models.Model) -> dict[str, Any]:
    """What an entry says of the item beside its pictures."""
    return {
        "categories": tuple(items.get_categories(item)),
        "in_stock": bool(items.get_in_stock(item)),
        "group": items.group_key_of(item),
        "filters": items.get_filters(item),
    }


def checksum(facts: dict[str, Any], pictures: Sequence[tuple[str, str]]) -> str:
    """64 characters that are equal if and only if the facts and the pictures' (digest, name) are."""
    return hashlib.sha256(json.dumps([facts, pictures], default=str, sort_keys=True).encode()).hexdigest()


def _fail(each: Prepared, error: Exception) -> None:
    """The shop's own code failed on this item. It may be mended, so it is tried again a few times."""
    logger.warning(
        "%s cannot be prepared: %s",
        each.state,
        error,
        exc_info=error,
        extra={"event": "sync.item_failed", "item": str(each.state)},
    )
    each.outcome, each.retry, each.pictures, each.operations = Outcome.FAILED, True, None, {}
    each.error = f"{type(error).__name__}: {error}"
