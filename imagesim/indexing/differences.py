"""Find the differences between the database and the index: compare the shop's items with their states, and the states
with the entries.

Items are read by primary key, states and entries side by side in the order of their keys, so memory does not grow with
the tables.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from django.db import models
from django.db.models.functions import Concat
from django.utils import timezone

from imagesim.circuit_breaker import log_repeated
from imagesim.database import in_code_point_order, pages, primary
from imagesim.indexing import item_regions, leases
from imagesim.indexing.documents import Outcome, checksum, items_behind, metadata_of, queryset_of
from imagesim.indexing.write_targets import Target
from imagesim.items import Items, measured_colours
from imagesim.items.hydrate import with_pks
from imagesim.items.registry import make_key, registry, split_key
from imagesim.models import Embedding, ItemImage, ItemState, Scope, stored_name

logger = logging.getLogger("imagesim.indexing.sync")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

DIFFERENCES = ("missing", "stale", "orphaned", "duplicate")
CHUNK = 500


@dataclass(frozen=True)
class Difference:
    """An item whose entry is missing or wrong."""

    label: str
    pk: str
    kind: str
    """One of ``DIFFERENCES``; empty if the entry is right and only the state has to be synced again."""
    scope: Scope = Scope.METADATA
    """``ALL`` if its images have to be opened."""
    indexed_version: int = 0
    """The version in the index, if it is ahead of the database, as after a restored backup."""


def compare(targets: Sequence[Target], since: datetime, after: str) -> Iterator[tuple[int, list[Difference], str]]:
    """Compare all items beyond the position ``after``, and the entries of each of the ``targets``; yield the number of
    items just checked, their differences and the position of the last one."""
    fingerprints = {target.meta.fingerprint for target in targets}
    for items, queryset in items_behind(after):
        for page, differences in _compare_items(items, queryset, fingerprints, since):
            yield len(page), _confirmed(differences, since), f"{items.label}|{page[-1]}"
    for differences in _compare_vanished(since):
        yield 0, _confirmed(differences, since), ""
    for target in targets:
        for differences in _compare_entries(target.index.scan(backing_index=target.backing_index)):
            yield 0, _confirmed(differences, since), ""


def _confirmed(differences: Sequence[Difference], since: datetime) -> list[Difference]:
    """Return the differences, except those of items that were synced, or whose change was recorded, between reading one
    side of the comparison and reading the other."""
    confirmed = []
    for label, group in grouped(differences, lambda difference: difference.label).items():
        states = {state.object_pk: state for state in _states(label, [difference.pk for difference in group])}
        for difference in group:
            state = states.get(difference.pk)
            ahead = state is not None and difference.indexed_version > state.version
            if not difference.kind or state is None or ahead or not _is_in_progress(state, since):
                confirmed.append(difference)
    return confirmed


# The shop's items and their states.


def _compare_items(
    items: Items[Any], queryset: models.QuerySet[Any], fingerprints: Set[str], since: datetime
) -> Iterator[tuple[list[str], list[Difference]]]:
    """Compare items of a model with their states; yield the keys and the differences of each page. ``fingerprints`` are
    those of the models of all complete indexes."""
    for page in pages(items.for_reading(queryset), CHUNK):
        rows = _states(items.label, [items.pk_of(item) for item in page])
        states = {state.object_pk: state for state in rows.prefetch_related(leases.stored_images())}
        digests = {image.digest for state in states.values() for image in state.stored_images}
        embedded = _embedded(digests, fingerprints)
        unsearched = set(item_regions.without_regions(embedded, fingerprints))
        colours = measured_colours.stored(digests) if items.measured_colours else {}
        unmeasured = set(embedded) - set(colours) if items.measured_colours else set()
        differences = []
        for item in page:
            pk = items.pk_of(item)
            state = states.get(pk)
            known = state.stored_images if state is not None else []
            kind = _compare_item(items, item, state, known, embedded, colours, since)
            opens = any(image.digest in unsearched for image in known)
            # Queued without a difference: an image with a temporary error, without regions, or without colours; and an
            # item that was never recorded, but has no entry to miss.
            again = state is None or any(image.error and not image.permanent for image in known)
            if kind or opens or again or _lacks_colours(items, item, known, unmeasured):
                scope = Scope.ALL if opens else Scope.METADATA
                differences.append(Difference(items.label, pk, kind, scope))
        yield [items.pk_of(item) for item in page], differences


def _embedded(digests: Set[str], fingerprints: Set[str]) -> set[str]:
    """Return the images that every model has embedded."""
    stored = Embedding.objects.filter(fingerprint__in=fingerprints, digest__in=digests)
    counted = Counter(stored.values_list("digest", flat=True))
    return {digest for digest, count in counted.items() if count == len(fingerprints)}


def _compare_item(
    items: Items[Any],
    item: Any,
    state: ItemState | None,
    known: Sequence[ItemImage],
    embedded: set[str],
    colours: Mapping[str, tuple[str, ...]],
    since: datetime,
) -> str:
    """Return one of ``DIFFERENCES``, or empty."""
    if state is not None and _is_in_progress(state, since):
        return ""
    try:
        wanted = items.should_index(item)
        if state is None:
            return "missing" if wanted and list(items.get_images(item)) else ""
        if not wanted:
            return "orphaned" if state.outcome == Outcome.INDEXED else ""
        names = [stored_name(str(file.name)) for file in items.get_images(item)]
        if names != [image.name for image in known]:
            return "stale" if state.outcome == Outcome.INDEXED else "missing"
        if _workers_died(state, known):
            return "missing"
        refused = state.outcome == Outcome.FAILED and state.checksum  # by the index
        if state.outcome != Outcome.INDEXED and not refused:
            return "missing" if state.outcome in (Outcome.NEW, Outcome.REMOVED) and names else ""
        usable = [(image.digest, image.name) for image in known if not image.error]
        if any(digest not in embedded for digest, _ in usable):
            return "missing"
        metadata = metadata_of(items, item, [digest for digest, _ in usable], colours)
        return "" if checksum(metadata, usable) == state.checksum else "stale"
    except Exception as error:  # the shop's code fails on this item; the sync stores the error
        kind, key = f"{items.label} {type(error).__name__}", make_key(items.label, items.pk_of(item))
        log_repeated(logger, logging.WARNING, kind, "%s cannot be compared: %s", key, error)
        return "" if state is not None and state.outcome == Outcome.FAILED else "stale"


def _workers_died(state: ItemState, known: Sequence[ItemImage]) -> bool:
    """Return whether the item was given up, and removed from the index, because workers died while syncing it. The
    cause may have passed. An error in the shop's code would be retried, and an error of the index leaves the
    checksum."""
    gave_up = state.outcome == Outcome.FAILED and state.not_before is None and not state.checksum
    return gave_up and not any(image.error for image in known)


def _lacks_colours(items: Items[Any], item: Any, known: Sequence[ItemImage], unmeasured: set[str]) -> bool:
    """Return whether an image of the item has to be measured."""
    try:
        return any(image.digest in unmeasured for image in known) and measured_colours.has_to_measure(items, item)
    except Exception:  # the shop's code fails on this item; the comparison has logged it
        return False


def _compare_vanished(since: datetime) -> Iterator[list[Difference]]:
    """Yield the states of items that no longer exist."""
    states = primary(ItemState).exclude(outcome=Outcome.REMOVED).filter(pending=False)
    for page in pages(states, CHUNK):
        existing = _existing(page)
        yield [
            Difference(state.model, state.object_pk, "orphaned" if state.outcome == Outcome.INDEXED else "")
            for state in page
            if (state.model, state.object_pk) not in existing and not _is_in_progress(state, since)
        ]


def _is_in_progress(state: ItemState, since: datetime) -> bool:
    """Return whether a change waits, or the item was synced since the comparison began."""
    latest = timezone.now() + leases.CLOCK_WAS_WRONG
    return state.pending or (state.synced_at is not None and since <= state.synced_at <= latest)


# The states and the entries of the index, side by side.


def _compare_entries(entries: Iterator[tuple[str, int]]) -> Iterator[list[Difference]]:
    found: list[Difference] = []
    states = _states_by_key()
    for number, (key, version, duplicate, state) in enumerate(_side_by_side(entries, states), 1):
        kind, ahead = _compare_entry(version, duplicate, state)
        if kind:
            found.append(Difference(*split_key(key), kind, indexed_version=ahead))
        if number % CHUNK == 0:  # also without a difference, for the heartbeat
            yield found
            found = []
    yield found


def _compare_entry(version: int | None, duplicate: bool, state: ItemState | None) -> tuple[str, int]:
    """Return one of ``DIFFERENCES`` or empty, and the entry's version if it is ahead of the state, otherwise 0."""
    if duplicate:
        return "duplicate", version or 0
    if state is None:
        return "orphaned", version or 0
    ahead = version if version is not None and version > state.version else 0
    if ahead:  # also while a change waits: the index would reject it
        return "stale", ahead
    if state.pending:
        return "", 0
    if state.outcome == Outcome.INDEXED:
        if version is None:
            return "missing", 0
        return ("stale", 0) if version < state.synced_version else ("", 0)
    if version is None or (state.outcome == Outcome.FAILED and state.not_before is not None):
        return "", 0  # correctly absent; or it will be retried, and the former entry stays until then
    return "orphaned", version


def _states(label: str, pks: Sequence[str]) -> models.QuerySet[ItemState]:
    return primary(ItemState).filter(model=label, object_pk__in=pks)


def grouped(every: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return the values by their key, both in their order."""
    groups: dict[K, list[T]] = {}
    for each in every:
        groups.setdefault(key(each), []).append(each)
    return groups


def _existing(states: Iterable[ItemState]) -> set[tuple[str, str]]:
    """Return the label and the primary key of those items that exist."""
    found: set[tuple[str, str]] = set()
    for items, pks in registry.grouped((state.model, state.object_pk) for state in states):
        existing = with_pks(queryset_of(items), pks).values_list("pk", flat=True)
        found |= {(items.label, str(pk)) for pk in existing}
    return found


def _states_by_key() -> Iterator[tuple[str, ItemState]]:
    """Yield every state with its key, in the order of the keys' code points, which is also that of the index's scan."""
    key: Any = Concat("model", models.Value(":"), "object_pk", output_field=models.CharField(max_length=400))
    states = primary(ItemState).annotate(key=key)
    for state in in_code_point_order(states, "key", attrgetter("key"), chunk_size=CHUNK):
        yield state.key, state


def _side_by_side(
    entries: Iterator[tuple[str, int]], states: Iterator[tuple[str, ItemState]]
) -> Iterator[tuple[str, int | None, bool, ItemState | None]]:
    """Yield (key, version in the index, whether the index holds it twice, state), in the order of the keys."""
    groups = ((key, [version for _, version in group]) for key, group in groupby(entries, key=itemgetter(0)))
    entry, state = next(groups, None), next(states, None)
    while entry is not None or state is not None:
        key = min(each[0] for each in (entry, state) if each is not None)
        version, duplicate, known = None, False, None
        if entry is not None and entry[0] == key:
            version, duplicate = max(entry[1]), len(entry[1]) > 1
            entry = next(groups, None)
        if state is not None and state[0] == key:
            known = state[1]
            state = next(states, None)
        yield key, version, duplicate, known
