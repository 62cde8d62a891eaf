"""The work list of the catalogue: look at the items, a few at a time, and note what the shop may want to change.

A scan goes through all items in the order of their states, for as long as it may, and the next one continues there. Its
cost is bounded by that time, and a picture is opened once: its measurements are kept by digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from django.db import models
from django.utils import timezone, translation
from django.utils.translation import gettext_noop

from imagesim import images
from imagesim.database import atomic, batched, delete_in_batches, put, retry_conflicts
from imagesim.exceptions import ImagesimError
from imagesim.images.quality import Quality, measure
from imagesim.indexing.leases import stored_images
from imagesim.insight.models import CatalogueScan, Finding, PictureFacts
from imagesim.items import Items
from imagesim.items.hydrate import with_pks, without_failing
from imagesim.items.registry import make_key, registry
from imagesim.models import ItemImage, ItemState
from imagesim.retrieval.query_vector import stored_vectors
from imagesim.retrieval.retriever import open_index
from imagesim.types import Candidate, Filters, Query

T = TypeVar("T")

Kind = Finding.Kind
Outcome = ItemState.Outcome

BATCH = 20
"""The number of items per step."""

QUERIES = 50
"""The maximum number of queries in one request to the index: an item may have a thousand images."""

OF_NEIGHBOURS = (Kind.DUPLICATE, Kind.OUTLIER)
"""The kinds that need an answer of the index."""

MAX_OWNERS = 50
"""The maximum number of items with a shared picture that an item is compared with: all items may share a
placeholder."""

DUPLICATE = 0.96
"""Calibrated by ``python -m benchmarks.duplicates``: docs/howto-insight.md has the figures."""

MARGIN = 0.15
"""How much nearer, in cosine, an item has to be to another category than to its own. Calibrated by ``python -m
benchmarks.outliers``: docs/howto-insight.md has the figures."""

NEIGHBOURS = 10
WITNESSES = 3
"""How many of an item's nearest neighbours have to be of the other category; the mean of the nearest of them counts."""

ENOUGH = 5
"""A category needs more items than this for one to be unlike it."""


@dataclass
class Item:
    """An item of a batch: its state, its images as of the last sync, and itself."""

    state: ItemState
    images: Sequence[ItemImage]
    declared: Items[Any]
    instance: models.Model
    findings: list[Finding] = field(default_factory=list)

    @property
    def key(self) -> str:
        return make_key(self.state.model, self.state.object_pk)

    @property
    def group(self) -> str:
        return self._asked("get_group", lambda items, item: items.group_key_of(item), self.key)

    @property
    def categories(self) -> set[str]:
        return self._asked("get_categories", lambda items, item: set(map(str, items.get_categories(item))), set())

    @property
    def is_hidden(self) -> bool:
        return self._asked("should_index", lambda items, item: not items.should_index(item), False)

    def _asked(self, method: str, ask: Callable[[Items[Any], models.Model], T], otherwise: T) -> T:
        """Return what the shop's code says about the item. If it fails, return ``otherwise``, so that the other items
        are still looked at; the sync stores that error."""
        with without_failing(self.declared, self.instance, method):
            return ask(self.declared, self.instance)
        return otherwise

    def note(self, kind: Kind, detail: str = "", *, picture: str = "", other: str = "") -> None:
        given = {"kind": kind, "detail": detail, "picture": picture, "other_key": other}
        self.findings.append(Finding(state=self.state, **given))


def scan(seconds: float, *, restart: bool = False) -> CatalogueScan:
    """Look at items for about this many seconds; return the progress.

    It continues where the last scan stopped; it starts with the first item if that one was complete, or with
    ``restart``. The list stays as it is until its items are scanned again.
    """
    started = time.monotonic()
    if restart or progress().finished_at:
        begin()
    while True:
        at = _step()
        if at.finished_at or time.monotonic() - started >= seconds:
            return at


def begin() -> None:
    """Make the next scan start with the first item."""
    put(CatalogueScan, {"cursor": 0, "done": 0, "started_at": timezone.now(), "finished_at": None}, pk=1)


def progress() -> CatalogueScan:
    """Return the progress of the scan; an unsaved row before the first, so that a page writes nothing."""
    return CatalogueScan.objects.filter(pk=1).first() or CatalogueScan(pk=1)


@retry_conflicts
def _step() -> CatalogueScan:
    """Look at the next items."""
    at, _created = CatalogueScan.objects.get_or_create(pk=1)
    if at.finished_at:
        return at
    states = list(ItemState.objects.filter(pk__gt=at.cursor).exclude(outcome=Outcome.REMOVED).order_by("pk")[:BATCH])
    items = _load(states)
    for item in items:
        _look_at_state(item)
    _look_at_pictures(items)
    _look_for_shared(items)
    former = Finding.objects.filter(state__in=states)
    if not _look_at_neighbours([item for item in items if item.state.outcome == Outcome.INDEXED]):
        former = former.exclude(kind__in=OF_NEIGHBOURS)
    changes = {"cursor": states[-1].pk, "done": at.done + len(states)} if states else {"finished_at": timezone.now()}
    with atomic(Finding):
        # If another scan has looked at the same items meanwhile, it has moved the cursor, and this one stores nothing.
        if CatalogueScan.objects.filter(pk=at.pk, cursor=at.cursor).update(**changes):
            former.delete()
            Finding.objects.bulk_create([finding for item in items for finding in item.findings])
    if not states:
        delete_in_batches(Finding.objects.filter(state__outcome=Outcome.REMOVED))  # these are not scanned again
        used = ItemImage.objects.filter(digest=models.OuterRef("digest"))
        delete_in_batches(PictureFacts.objects.exclude(models.Exists(used)))
    at.refresh_from_db()
    return at


def _load(states: Sequence[ItemState]) -> list[Item]:
    """Return the items that the shop still has; the others are about to be removed."""
    models.prefetch_related_objects(states, stored_images())
    known = {make_key(state.model, state.object_pk): state for state in states}
    loaded = {  # a queryset with joins may have an item several times
        declared.key_of(instance): (declared, instance)
        for declared, pks in registry.grouped((state.model, state.object_pk) for state in states)
        for instance in declared.for_reading(with_pks(declared.get_queryset(), pks))
    }
    return [Item(known[key], known[key].stored_images, *each) for key, each in loaded.items()]


def _look_at_state(item: Item) -> None:
    state = item.state
    if item.is_hidden:
        return  # sold, or a draft: as the shop wants it
    if state.outcome == Outcome.SKIPPED and not item.images:
        item.note(Kind.NO_PICTURE)
    elif state.outcome != Outcome.INDEXED:
        with translation.override(None):
            outcome = str(state.get_outcome_display())
        item.note(
            Kind.NOT_INDEXED, state.error or (gettext_noop("It waits to be indexed.") if state.pending else outcome)
        )
    for image in item.images:
        if image.error:
            item.note(Kind.BROKEN, image.error, picture=image.name)


def _look_at_pictures(items: Sequence[Item]) -> None:
    facts = PictureFacts.objects.in_bulk([image.digest for item in items for image in item.images if image.digest])
    for item in items:
        for image in item.images:
            if not image.digest or image.error:
                continue
            known = facts.get(image.digest) or _measured(item, image)
            if known is None:
                continue
            facts[image.digest] = known
            quality = Quality(known.width, known.height, known.blur)
            if quality.is_tiny:
                item.note(Kind.TINY, f"{known.width}×{known.height}", picture=image.name)
            elif quality.is_blurred:
                item.note(Kind.BLURRED, picture=image.name)


def _measured(item: Item, image: ItemImage) -> PictureFacts | None:
    """Open the picture and store what was measured; None if it cannot be read or has changed since the last sync."""
    try:
        file = item.declared.find_image(item.instance, image.name)
        if file is None or str(file.name) != image.name:
            return None
        data = images.read(file)
        if images.digest(data) != image.digest:
            return None
        quality = measure(data)
    except Exception:  # of the picture, of a storage's own client, or of the shop's code; the next sync reports it
        return None
    return put(PictureFacts, asdict(quality), digest=image.digest)


def _look_for_shared(items: Sequence[Item]) -> None:
    digests = {image.digest for item in items for image in item.images if image.digest}
    counted = ItemImage.objects.filter(digest__in=digests).values("digest").annotate(owners=models.Count("pk"))
    rows = ItemImage.objects.exclude(state__outcome=Outcome.REMOVED).select_related("state").order_by("pk")
    owners = {
        digest: [image.state for image in rows.filter(digest=digest)[:MAX_OWNERS]]
        for digest in counted.filter(owners__gt=1).values_list("digest", flat=True)
    }
    others = {state.pk: state for found in owners.values() for state in found}
    groups = {item.state.pk: item.group for item in _load(list(others.values()))}
    for item in items:
        for image in item.images:
            other = next(
                (each for each in owners.get(image.digest, ()) if groups.get(each.pk, item.group) != item.group), None
            )
            if other is not None:
                item.note(Kind.SHARED, picture=image.name, other=make_key(other.model, other.object_pk))


@dataclass
class Neighbours:
    """What the index finds near a picture, best first, and the nearest in its item's own categories: None if there is
    none, or if the picture is not compared with those."""

    item: Item
    image: ItemImage
    near: Sequence[Candidate]
    nearest_of_own: Candidate | None


def _look_at_neighbours(items: Sequence[Item]) -> bool:
    """Note duplicates and outliers; return whether the index could answer."""
    try:
        found = _neighbours(items)
    except ImagesimError:
        return False  # it cannot answer now; the next scan asks again
    for each in found:
        own = {image.digest for image in each.item.images}
        same = next((near for near in each.near if near.score >= DUPLICATE and near.image_digest not in own), None)
        if same is not None:
            each.item.note(Kind.DUPLICATE, f"{same.score:.3f}", picture=each.image.name, other=same.key)
    for each in found:
        if each.nearest_of_own is None:
            continue
        near = [(candidate.score, candidate.categories) for candidate in each.near]
        if category := foreign_category(near, each.item.categories, each.nearest_of_own.score):
            each.item.note(Kind.OUTLIER, category, picture=each.image.name)
    return True


def _neighbours(items: Sequence[Item]) -> list[Neighbours]:
    """Return the neighbours of every picture that has a vector, in few requests to the index.

    Only the first picture of an item is compared with its own categories.

    :raises ImagesimError: if the index cannot answer.
    """
    pictures = [(item, image) for item in items for image in item.images if image.digest and not image.error]
    if not pictures:
        return []
    index, meta = open_index(Filters())
    vectors = stored_vectors({image.digest for _item, image in pictures}, meta)
    pictures = [(item, image) for item, image in pictures if image.digest in vectors]
    categories = {category for item in items for category in item.categories}
    sizes = {category: index.count(Filters(categories=(category,))) for category in categories}
    compared = [(item, image) for item, image in pictures if image is item.images[0] and _is_comparable(item, sizes)]

    def query(item: Item, image: ItemImage, limit: int, categories: Collection[str] = ()) -> Query:
        among = Filters(categories=tuple(categories), exclude_keys=(item.key,), exclude_groups=(item.group,))
        return Query(vectors[image.digest], among, limit=limit, fingerprint=meta.fingerprint)

    queries = [query(item, image, NEIGHBOURS) for item, image in pictures]
    queries += [query(item, image, 1, item.categories) for item, image in compared]
    answers = [answer.candidates for some in batched(queries, QUERIES) for answer in index.search(some)]
    of_own = {image.pk: best for (_item, image), best in zip(compared, answers[len(pictures) :], strict=True)}
    return [
        Neighbours(item, image, near, next(iter(of_own.get(image.pk, ())), None))
        for (item, image), near in zip(pictures, answers, strict=False)
    ]


def _is_comparable(item: Item, sizes: Mapping[str, int]) -> bool:
    """Return whether the item has a category with enough items to compare it with."""
    return max((sizes[category] for category in item.categories), default=0) > ENOUGH


def foreign_category(
    near: Sequence[tuple[float, Collection[str]]], own: Collection[str], own_best: float, margin: float = MARGIN
) -> str:
    """Return the category that an item looks like, if that is not one of its ``own``; empty otherwise.

    ``near``: the cosine and the categories of its nearest neighbours, best first; ``own_best``: the cosine of the
    nearest item in its own categories.
    """
    scores: dict[str, list[float]] = {}
    for score, categories in near:
        if not set(own) & set(categories):
            for category in categories:
                scores.setdefault(category, []).append(score)
    means = {
        category: sum(found[:WITNESSES]) / WITNESSES for category, found in scores.items() if len(found) >= WITNESSES
    }
    best = max(means, key=means.__getitem__, default="")
    return best if best and means[best] - own_best >= margin else ""
